"""The API behind the proxies of docs/self-hosting.md, each with the page's configuration on free ports."""

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.pages import ROOT, block
from tests.programs import process, require
from tests.servers import free_ports
from tests.wire.server import WITHIN, Server, until

NAME = "files.example.org"
# The client address that the API must see behind a proxy, which differs from the proxy's.
VISITOR = "127.0.0.2"
INSTALLED = "/opt/simple-file-sharing-api"
UNCHANGED: Mapping[str, str] = MappingProxyType({})
BIN = Path(sys.executable).parent
UNIT = (ROOT / "docs" / "share.service").read_text(encoding="utf-8")
NGINX = (ROOT / "docs" / "nginx.conf").read_text(encoding="utf-8")


def replaced(text: str, **changes: str) -> str:
    """The text with these changes. Made in one pass, as a port put in may itself contain "8080"."""
    for old in changes:
        assert old in text
    if not changes:
        return text
    return re.sub("|".join(map(re.escape, changes)), lambda match: changes[match[0]], text)


def unit() -> dict[str, dict[str, str]]:
    """The sections of the systemd unit."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    # systemd joins continued lines; this parser joins them because they are indented.
    parser.read_string(UNIT.replace("\\\n", "\n"))
    return {name: dict(section) for name, section in parser.items()}


@dataclass(frozen=True)
class Site:
    """A proxy and the API behind it, both configured as in docs/self-hosting.md."""

    port: int
    plain_port: int
    certificate: Path
    data: Path
    api_log: Path
    proxy_log: Path

    def connect(self) -> http.client.HTTPSConnection:
        site = self

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                plain = socket.create_connection(("127.0.0.1", site.port), WITHIN, (VISITOR, 0))
                context = ssl.create_default_context(cafile=str(site.certificate))
                self.sock = context.wrap_socket(plain, server_hostname=NAME)

        # The default port of HTTPS, so that the Host header has no port.
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
def site_in(
    folder: Path, proxy: str = "nginx", changes: Mapping[str, str] = UNCHANGED, variables: Mapping[str, str] = UNCHANGED
) -> Iterator[Site]:
    """The API behind a proxy, as on the page except for these variables and changes of the proxy's configuration."""
    command = replaced(unit()["Service"]["ExecStart"], **{f"{INSTALLED}/.venv/bin": str(BIN), "8080": "0"})
    interpreter, *arguments = shlex.split(command)
    assert (interpreter, arguments[:2]) == (str(BIN / "python"), ["-m", "local.serve"])
    with (
        Server(folder / "data", *arguments[2:], **variables) as server,
        in_front_of(server.port, folder, proxy, changes) as site,
    ):
        until(lambda: site.ask("GET", "/health")[0].status == 200)
        yield site


@contextlib.contextmanager
def in_front_of(api_port: int, folder: Path, proxy: str, changes: Mapping[str, str] = UNCHANGED) -> Iterator[Site]:
    """Only the proxy, once it answers, for the server on this port."""
    require(f"REQUIRE_{proxy.upper()}", proxy, "openssl")
    port, plain_port = free_ports(2)
    make_certificate(folder)
    site = Site(port, plain_port, folder / "certificate", folder / "data", folder / "data.log", folder / "proxy.log")
    settings = folder / "settings"
    settings.write_text(replaced(SETTINGS[proxy](folder, api_port, site), **changes))
    program = shutil.which(proxy) or f"/usr/sbin/{proxy}"
    arguments = {
        "nginx": ["-p", str(folder), "-e", str(folder / "errors"), "-c", str(settings)],
        "caddy": ["run", "--adapter", "caddyfile", "--config", str(settings)],
        "haproxy": ["-db", "-f", str(settings)],
    }[proxy]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with process([program, *arguments], folder / "output", **home) as started:

        def ready() -> bool:
            assert started.poll() is None, (folder / "output").read_text()
            with contextlib.suppress(OSError), contextlib.closing(site.connect()) as connection:
                connection.connect()
                return True
            return False

        until(ready)
        yield site


def make_certificate(folder: Path) -> None:
    for_whom = f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME}"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 {for_whom} -keyout key -out certificate".split(),
        cwd=folder,
        capture_output=True,
        timeout=WITHIN,
        check=True,
    )
    (folder / "both.pem").write_bytes((folder / "certificate").read_bytes() + (folder / "key").read_bytes())


def nginx(folder: Path, api_port: int, site: Site) -> str:
    """nginx with the page's servers in the frame of Debian's nginx.conf."""
    servers = replaced(
        NGINX,
        **{
            "listen 443 ssl": f"listen 127.0.0.1:{site.port} ssl",
            "listen 80;": f"listen 127.0.0.1:{site.plain_port};",
            f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(folder / "certificate"),
            f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(folder / "key"),
            "/var/log/nginx/share.log": str(site.proxy_log),
            "http://127.0.0.1:8080": f"http://127.0.0.1:{api_port}",
        },
    )
    # Its workers must have access to the tests' directory, which is private otherwise.
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


def caddy(folder: Path, api_port: int, site: Site) -> str:
    """Caddy with the page's site, and our certificate instead of one that Caddy obtains."""
    ours = f"admin off\nhttp_port {site.plain_port}\nhttps_port {site.port}\ndefault_bind 127.0.0.1\n"
    tls = f"{NAME} {{\ntls {folder / 'certificate'} {folder / 'key'}\n"
    changes = {"{\n    log default": f"{{\n{ours}    log default", f"{NAME} {{\n": tls, "8080": str(api_port)}
    return replaced(block("caddyfile", "reverse_proxy"), **changes)


def haproxy(folder: Path, api_port: int, site: Site) -> str:
    """HAProxy with the page's frontend and backend."""
    return replaced(
        block("haproxy", "frontend"),
        **{
            "bind :443": f"bind 127.0.0.1:{site.port}",
            "bind :80": f"bind 127.0.0.1:{site.plain_port}",
            f"/etc/haproxy/{NAME}.pem": str(folder / "both.pem"),
            "127.0.0.1:8080": f"127.0.0.1:{api_port}",
        },
    )


SETTINGS: dict[str, Callable[[Path, int, Site], str]] = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}
