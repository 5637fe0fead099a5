"""Records that someone with access to storage has written: headers, pages and logs stay safe."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.client import DIGITS, Api, blob_key, problem, record_key

PLANTED: dict[str, dict[str, Any]] = {
    "a type that ends its header": {"content_type": "text/html\r\nSet-Cookie: planted=1"},
    "a type with a line break": {"content_type": "text/html\nX-Planted: 1"},
    "a type that no header can hold": {"content_type": "text/\u20ac"},
    "an empty type": {"content_type": ""},
    "a digest that is none": {"sha256": "zz"},
    "a digest of another length": {"sha256": "ab" * 31},
    "a digest with a line break": {"sha256": "a" * 63 + "\n"},
    "a name with line breaks": {"original_name": "a\r\nSet-Cookie: planted=1\r\n\r\n<script>"},
    "a name that is a path": {"original_name": "../../etc/passwd"},
    "a name without end": {"original_name": "a" * 1_000_000},
    "a size of another planet": {"file_size": 10**30},
    "a size that is too small": {"file_size": 3},
    "a time at the end of time": {"created_at": "9999-12-31T23:59:59.999Z"},
    "a time at the beginning of time": {"created_at": "0001-01-01T00:00:00Z"},
    "a time before that": {"created_at": "0001-01-01T00:00:00+14:00"},
    "a hash that takes all memory": {"password_hash": "scrypt$30$1000$1000$AAAA$AAAA"},
    "a count without end": {"download_count": 10**5000},
    "a cap without end": {"max_downloads": 10**30},
    "a revision without end": {"revision": 10**30},
    "a use in the future": {"used_up_at": "9999-12-31T23:59:59Z"},
    "another file's ID": {"file_id": "00000000-0000-4000-8000-000000000000"},
}


def is_harmless(response: httpx.Response) -> None:
    assert "set-cookie" not in response.headers
    assert "x-planted" not in response.headers
    for name, value in response.headers.items():
        assert value.isascii(), name
        assert value.isprintable(), name
    if response.status_code >= 400:
        problem(response, response.status_code)
    elif "content-disposition" in response.headers:
        assert response.headers["content-disposition"].startswith("attachment")
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("values", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_record_is_shown_safely_or_not_at_all(api: Api, values: dict[str, Any]) -> None:
    whole, planted = api.upload()["file_id"], api.upload()["file_id"]
    record = json.loads(api.objects.read(record_key(planted)))
    digits = json.dumps({**record, **{name: "@" if value == 10**5000 else value for name, value in values.items()}})
    api.objects.write(record_key(planted), digits.replace('"@"', "9" * 5000).encode())
    for method in ("HEAD", "GET"):
        response = api.download(planted, method)
        assert response.status_code in (200, 401, 429, 500)
        if method == "GET":
            is_harmless(response)
    for path in (f"/file/metadata/{planted}", "/file/metadata/"):
        is_harmless(api.request("GET", path))
    assert "<script>" not in api.request("GET", f"/download/{planted}").text
    assert whole in api.listing()
    assert api.download(whole).content == DIGITS
    assert blob_key(planted) in list(api.objects.keys())
