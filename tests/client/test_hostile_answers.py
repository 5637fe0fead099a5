"""A server that sends anything: none of it becomes a path, a command, an escape sequence or gigabytes."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.client.inprocess import FILE_ID, Share, answer, description
from tests.client.proxy import Answer, Proxy, Seen

MIB = 1024 * 1024
# Sets a title, clears the screen, opens a sequence in one byte, writes from right to left, begins a line.
ESCAPES = "a\x1b]0;x\x07\x1b[2J\x9b31m\u202eb\r\nc\x7f"


def everything(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def acts(text: str) -> list[str]:
    """The characters that a terminal would interpret instead of showing."""
    return [character for character in text if not character.isprintable() and character not in "\n\t"]


WRONG: list[tuple[str, Any]] = [
    ("file_size", -5),
    ("file_size", 1.5),
    ("file_size", True),
    ("file_size", "5"),
    ("file_size", 2**63),
    ("file_size", None),
    ("download_count", ESCAPES),
    ("download_count", -1),
    ("max_downloads", 0),
    ("max_downloads", ESCAPES),
    ("sha256", "A" * 64),
    ("sha256", ["e3"]),
    ("original_name", None),
    ("original_name", {"a": 1}),
    ("original_name", "a" * 10_000),
    ("content_type", 7),
    ("created_at", 7),
    ("expires_at", False),
    ("password_protected", "no"),
    ("download_link", "javascript:alert(1)"),
    ("download_link", f"http://127.0.0.1/$(touch pwned)/{FILE_ID}"),
    ("download_link", f"http://127.0.0.1/;touch pwned;/{FILE_ID}"),
    ("download_link", f"http://127.0.0.1/{ESCAPES}/{FILE_ID}"),
    ("download_link", "http://127.0.0.1/download/3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f11"),
    ("download_link", f"http://127.0.0.1/{'a' * 2000}/{FILE_ID}"),
    ("download_page", f"http://me:secret@127.0.0.1/download/{FILE_ID}"),
    ("file_id", "../../x"),
    ("file_id", f"{FILE_ID}; touch pwned"),
    ("file_id", ""),
    ("delete_token", "x --server http://127.0.0.1"),
    ("delete_token", "$(touch pwned)"),
    ("delete_token", ESCAPES),
    ("delete_token", None),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_field_that_cannot_be_right_ends_the_command(
    share: Share, hostile: Proxy, tmp_path: Path, field: str, value: object
) -> None:
    said = description(share.server, **{field: value})
    hostile.before = lambda _seen: answer(said)
    commands = [("up", "-"), ("up", "-", "--json")]
    # These two fields are not part of an existing file's metadata.
    if field not in ("file_id", "delete_token"):
        commands += [("info", FILE_ID), ("down", FILE_ID), ("info", FILE_ID, "--json")]
    for command in commands:
        ended = share.run(*command)
        assert (ended.code, ended.out) == (9, b"")
        assert ended.err == f"error: This is not a Simple File Sharing server: its answer has no valid {field}.\n"
    assert everything(tmp_path) == []


def nested(depth: int) -> bytes:
    return b"[" * depth


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"x"', b"5", b"NaN", b'{"a": Infinity}', b"\xff\xfe", b"<html>", nested(200_000)),
        *(b'{"file_size": ' + b"9" * 10_000 + b"}", b'{"a":' * 100_000),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_an_answer_that_is_no_description_ends_the_command(
    share: Share, hostile: Proxy, tmp_path: Path, body: bytes
) -> None:
    hostile.before = lambda _seen: answer(body)
    for command in (("up", "-"), ("info", FILE_ID), ("down", FILE_ID), ("ls",)):
        ended = share.run(*command)
        assert (ended.code, ended.out) == (9, b""), command
        assert ended.err.startswith("error: This is not a Simple File Sharing server")
        assert ended.err.count("\n") == 1
    assert everything(tmp_path) == []


def test_texts_of_the_server_do_nothing_to_a_terminal(share: Share, hostile: Proxy) -> None:
    said = description(
        share.server,
        original_name=ESCAPES,
        content_type=ESCAPES,
        created_at=ESCAPES,
        expires_at=f"2026-11-27{ESCAPES[1]}09:26:57Z",
    )
    whole = {"/file/metadata": {FILE_ID: said}, f"/file/download/{FILE_ID}": b""}
    hostile.before = lambda seen: answer(whole.get(seen.target, said))
    for command in (("up", "-"), ("info", FILE_ID), ("down", FILE_ID), ("ls",)):
        for option in ((), ("--json",)):
            if command[0] == "down" and option:
                continue
            ended = share.run(*command, *option)
            assert ended.code == 0, ended.err
            assert acts(ended.out.decode()) + acts(ended.err) == []
    assert [path.name for path in everything(Path())] == ["a_]0;x__[2J_31m_b__c_"]


@pytest.mark.parametrize("moment", ["2026-11-27T09:26:57", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "soon"])
def test_a_time_that_no_clock_shows_is_shown_as_it_came(share: Share, hostile: Proxy, moment: str) -> None:
    hostile.before = lambda _seen: answer(description(share.server, expires_at=moment))
    ended = share.run("info", FILE_ID)
    assert (ended.code, moment[:4] in ended.out.decode()) == (0, True)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 413, 500, 503])
@pytest.mark.parametrize(
    "problem",
    [
        {"detail": ESCAPES, "errors": [{"field": ESCAPES, "reason": ESCAPES}]},
        {"detail": "a" * 60_000},
        {"detail": 5, "errors": 5},
        {"detail": "no", "errors": [5, {"reason": None}], "type": ["digest-mismatch"]},
        [],
        nested(60_000),
        b"a" * MIB,
    ],
    ids=["escapes", "long", "no text", "no errors", "list", "nested", "large"],
)
def test_a_refusal_is_one_line_and_a_status(share: Share, hostile: Proxy, status: int, problem: object) -> None:
    body = problem if isinstance(problem, bytes) else json.dumps(problem).encode()
    hostile.before = lambda _seen: answer(body, status)
    ended = share.run("info", FILE_ID)
    expected = {400: 9, 403: 5, 404: 3, 410: 4, 413: 9, 500: 7, 503: 7}
    assert ended.code == expected[status]
    assert acts(ended.err) == []
    assert ended.err.count("\n") == 1
    assert len(ended.err) < 1100


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("kind", ["unpacked", "long"])
def test_the_memory_that_an_answer_takes_is_bounded(share: Share, hostile: Proxy, kind: str, status: int) -> None:
    if kind == "unpacked":
        body, headers = gzip.compress(bytes(100 * MIB), 1), {"Content_Encoding": "gzip"}
    else:
        body, headers = b"[" + b"[]," * 7 * MIB, {}
    hostile.before = lambda _seen: answer(body, status, **headers)
    tracemalloc.start()
    try:
        codes = [share.run(*command).code for command in (("ls",), ("info", FILE_ID), ("up", "-"))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert codes == [9 if status == 200 else 3] * 3
    # The server that sends it is in this process, and does not copy it.
    assert peak < 32 * MIB


def test_a_download_that_is_compressed_is_refused(share: Share, hostile: Proxy, tmp_path: Path) -> None:
    body = gzip.compress(bytes(MIB))
    hostile.before = lambda seen: (
        answer(body, Content_Encoding="gzip") if seen.is_download else answer(description(share.server, file_size=MIB))
    )
    for output in ("copy", "-"):
        ended = share.run("down", FILE_ID, "-o", output)
        assert (ended.code, "compressed" in ended.err) == (9, True)
    assert everything(tmp_path) == []


def test_a_list_names_files_only(share: Share, hostile: Proxy) -> None:
    hostile.before = lambda _seen: answer({"../x": description(share.server)})
    assert share.run("ls").code == 9


def test_a_list_that_never_ends_is_ended(share: Share, hostile: Proxy) -> None:
    page = {FILE_ID: description(share.server)}
    link = f'<http://127.0.0.1:1/elsewhere?after={FILE_ID}>; rel="next"'
    hostile.before = lambda _seen: answer(page, Link=link)
    ended = share.run("ls")
    assert (ended.code, "never ends" in ended.err) == (9, True)
    # The client sent no request to that address.
    assert [seen.target for seen in hostile.seen] == ["/file/metadata", f"/file/metadata?after={FILE_ID}"]


@pytest.mark.parametrize(
    ("begun", "part", "etag"),
    [
        ({"uploadId": 5, "key": "k"}, {}, ""),
        ({"uploadId": "u\r\nX: y", "key": "k"}, {}, ""),
        ({"uploadId": "u"}, {}, ""),
        ([], {}, ""),
        ({"uploadId": "u", "key": "k"}, {"url": None}, ""),
        ({"uploadId": "u", "key": "k"}, {"url": "file:///etc/passwd"}, ""),
        ({"uploadId": "u", "key": "k"}, {"url": "/part"}, ""),
        ({"uploadId": "u", "key": "k"}, {"url": "http://[::1"}, ""),
        ({"uploadId": "u", "key": "k"}, {"url": "{server}/part"}, ""),
        ({"uploadId": "u", "key": "k"}, {"url": "{server}/part"}, "\xe9"),
    ],
)
def test_a_direct_upload_goes_nowhere_by_wrong_answers(
    share: Share, hostile: Proxy, begun: object, part: dict[str, str], etag: str
) -> None:
    url = {name: str(value).replace("{server}", share.server) if value else value for name, value in part.items()}

    headers = {"ETag": etag} if etag else {}

    def lie(seen: Seen) -> Answer:
        if seen.target == "/part":
            return answer({}, 200, **headers)
        return answer(begun if seen.method == "POST" else url)

    hostile.before = lie
    Path("large.bin").write_bytes(bytes(5 * MIB))
    ended = share.run("up", "large.bin")
    assert (ended.code, ended.out) == (9, b"")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("listed", [{}, [5], [{"PartNumber": "1"}], [{"PartNumber": 1, "Size": -1, "ETag": "x"}]])
def test_an_upload_is_not_resumed_from_a_wrong_list_of_parts(share: Share, hostile: Proxy, listed: object) -> None:
    Path("large.bin").write_bytes(bytes(5 * MIB))
    hostile.before = lambda seen: answer({"uploadId": "u", "key": "k"}) if seen.method == "POST" else answer({}, 403)
    assert share.run("up", "large.bin").code == 5
    hostile.before = lambda _seen: answer(listed)
    assert share.run("up", "large.bin").code == 9


def test_a_download_that_never_gets_on_is_given_up(share: Share, hostile: Proxy) -> None:
    said = description(share.server, file_size=10)
    Path("copy.part").write_bytes(b"12345")
    state = {"link": said["download_link"], "size": 10, "etags": {}}
    Path("copy.part.json").write_text(json.dumps(state))
    hostile.before = lambda seen: answer(b"", 416) if seen.is_download else answer(said)
    ended = share.run("down", FILE_ID, "-o", "copy")
    assert (ended.code, "cannot resume" in ended.err) == (6, True)
    assert len(hostile.seen) < 10


@pytest.mark.parametrize("output", ["copy", "-"])
def test_an_answer_without_bytes_is_not_asked_for_in_a_tight_loop(share: Share, hostile: Proxy, output: str) -> None:
    said = description(share.server, file_size=1, sha256=None)
    downloads = iter([b"", b"x"])
    hostile.before = lambda seen: answer(next(downloads)) if seen.is_download else answer(said)
    ended = share.run("down", FILE_ID, "-o", output)
    assert (ended.code, len(hostile.seen)) == (0, 3)


@pytest.mark.parametrize("output", ["copy", "-"])
def test_more_bytes_than_were_announced_are_not_taken(share: Share, hostile: Proxy, output: str) -> None:
    said = description(share.server, file_size=3, sha256=None)
    hostile.before = lambda seen: answer(b"a" * MIB) if seen.is_download else answer(said)
    ended = share.run("down", FILE_ID, "-o", output)
    assert ended.code == 6
    assert len(ended.out) <= 3
    assert everything(Path()) == []
