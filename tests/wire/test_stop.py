"""How a server stops while clients neither send nor read."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from local.protocols import CLEANUP_TIME, BoundedH11, BoundedHttpTools
from tests.wire.server import FORM_HEAD, FORM_TYPE, WITHIN, Server, request, sizes, until

MIB = 1024 * 1024
HOST = "Host: share.test"


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_a_second_ctrl_c_ends_stalled_transfers_without_a_traceback(tmp_path: Path, parser: str) -> None:
    size = 32 * MIB
    length = f"Content-Length: {size}"
    with (
        Server(tmp_path / "data", "--http", parser) as server,
        server.connect() as form,
        server.connect() as raw,
        server.connect() as download,
    ):
        file_id = server.upload(itertools.repeat(bytes(MIB), size // MIB), size)["file_id"]
        stored = server.stored()
        form_type = f"Content-Type: {FORM_TYPE}"
        form.sendall(request("POST", "/file/upload/", HOST, form_type, length, body=FORM_HEAD + bytes(3 * MIB)))
        raw.sendall(request("PUT", "/file/upload/a.bin", HOST, length, body=bytes(3 * MIB)))
        download.sendall(request("GET", f"/file/download/{file_id}", HOST))
        assert download.recv(1)
        # Both uploads, and not one and its expiry entry.
        until(lambda: sum(size >= MIB for size in sizes(server.staged())) == 2)
        server.process.send_signal(signal.SIGINT)
        until(lambda: not server.listens())
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(WITHIN) == 0
        assert server.staged() == []
        assert server.stored() == stored
    log = (tmp_path / "data.log").read_text()
    assert "Traceback" not in log
    assert log.count("Connections closed to stop the server: 3\n") == 1


@pytest.mark.parametrize("protocol", [BoundedH11, BoundedHttpTools])
def test_clients_are_disconnected_before_the_time_limit_cancels_requests(
    protocol: type[BoundedH11 | BoundedHttpTools], caplog: pytest.LogCaptureFixture
) -> None:
    """The server then waits for the requests, which discard their uploads."""
    events: list[str] = []

    async def stop() -> None:
        received = asyncio.Semaphore(0)

        async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
            event = ""
            try:
                while event != "http.disconnect":
                    event = (await receive())["type"]
                    received.release()
                # As long as it takes to discard an upload.
                await asyncio.sleep(0.2)
                events.append(event)
            except asyncio.CancelledError:
                events.append("cancelled")

        config = uvicorn.Config(
            app, http=protocol, lifespan="off", log_config=None, timeout_graceful_shutdown=CLEANUP_TIME
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            serving = asyncio.create_task(server.serve([listener]))
            clients = [await asyncio.open_connection(*address) for _ in range(2)]
            for _, writer in clients:
                writer.write(request("PUT", "/a.txt", HOST, "Content-Length: 10", body=b"12345"))
            for _ in clients:
                await received.acquire()
            server.should_exit = True
            await serving
            for _, writer in clients:
                writer.close()

    asyncio.run(stop())
    assert events == ["http.disconnect"] * 2
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == [
        "Connections closed to stop the server: 2"
    ]
