"""Checks whether a running deployment behaves as documented: `python -m local.smoke URL`.

The token comes from the environment (TOKEN), because other users of a machine can see command lines. All uploaded files
are deleted at the end, and expire within an hour; other files are never touched. With BUCKET and AWS credentials set,
it also checks in the bucket whether a direct upload was sealed, which no HTTP answer reveals.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, unquote, urlencode

from local.session import LIFETIME, Differs, NotApplicable, Session, expect, form, send, shown
from shared.storage.keys import blob_key

SEALED_WITHIN = 60.0  # seconds
PART_SIZE = 5 * 1024 * 1024
LARGE = 6_000_000
NAMES = ("100% really?.txt", "a%41.txt", "a+b c#d.txt", "party \N{PARTY POPPER}.txt")
LATIN_1 = b"caf\xe9\n"
PASSWORD = "correct horse"


# --- the checks ---


def core(session: Session) -> None:
    data = bytes(range(256))
    for slash in ("", "/"):
        body, content_type = form({"expires_in": LIFETIME}, "core.bin", data)
        uploaded = session.keep(session.ask("POST", f"/file/upload{slash}", body, Content_Type=content_type))
        file_id, link = uploaded["file_id"], uploaded["download_link"]
        answer = send("GET", link)
        expect(
            answer.status,
            200,
            f"status of {link}",
            "Links do not lead to this server: set PublicUrl or SHARE_PUBLIC_URL.",
        )
        expect(answer.body, data, "bytes of a download", "Something in transit alters files, perhaps a proxy.")
        path = f"/file/metadata/{file_id}{slash}"
        metadata = session.ask("GET", path).json()
        counted = metadata.get("original_name"), metadata.get("file_size"), metadata.get("download_count")
        expect(counted, ("core.bin", 256, 1), f"name, size and count at {path}", "Download counts are wrong.")
        status = session.ask("GET", f"/file/metadata{slash}").status
        expect(status, 200, "status of the list", "The route with or without a slash is missing.")


def names(session: Session) -> None:
    meaning = "Something in transit changes names. They are in the query, which gateways pass on unchanged."
    for name in NAMES:
        file_id = session.put(name, b"x")["file_id"]
        expect(session.metadata(file_id).get("original_name"), name, "name in the metadata", meaning)
        disposition = session.ask("GET", f"/file/download/{file_id}").headers["Content-Disposition"] or ""
        encoded = re.search(r"filename\*=UTF-8''([^;]*)", disposition)
        plain = re.search(r'filename="([^"]*)"', disposition)
        shown_name = unquote(encoded[1]) if encoded else plain[1] if plain else None
        expect(shown_name, name, "name in Content-Disposition", meaning)
    query = urlencode({"filename": NAMES[0], "expires_in": LIFETIME})
    answer = session.ask("PUT", f"/file/upload?{query}", b"x", Accept="text/plain", Content_Type="text/plain")
    link = answer.body.decode("ascii", errors="replace").strip()
    # The answer is just the link, with the ID after /file/download/.
    match = re.search(r"/file/download/([0-9a-f-]{36})/", link)
    if match is None:
        raise Differs(f"no link with a name in it: {shown(link)}", "The server is older than this check.")
    session.stored[match[1]] = ""
    expect(send("GET", link).body, b"x", "bytes at the link of a text answer", meaning)


def latin_1(session: Session) -> None:
    uploaded = session.put("latin-1.txt", LATIN_1, "text/plain; charset=iso-8859-1")
    answer = session.ask("GET", f"/file/download/{uploaded['file_id']}")
    expect(answer.body, LATIN_1, "bytes of a Latin-1 text", "Something in transit converts text, which damages files.")
    query = urlencode({"filename": "latin-1.txt", "expires_in": LIFETIME})
    answer = session.ask("PUT", f"/file/upload?{query}", LATIN_1, Content_Type="text/plain")
    if answer.status == 400:
        # As documented for AWS, where the gateway has already altered the bytes.
        return
    uploaded = session.keep(answer)
    answer = session.ask("GET", f"/file/download/{uploaded['file_id']}")
    expect(
        answer.body,
        LATIN_1,
        "bytes sent as text/plain",
        "Altered text is stored without an error: do not use this server.",
    )


def protected(session: Session) -> None:
    body, content_type = form({"expires_in": LIFETIME, "password": PASSWORD}, "secret.txt", b"x")
    file_id = session.keep(session.ask("POST", "/file/upload", body, Content_Type=content_type))["file_id"]
    for password, status in ((None, 401), ("wrong", 401), (PASSWORD, 200)):
        basic = "" if password is None else "Basic " + b64encode(f"x:{password}".encode()).decode()
        answer = session.ask("GET", f"/file/download/{file_id}", Authorization=basic)
        expect(answer.status, status, "status with a wrong or right password", "Passwords do not protect files.")
        challenge = answer.headers["WWW-Authenticate"] or answer.headers["x-amzn-remapped-www-authenticate"]
        if status == 401 and not challenge:
            raise Differs("a 401 without a challenge", "Something in transit removes WWW-Authenticate.")


def head_and_ranges(session: Session) -> None:
    file_id = session.put("digits.txt", b"0123456789")["file_id"]
    path = f"/file/download/{file_id}"
    answer = session.ask("HEAD", path)
    outcome = answer.status, answer.headers["Content-Length"], answer.body
    expect(outcome, (200, "10", b""), "status, length and body of HEAD", "HEAD does not reach the function.")
    tag = answer.headers["ETag"] or ""
    meaning = "Something in transit drops request headers, perhaps a cache."
    answer = session.ask("GET", path, Range="bytes=2-5")
    outcome = answer.status, answer.headers["Content-Range"], answer.body
    expect(outcome, (206, "bytes 2-5/10", b"2345"), "status, range and bytes of a range", meaning)
    expect(session.ask("GET", path, If_None_Match=tag).status, 304, "status of an unchanged file", meaning)
    expect(session.ask("GET", path, Range="bytes=10-").status, 416, "status of a range past the end", meaning)
    count = session.metadata(file_id).get("download_count")
    expect(count, 0, "downloads counted", "HEAD, 304 and later ranges must not count.")


def direct_upload(session: Session) -> None:
    data = os.urandom(LARGE)
    start = json.dumps({"filename": "large.bin", "size": LARGE, "metadata": {"expires_in": LIFETIME}}).encode()
    answer = session.ask("POST", "/file/s3/multipart", start, Content_Type="application/json")
    expect(answer.status, 200, "status of the start", "Direct uploads fail, and files above 4.5 MB need them on AWS.")
    upload = answer.json()
    path = f"/file/s3/multipart/{quote(upload['uploadId'], safe='')}"
    key = urlencode({"key": upload["key"]})
    try:
        parts = []
        for number, offset in enumerate(range(0, LARGE, PART_SIZE), 1):
            url = session.ask("GET", f"{path}/{number}?{key}").json()["url"]
            answer = send("PUT", url, data[offset : offset + PART_SIZE])
            expect(answer.status, 200, "status of a part", "Storage does not accept parts by signed links.")
            parts.append({"PartNumber": number, "ETag": answer.headers["ETag"]})
        body = json.dumps({"parts": parts}).encode()
        answer = session.ask("POST", f"{path}/complete?{key}", body, Content_Type="application/json")
        expect(answer.status, 200, "status of the completion", "Storage cannot join the parts.")
    except BaseException:
        session.ask("DELETE", f"{path}?{key}")
        raise
    uploaded = answer.json()
    session.stored[uploaded["file_id"]] = uploaded.get("delete_token") or ""
    download(session, uploaded["file_id"], data)
    sealed(uploaded["file_id"])


def download(session: Session, file_id: str, data: bytes) -> None:
    answer = session.ask("GET", f"/file/download/{file_id}")
    if answer.status == 307:
        answer = send("GET", answer.headers["Location"] or "")
        print("      The download was redirected to storage.")
    else:
        print("      Redirect: not applicable, because this server sends large downloads itself.")
    expect(answer.status, 200, "status of a large download", "Large downloads fail. Check the permissions on raw/.")
    expect(answer.body == data, True, "the bytes are the same", "Storage returned other bytes.")
    expect(session.metadata(file_id).get("download_count"), 1, "downloads counted", "Download counts are wrong.")


def sealed(file_id: str) -> None:
    """Check that the blob is in the bucket. Raises `NotApplicable` unless BUCKET is set."""
    bucket = os.environ.get("BUCKET")
    if not bucket:
        raise NotApplicable("the upload works; to check that it is sealed, set BUCKET to the stack's output")
    import boto3.session
    from botocore.exceptions import ClientError

    client = boto3.session.Session().client("s3")
    deadline = time.monotonic() + SEALED_WITHIN
    while True:
        try:
            client.head_object(Bucket=bucket, Key=blob_key(file_id))
            return
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise Differs(f"the bucket cannot be read: {error}", "Use credentials that can read BUCKET.") from error
        if time.monotonic() > deadline:
            raise Differs(
                f"not sealed within {SEALED_WITHIN:.0f} s",
                "The bucket does not notify SealFunction. The sweep seals the file within an hour; see docs/aws.md.",
            )
        time.sleep(1)


CHECKS: dict[str, Callable[[Session], None]] = {
    "core session": core,
    "awkward names": names,
    "Latin-1 text": latin_1,
    "protected file": protected,
    "HEAD and ranges": head_and_ranges,
    "direct upload of 6 MB": direct_upload,
}


def run(session: Session) -> int:
    """Run all checks, and return the number of those that failed."""
    failures = 0
    for name, check in CHECKS.items():
        try:
            check(session)
            print(f"ok    {name}")
        except NotApplicable as reason:
            print(f"n/a   {name}: {reason}")
        except Differs as difference:
            failures += 1
            print(f"DIFFERS  {name}: {difference}\n         {difference.meaning}")
        except (OSError, http.client.HTTPException, KeyError) as error:
            failures += 1
            print(f"DIFFERS  {name}: {error!r}\n         There was no answer, or not one from the API.")
    left = session.delete_all()
    if left:
        print(f"Not deleted, but expiring within an hour: {', '.join(left)}")
    return failures


def main() -> int:
    """Returns the exit status: 0 if all checks passed, 1 if not, 2 without a URL."""
    url = sys.argv[1].rstrip("/") if len(sys.argv) == 2 else ""
    if not re.match(r"https?://[^/]", url):
        print("error: URL must be the address of a deployment, for example: make smoke URL=https://…", file=sys.stderr)
        return 2
    failures = run(Session(url, os.environ.get("TOKEN", "")))
    print(f"{failures} of {len(CHECKS)} checks failed." if failures else "All checks passed.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
