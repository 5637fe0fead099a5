"""The form of the client's requests, which gateways and older servers must understand."""

from __future__ import annotations

from pathlib import Path

from tests.client.inprocess import Share, answer, description
from tests.client.proxy import Proxy


def test_a_small_upload_names_its_file_in_the_query(share: Share, hostile: Proxy) -> None:
    # API Gateway decodes paths and can change a body's type, but it passes a query on unchanged.
    hostile.before = lambda _seen: answer(description(share.server))
    Path("50% a+b?.txt").write_bytes(b"")
    ended = share.run("up", "50% a+b?.txt", "--expires", "1h", "--downloads", "2")
    assert ended.code == 0, ended.err
    (seen,) = hostile.seen
    assert (seen.method, seen.target) == (
        "PUT",
        "/file/upload?filename=50%25%20a%2Bb%3F.txt&content_type=text%2Fplain&expires_in=3600&max_downloads=2",
    )
    assert seen.headers["content-type"] == "application/octet-stream"
    assert seen.headers["content-length"] == "0"
    assert seen.headers["repr-digest"].startswith("sha-256=:")
