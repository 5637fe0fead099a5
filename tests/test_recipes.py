"""The recipes of the documentation, put to use: curl, ShareX, systemd and nginx, and an S3 server of your own."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pages import block
from tests.servers import free_ports, running
from tests.wire.server import ROOT, WITHIN, Server, until

MIB = 1024 * 1024
BIN = Path(sys.executable).parent


def replaced(text: str, **changes: str) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


# --- curl ---


@pytest.mark.parametrize("token", ["a-long-random-token", ""])
def test_the_shell_function_prints_a_link_for_each_file(tmp_path: Path, token: str) -> None:
    names = ["report.pdf", "a b ü%41.txt"]
    for name in names:
        (tmp_path / name).write_text(name)
    with Server(tmp_path / "data", SHARE_API_TOKEN=token) as server:
        function = replaced(block("sh", "send() {"), **{"127.0.0.1:8080": f"127.0.0.1:{server.port}"})
        run = subprocess.run(
            ["bash", "-eu", "-c", f'{function}\nsend "$@"', "bash", *names],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "SHARE_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=True,
        )
        links = run.stdout.splitlines()
        assert [httpx.get(link).text for link in links] == names
        described = [server.metadata(link.split("/")[-2])["original_name"] for link in links]
        assert described == names


# --- ShareX ---


def filled_in(template: str, answer: dict[str, Any]) -> str:
    """The template with `{json:path}` replaced, as in ShareX's custom uploaders.

    https://getsharex.com/docs/custom-uploader
    """
    return re.sub(r"\{json:(\w+)\}", lambda match: str(answer[match[1]]), template)


def test_sharex_uploads_and_gets_a_link_and_one_to_delete_with(tmp_path: Path) -> None:
    uploader = json.loads((ROOT / "docs" / "sharex.sxcu").read_text())
    token = uploader["Headers"]["Authorization"].removeprefix("Bearer ")
    with Server(tmp_path / "data", SHARE_API_TOKEN=token, SHARE_PUBLIC_URL="https://files.example.org") as server:
        base = f"http://127.0.0.1:{server.port}"
        at = uploader["RequestURL"].replace("https://files.example.org", base)
        assert uploader["Body"] == "MultipartFormData"
        image = b"\x89PNG\r\n\x1a\n"

        def request(headers: dict[str, str]) -> httpx.Response:
            files = {uploader["FileFormName"]: ("screenshot.png", image, "image/png")}
            return httpx.request(uploader["RequestMethod"], at, headers=headers, files=files)

        refused = request({})
        assert refused.status_code == 401
        assert filled_in(uploader["ErrorMessage"], refused.json()) == refused.json()["detail"]

        response = request(uploader["Headers"])
        assert response.status_code == 201, response.text
        answer = response.json()
        page = filled_in(uploader["URL"], answer)
        assert httpx.get(page.replace("https://files.example.org", base)).status_code == 200
        assert httpx.get(answer["download_link"].replace("https://files.example.org", base)).content == image

        # What the page does once it is opened is for the tests in a browser.
        address, _, fragment = filled_in(uploader["DeletionURL"], answer).partition("#")
        assert (address, fragment) == (page, f"delete={answer['delete_token']}")


# --- systemd and nginx ---

NAME = "files.example.org"
# Whom the API is to see behind nginx, and whom it would see without.
VISITOR = "127.0.0.2"
INSTALLED = "/opt/simple-file-sharing-api"


def unit() -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    # Systemd joins such lines; this parser wants the rest indented, as it is.
    parser.read_string(block("ini", "ExecStart=").replace("\\\n", "\n"))
    return {name: dict(section) for name, section in parser.items()}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = replaced(
        block("ini", "ExecStart="),
        **{f"{INSTALLED}/.venv/bin": str(BIN), f"WorkingDirectory={INSTALLED}": f"WorkingDirectory={ROOT}"},
    )
    path = tmp_path / "share.service"
    path.write_text(text)
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_the_unit_may_write_where_it_keeps_files() -> None:
    service = unit()["Service"]
    assert service["Environment"] == f"SHARE_STORAGE=/var/lib/{service['StateDirectory']}"


@dataclass(frozen=True)
class Site:
    """nginx in front of the API, both as the README has them."""

    port: int
    plain_port: int
    certificate: Path
    data: Path
    api_log: Path
    nginx_log: Path

    def connect(self) -> http.client.HTTPSConnection:
        site = self

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                plain = socket.create_connection(("127.0.0.1", site.port), WITHIN, (VISITOR, 0))
                context = ssl.create_default_context(cafile=str(site.certificate))
                self.sock = context.wrap_socket(plain, server_hostname=NAME)

        # The port of HTTPS, so that the Host header has none.
        return Connection(NAME, 443)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response, response.read()

    def upload(self, data: bytes, query: str = "", **headers: str) -> dict[str, Any]:
        response, body = self.ask("PUT", f"/file/upload/data.bin{query}", data, **headers)
        assert response.status == 201, body
        answer: dict[str, Any] = json.loads(body)
        return answer


@contextlib.contextmanager
def process(command: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=ROOT, env={**inherited, **environment}, stdout=output, stderr=subprocess.STDOUT
        ) as started,
    ):
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(WITHIN)
            except subprocess.TimeoutExpired:
                started.kill()


def require(variable: str, *tools: str) -> None:
    """Skip the test where one of these is not installed, or fail it where the variable says that it must be."""
    for tool in tools:
        if shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
            assert os.environ.get(variable) != "1", f"{variable} is set, and there is no {tool}"
            pytest.skip(f"there is no {tool}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("site")) as site:
        yield site


@contextlib.contextmanager
def site_in(folder: Path, **changes: str) -> Iterator[Site]:
    """The API behind nginx, as in the README but for these changes to nginx's settings."""
    require("REQUIRE_NGINX", "nginx", "openssl")
    api_port, port, plain_port = free_ports(3)
    service = unit()["Service"]
    command = shlex.split(
        replaced(service["ExecStart"].replace("\n", " "), **{f"{INSTALLED}/.venv/bin": str(BIN), "8080": str(api_port)})
    )
    made = Site(port, plain_port, folder / "certificate", folder / "data", folder / "api.log", folder / "nginx.log")
    make_certificate(folder)
    (folder / "nginx.conf").write_text(replaced(nginx_configuration(folder, api_port, made), **changes))
    environment = {"SHARE_STORAGE": str(made.data), "SHARE_MIN_FREE_SPACE": "0"}
    arguments = ["-p", str(folder), "-e", str(folder / "errors"), "-c", str(folder / "nginx.conf")]
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with (
        process(command, made.api_log, **environment) as api,
        process([nginx, *arguments], folder / "output") as proxy,
    ):

        def ready() -> bool:
            assert api.poll() is None, made.api_log.read_text()
            assert proxy.poll() is None, (folder / "output").read_text()
            with contextlib.suppress(OSError):
                return made.ask("GET", "/health")[0].status == 200
            return False

        until(ready)
        yield made


def make_certificate(folder: Path) -> None:
    for_whom = f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME}"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 {for_whom} -keyout key -out certificate".split(),
        cwd=folder,
        capture_output=True,
        timeout=WITHIN,
        check=True,
    )


def nginx_configuration(folder: Path, api_port: int, site: Site) -> str:
    """The README's servers on other ports, within what Debian's nginx.conf has around them."""
    servers = replaced(
        block("nginx", "proxy_pass"),
        **{
            "listen 443 ssl": f"listen 127.0.0.1:{site.port} ssl",
            "listen 80;": f"listen 127.0.0.1:{site.plain_port};",
            f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(folder / "certificate"),
            f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(folder / "key"),
            "/var/log/nginx/share.log": str(site.nginx_log),
            "http://127.0.0.1:8080": f"http://127.0.0.1:{api_port}",
        },
    )
    # Its workers must reach a directory of the tests, which is for nobody else.
    user = "user root;" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder / "pid"};
events {{}}
http {{
gzip on;
access_log off;
{temporary}
{servers}
}}
"""


@pytest.mark.xdist_group("nginx")
class TestBehindNginx:
    def test_links_have_the_scheme_and_host_of_the_site(self, site: Site) -> None:
        sent = site.upload(b"data", X_Password="swordfish")
        assert sent["download_link"] == f"https://{NAME}/file/download/{sent['file_id']}"
        form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"https://{NAME}"}
        entered, _ = site.ask("POST", f"/download/{sent['file_id']}", b"password=swordfish", **form)
        assert entered.status == 303
        assert "; Secure" in str(entered.headers["Set-Cookie"])

    def test_a_large_body_streams_through(self, site: Site) -> None:
        data = os.urandom(24 * MIB)
        with contextlib.closing(site.connect()) as connection:
            connection.putrequest("PUT", "/file/upload/large.bin")
            connection.putheader("Content-Length", str(len(data)))
            connection.endheaders()
            connection.send(data[: 8 * MIB])
            # The rest has not been sent, and what was is being written.
            until(lambda: any(path.stat().st_size > 4 * MIB for path in (site.data / ".staging").iterdir()))
            connection.send(data[8 * MIB :])
            response = connection.getresponse()
            assert response.status == 201
            sent = json.loads(response.read())
        response, body = site.ask("GET", f"/file/download/{sent['file_id']}")
        assert (response.status, body == data) == (200, True)

    def test_answers_come_through_unchanged(self, site: Site) -> None:
        file_id = site.upload(b"0123456789")["file_id"]
        head, _ = site.ask("HEAD", f"/file/download/{file_id}")
        assert head.headers["ETag"] == f'"{file_id}"'
        part, body = site.ask("GET", f"/file/download/{file_id}", Range="bytes=2-4", If_Range=head.headers["ETag"])
        assert (part.status, body) == (206, b"234")
        problem, _ = site.ask("GET", "/file/download/none")
        assert (problem.status, problem.headers["Content-Type"]) == (404, "application/problem+json")

    def test_no_file_is_compressed_on_the_way(self, site: Site) -> None:
        # Without its length a download shows no progress, and with a weak tag it cannot be resumed.
        page = b"<p>Hello</p>" * 200
        file_id = site.upload(page, "?content_type=text/html")["file_id"]
        response, body = site.ask("GET", f"/file/download/{file_id}", Accept_Encoding="gzip")
        assert (response.headers["Content-Length"], body) == (str(len(page)), page)
        assert response.headers["ETag"] == f'"{file_id}"'
        assert "Content-Encoding" not in response.headers

    def test_the_log_has_the_visitors_address_and_no_token(self, site: Site) -> None:
        sent = site.upload(b"data")
        path = f"/file/{sent['file_id']}"
        # What a visitor says of an address is not believed.
        deleted, _ = site.ask("DELETE", f"{path}?token={sent['delete_token']}", X_Forwarded_For="203.0.113.7")
        assert deleted.status == 204
        until(lambda: f"DELETE {path}" in site.api_log.read_text() and f"DELETE {path}" in site.nginx_log.read_text())
        (line,) = [line for line in site.api_log.read_text().splitlines() if f"DELETE {path}" in line]
        assert VISITOR in line
        assert "203.0.113.7" not in line
        assert sent["delete_token"] not in site.api_log.read_text() + site.nginx_log.read_text()

    def test_no_log_has_the_id_of_a_direct_upload(self, site: Site) -> None:
        body = json.dumps({"filename": "large.bin"}).encode()
        _, answer = site.ask("POST", "/file/s3/multipart", body, Content_Type="application/json")
        begun = json.loads(answer)
        part = f"/file/s3/multipart/{begun['uploadId']}/1?key={begun['key']}"
        assert site.ask("PUT", part, b"part")[0].status == 200
        line = "PUT /file/s3/multipart/-/1"
        until(lambda: line in site.api_log.read_text() and line in site.nginx_log.read_text())
        assert begun["uploadId"] not in site.api_log.read_text() + site.nginx_log.read_text()

    def test_plain_http_leads_to_tls(self, site: Site) -> None:
        answer = httpx.get(f"http://127.0.0.1:{site.plain_port}/a?b=c", headers={"Host": NAME})
        assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{NAME}/a?b=c")


@pytest.mark.xdist_group("nginx")
def test_what_fails_leaves_no_token_in_a_log_of_nginx(tmp_path: Path, site: Site) -> None:
    nobody, port, plain_port = free_ports(3)
    down = Site(port, plain_port, tmp_path / "certificate", site.data, site.api_log, tmp_path / "nginx.log")
    make_certificate(tmp_path)
    (tmp_path / "nginx.conf").write_text(nginx_configuration(tmp_path, nobody, down))
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    arguments = ["-p", str(tmp_path), "-e", str(tmp_path / "errors"), "-c", str(tmp_path / "nginx.conf")]
    secret = "GkOFxl8ya6rhjQM5kZveDGCz8sC0iar9rlsZidSWAXQ"
    answers: list[int] = []

    def answered() -> bool:
        with contextlib.suppress(OSError):
            answers.append(down.ask("DELETE", f"/file/x?token={secret}")[0].status)
        return bool(answers)

    with process([nginx, *arguments], tmp_path / "output"):
        until(answered)
    assert answers == [502]
    logs = [path.read_text(errors="replace") for path in tmp_path.iterdir() if path.is_file()]
    assert any("DELETE /file/x" in log for log in logs)
    assert not any(secret in log for log in logs)


# --- an S3 server of one's own ---


@contextlib.contextmanager
def on_own_s3(tmp_path: Path) -> Iterator[Server]:
    """The API over SeaweedFS, as the README has it."""
    preparation, _, command = block("sh", "weed server").replace("\\\n", " ").rpartition("weed/bin/weed server")
    _, _, preparation = preparation.partition("\n")
    subprocess.run(["bash", "-eu", "-c", preparation], cwd=tmp_path, timeout=WITHIN, check=True)
    given = shlex.split(replaced(command.strip().removesuffix("&"), **{"weed/": f"{tmp_path}/weed/"}))

    def weed(ports: Sequence[int]) -> list[str]:
        # Of a flag that comes twice the latter holds. Two more of its servers are on fixed ports.
        free = [f"-{role}.port={port}" for role, port in zip(("s3", "volume", "master", "filer"), ports, strict=True)]
        none = ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        sockets = [f"-{role}.localSocket={tmp_path / role}.sock" for role in ("s3", "filer")]
        return [str(BIN / "weed"), f"-logdir={tmp_path}", "server", *given, *free, *none, *sockets]

    # It refuses who does not sign.
    with running(weed, 4, HTTPStatus.FORBIDDEN, patience=0) as ports:
        *lines, start = block("sh", "create_bucket").splitlines()
        exports, making = lines[:2], "\n".join(lines[2:])
        assert start.endswith(" make run")
        variables = dict(
            pair.split("=", 1)
            for pair in shlex.split(" ".join([*exports, start.removesuffix("make run")]).replace("export", ""))
        )
        variables["AWS_ENDPOINT_URL"] = replaced(variables["AWS_ENDPOINT_URL"], **{"8333": str(ports[0])})
        (port,) = free_ports(1)
        script = replaced(making, **{".venv/bin/python": sys.executable, "8080": str(port)})
        environment = {**os.environ, **variables}
        subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, timeout=WITHIN, check=True)
        with Server(tmp_path / "unused", "--port", str(port), **variables) as server:
            yield server
        assert not (tmp_path / "unused").exists()


def test_files_are_kept_on_an_s3_server_of_ones_own(tmp_path: Path) -> None:
    with on_own_s3(tmp_path) as server:
        sent = server.upload([b"kept ", b"elsewhere"], 14)
        assert server.get(f"/file/download/{sent['file_id']}") == (200, b"kept elsewhere")
        assert server.metadata(sent["file_id"])["download_count"] == 1
        status, listed = server.get("/file/metadata/")
        assert (status, list(json.loads(listed))) == (200, [sent["file_id"]])
