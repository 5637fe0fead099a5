"""Guarantees behind each proxy of docs/self-hosting.md, and the faults of proxies that are configured differently."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.proxies import NAME, SETTINGS, VISITOR, Site, in_front_of, site_in
from tests.servers import free_ports
from tests.staged import staged
from tests.wire.server import sizes, until

MIB = 1024 * 1024

pytestmark = pytest.mark.xdist_group("proxies")


@pytest.fixture(scope="module", params=SETTINGS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("site"), request.param) as site:
        yield site


def logs(site: Site) -> str:
    """The complete logs of the API and its proxy."""
    return "".join(path.read_text(errors="replace") for path in site.api_log.parent.iterdir() if path.is_file())


def is_logged(site: Site, *requests: str) -> bool:
    """In the API's log, which has routes, and in the proxy's log, if there is one, which has paths."""
    kept = [log.read_text() for log in (site.api_log, site.proxy_log) if log.exists()]
    return all(any(request in text for request in requests) for text in kept)


def test_links_have_the_scheme_and_host_of_the_site(site: Site) -> None:
    sent = site.upload(b"data", X_Password="swordfish")
    assert sent["download_link"] == f"https://{NAME}/file/download/{sent['file_id']}"
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"https://{NAME}"}
    entered, _ = site.ask("POST", f"/download/{sent['file_id']}", b"password=swordfish", **form)
    assert entered.status == 303
    assert "; Secure" in str(entered.headers["Set-Cookie"])


def test_a_large_body_streams_through(site: Site) -> None:
    data = os.urandom(24 * MIB)
    with contextlib.closing(site.connect()) as connection:
        connection.putrequest("PUT", "/file/upload/large.bin")
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders()
        connection.send(data[: 8 * MIB])
        # The rest has not been sent yet, but the first part is already being written.
        until(lambda: max(sizes(staged(site.data)), default=0) > 4 * MIB)
        connection.send(data[8 * MIB :])
        response = connection.getresponse()
        assert response.status == 201
        sent = json.loads(response.read())
    response, body = site.ask("GET", f"/file/download/{sent['file_id']}")
    assert (response.status, body == data) == (200, True)


def test_answers_come_through_unchanged(site: Site) -> None:
    file_id = site.upload(b"0123456789")["file_id"]
    head, _ = site.ask("HEAD", f"/file/download/{file_id}")
    assert head.headers["ETag"] == f'"{file_id}"'
    part, body = site.ask("GET", f"/file/download/{file_id}", Range="bytes=2-4", If_Range=head.headers["ETag"])
    assert (part.status, body) == (206, b"234")
    problem, _ = site.ask("GET", "/file/download/none")
    assert (problem.status, problem.headers["Content-Type"]) == (404, "application/problem+json")


def test_no_file_is_compressed_in_transit(site: Site) -> None:
    # Without a length, a download shows no progress; with a weak ETag, it cannot be resumed.
    page = b"<p>Hello</p>" * 200
    file_id = site.upload(page, "?content_type=text/html")["file_id"]
    response, body = site.ask("GET", f"/file/download/{file_id}", Accept_Encoding="gzip")
    assert (response.headers["Content-Length"], body) == (str(len(page)), page)
    assert response.headers["ETag"] == f'"{file_id}"'
    assert "Content-Encoding" not in response.headers


def test_the_log_has_the_visitors_address_and_no_token(site: Site) -> None:
    sent = site.upload(b"data")
    path = f"/file/{sent['file_id']}"
    # The server ignores the addresses that visitors claim.
    deleted, _ = site.ask("DELETE", f"{path}?token={sent['delete_token']}", X_Forwarded_For="203.0.113.7")
    assert deleted.status == 204
    route = "DELETE /file/{file_id}"
    until(lambda: is_logged(site, route, f"DELETE {path}"))
    (line,) = [line for line in site.api_log.read_text().splitlines() if route in line and sent["file_id"] in line]
    assert VISITOR in line
    assert "203.0.113.7" not in line
    assert sent["delete_token"] not in logs(site)


def test_no_log_has_the_id_of_a_direct_upload(site: Site) -> None:
    body = json.dumps({"filename": "large.bin"}).encode()
    _, answer = site.ask("POST", "/file/s3/multipart", body, Content_Type="application/json")
    begun = json.loads(answer)
    part = f"/file/s3/multipart/{begun['uploadId']}/1?key={begun['key']}"
    assert site.ask("PUT", part, b"part")[0].status == 200
    until(lambda: is_logged(site, "PUT /file/s3/multipart/{upload_id}/{part_number}", "PUT /file/s3/multipart/-/1"))
    assert begun["uploadId"] not in logs(site)


def test_no_log_has_the_name_of_a_file(site: Site) -> None:
    sent = site.upload(b"data")
    path = f"/file/download/{sent['file_id']}"
    assert site.ask("PUT", "/salary.txt", b"data")[0].status == 201
    assert site.ask("GET", f"{path}/salary.txt")[0].status == 200
    until(lambda: is_logged(site, "GET /file/download/{file_id}/{name} 200", f"GET {path}/-"))
    assert "salary" not in logs(site)
    assert "data.bin" not in logs(site)


def test_plain_http_leads_to_tls(site: Site) -> None:
    answer = httpx.get(f"http://127.0.0.1:{site.plain_port}/a?b=c", headers={"Host": NAME})
    assert answer.status_code in (301, 308)
    assert answer.headers["Location"] == f"https://{NAME}/a?b=c"


@pytest.mark.parametrize("proxy", SETTINGS)
def test_a_request_that_fails_leaves_no_token_in_a_log(tmp_path: Path, proxy: str) -> None:
    (nobody,) = free_ports(1)
    secret = "GkOFxl8ya6rhjQM5kZveDGCz8sC0iar9rlsZidSWAXQ"
    with in_front_of(nobody, tmp_path, proxy) as site:
        assert site.ask("DELETE", f"/file/x?token={secret}")[0].status in (502, 503)
    assert proxy != "nginx" or "DELETE /file/x" in logs(site)
    assert secret not in logs(site)


def test_without_its_host_the_api_cannot_know_its_address(tmp_path: Path) -> None:
    hidden = {"proxy_set_header Host $http_host;": ""}
    (tmp_path / "known").mkdir()
    from_a_page = {"Origin": f"https://{NAME}"}
    with site_in(tmp_path, changes=hidden) as site:
        assert site.upload(b"data")["download_link"].startswith("https://127.0.0.1:")
        refused, problem = site.ask("PUT", "/file/upload/data.bin", b"data", **from_a_page)
        assert (refused.status, json.loads(problem)["type"].rpartition(":")[2]) == (403, "cross-site")
    with site_in(tmp_path / "known", changes=hidden, variables={"SHARE_PUBLIC_URL": f"https://{NAME}"}) as site:
        assert site.upload(b"data", **from_a_page)["download_link"].startswith(f"https://{NAME}/")


def test_without_the_scheme_links_begin_with_http(tmp_path: Path) -> None:
    with site_in(tmp_path, changes={"proxy_set_header X-Forwarded-Proto $scheme;": ""}) as site:
        assert site.upload(b"data")["download_link"].startswith(f"http://{NAME}/")


def test_nginx_by_itself_refuses_bodies_above_1_mib_with_a_page(tmp_path: Path) -> None:
    with site_in(tmp_path, changes={"client_max_body_size 0;": ""}) as site:
        refused, _ = site.ask("PUT", "/file/upload/data.bin", bytes(MIB + 1))
        assert (refused.status, refused.headers["Content-Type"]) == (413, "text/html")


def test_compression_takes_length_and_ranges(tmp_path: Path) -> None:
    page = b"<p>Hello</p>" * 200
    with site_in(tmp_path, changes={"gzip off;": ""}) as site:
        file_id = site.upload(page, "?content_type=text/html")["file_id"]
        response, _ = site.ask("GET", f"/file/download/{file_id}", Accept_Encoding="gzip")
        assert response.headers["Content-Encoding"] == "gzip"
        assert "Content-Length" not in response.headers
        assert response.headers["ETag"].startswith("W/")
