"""HAProxy in front of the server, with its default health check: HTTP/1.0 without a Host header."""

from __future__ import annotations

import csv
import http.client
import socket
from pathlib import Path

import pytest

from tests.programs import process, require
from tests.servers import free_ports
from tests.wire.server import WITHIN, Server, until

CONFIGURATION = """
global
    stats socket {socket} level admin

defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s

listen share
    bind 127.0.0.1:{port}
    option httpchk GET /health
    server api 127.0.0.1:{api_port} check inter 60s fall 1
"""


def command_output(path: Path, command: str) -> str:
    """The answer on HAProxy's socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WITHIN)
        connection.connect(str(path))
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def backend(path: Path) -> dict[str, str]:
    """HAProxy's statistics for its only server."""
    lines = command_output(path, "show stat").removeprefix("# ").splitlines()
    (row,) = [row for row in csv.DictReader(lines) if row["svname"] == "api"]
    # During a check, the status of the last check begins with an asterisk.
    return {**row, "check_status": row["check_status"].removeprefix("* ")}


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_its_health_check_finds_the_server_up(tmp_path: Path, parser: str) -> None:
    require("REQUIRE_HAPROXY", "haproxy")
    (port,) = free_ports(1)
    stats, configuration, log = (tmp_path / name for name in ("stats", "haproxy.cfg", "haproxy.log"))
    with Server(tmp_path / "data", "--http", parser) as server:
        configuration.write_text(CONFIGURATION.format(socket=stats, port=port, api_port=server.port))
        with process(["haproxy", "-db", "-f", str(configuration)], log) as haproxy:

            def passes() -> bool:
                assert haproxy.poll() is None, log.read_text()
                try:
                    return backend(stats)["check_status"] == "L7OK"
                except (FileNotFoundError, ConnectionRefusedError):
                    # HAProxy names its socket before it listens there.
                    return False

            until(passes)
            row = backend(stats)
            assert (row["status"], row["check_status"], row["check_code"]) == ("UP", "L7OK", "200")
            # The server logs only failed checks.
            assert "/health" not in (tmp_path / "data.log").read_text().partition("running on")[2]
            # No check failed.
            assert (row["chkfail"], row["chkdown"]) == ("0", "0")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN)
            connection.request("GET", "/health", headers={"Host": "files.example.org"})
            assert connection.getresponse().status == 200
            connection.close()
