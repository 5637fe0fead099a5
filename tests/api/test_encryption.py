"""The option `encryption`: stored and shown unchanged, limited in size, and the only information about the file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import archives
from tests.api.client import DIGITS, Api, file_part, form, problem, record_key, stored, text_part

ENCRYPTION = {"scheme": "c2sp-chunked-v1-aes128gcm", "metadata": "Ab-_09" * 20}
LONGEST = {**ENCRYPTION, "metadata": "x" * 8192}
JSON = {"Content-Type": "application/json"}


def upload(api: Api, encryption: Any = ENCRYPTION, data: bytes = DIGITS, *, is_first: bool = True) -> Any:
    option, file = text_part("encryption", json.dumps(encryption).encode()), file_part(data, "secret.zip")
    return api.post(form(option, file) if is_first else form(file, option))


def start(api: Api, encryption: Any, name: str = "secret.zip") -> Any:
    body = {"filename": name, "type": "application/zip", "metadata": {"encryption": encryption}}
    return api.request("POST", "/file/s3/multipart", JSON, json.dumps(body).encode())


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("encryption", [ENCRYPTION, LONGEST], ids=["short", "longest"])
def test_it_is_shown_as_it_was_sent_wherever_the_file_is(api: Api, encryption: dict[str, str], is_first: bool) -> None:
    answer = upload(api, encryption, is_first=is_first)
    assert answer.status_code == 201, answer.text
    file_id = answer.json()["file_id"]
    page = api.request("GET", f"/file/{file_id}", {"Accept": "application/json"}).json()
    for shown in (answer.json(), api.metadata(file_id), page):
        assert shown["encryption"] == encryption
    # Otherwise, a list of a thousand files would be too long for Lambda.
    assert api.listing()[file_id]["encryption"] == {**encryption, "metadata": None}
    assert api.download(file_id).content == DIGITS


def test_other_files_have_none(api: Api) -> None:
    uploaded = api.upload()
    assert uploaded["encryption"] is None
    assert api.listing()[uploaded["file_id"]]["encryption"] is None


def test_name_and_type_are_not_kept_even_if_they_were_sent(api: Api) -> None:
    answer = upload(api).json()
    assert (answer["original_name"], answer["content_type"]) == ("encrypted", "application/octet-stream")
    download = api.download(answer["file_id"])
    assert "secret" not in str(download.headers)
    assert b"secret" not in b"".join(api.objects.read(key) for key in stored(api))


def test_a_direct_upload_takes_it(api: Api) -> None:
    started = start(api, LONGEST)
    assert started.status_code == 200, started.text
    record = json.loads(api.objects.read(record_key(started.json()["file_id"])))
    assert (record["encryption"], record["original_name"]) == (LONGEST, "encrypted")
    assert "secret" not in json.dumps(record)


def test_it_outlives_changes_and_ends_with_the_file(api: Api) -> None:
    uploaded = upload(api, LONGEST).json()
    file_id, owner = uploaded["file_id"], {"X-Delete-Token": uploaded["delete_token"]}
    changed = api.request("PATCH", f"/file/{file_id}", owner | JSON, b'{"max_downloads": 3}')
    assert changed.json()["encryption"] == LONGEST
    refused = api.request("PATCH", f"/file/{file_id}", owner | JSON, json.dumps({"encryption": ENCRYPTION}).encode())
    problem(refused, 422)
    api.request("DELETE", f"/file/{file_id}", owner)
    assert LONGEST["metadata"].encode() not in b"".join(api.objects.read(key) for key in stored(api))


BAD: dict[str, Any] = {
    "text": "c2sp-chunked-v1-aes128gcm",
    "a list": [ENCRYPTION],
    "null": None,
    "another scheme": {**ENCRYPTION, "scheme": "rot13"},
    "no scheme": {"metadata": "abcd"},
    "no metadata": {"scheme": ENCRYPTION["scheme"]},
    "empty metadata": {**ENCRYPTION, "metadata": ""},
    "too long": {**ENCRYPTION, "metadata": "x" * 8193},
    "standard base64": {**ENCRYPTION, "metadata": "ab+/"},
    "padding": {**ENCRYPTION, "metadata": "abc="},
    "a line break": {**ENCRYPTION, "metadata": "abcd\n"},
    "a key": {**ENCRYPTION, "key": "secret-key"},
}


@pytest.mark.parametrize("encryption", BAD.values(), ids=BAD)
def test_what_is_not_valid_is_refused_and_leaves_nothing(api: Api, encryption: Any) -> None:
    answers = [upload(api, encryption), upload(api, encryption, is_first=False)]
    if encryption is not None:
        answers.append(start(api, encryption))
    for answer in answers:
        assert problem(answer, 422)["errors"][0]["field"] == "encryption"
        assert "secret-key" not in answer.text
    assert api.objects.keys() == []


def test_what_is_no_json_is_refused(api: Api) -> None:
    for text in (b"", b"{", b"\xff", b'{"scheme": NaN}', b"x" * 20_000):
        answer = api.post(form(text_part("encryption", text), file_part(DIGITS)))
        assert problem(answer, 422)["errors"][0]["field"] == "encryption"
    assert api.objects.keys() == []


def test_it_is_never_part_of_a_url(api: Api) -> None:
    query = {"encryption": json.dumps(ENCRYPTION)}
    for method, path in (("PUT", "/file/upload"), ("POST", "/file/upload"), ("POST", "/file/s3/multipart")):
        body = form(file_part(DIGITS)) if path == "/file/upload" and method == "POST" else b'{"filename": "x"}'
        kind = {"Content-Type": "multipart/form-data; boundary=X"} if body.startswith(b"--") else JSON
        answer = api.request(method, path, kind, body, params={"filename": "x", **query})
        assert problem(answer, 422)["errors"][0]["field"] == "encryption"
    parameters = {"filename": "x", "metadata[encryption]": json.dumps(ENCRYPTION)}
    answer = api.request("GET", "/file/s3/params", params=parameters)
    assert problem(answer, 422)["errors"][0]["field"] == "encryption"
    assert api.objects.keys() == []


def test_entries_are_not_offered_even_if_there_are_some(api: Api) -> None:
    uploaded = upload(api, data=archives.PLAIN).json()
    file_id = uploaded["file_id"]
    assert problem(api.request("GET", f"/file/entries/{file_id}"), 415)["type"].endswith("not-an-archive")
    entry = api.request("GET", f"/file/download/{file_id}", params={"entry": "a.txt"})
    assert problem(entry, 415)["type"].endswith("not-an-archive")
    assert api.count(file_id) == 0
