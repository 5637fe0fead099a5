"""Serve the whole API from this machine: `python -m local.serve`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from local import access_log
from shared.errors import InvalidSetting
from shared.settings import Settings

log = logging.getLogger("local.serve")

PROTOCOLS = {"httptools": "local.protocols:BoundedHttpTools", "h11": "local.protocols:BoundedH11"}


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped, and return the exit status."""
    options = vars(_parse(arguments))
    try:
        settings = Settings.from_environment()
    except InvalidSetting as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logs_requests, welcomes = options.pop("access_log"), options.pop("welcome")
    config = uvicorn.Config(
        "local.access_log:app" if logs_requests else "functions.app:app",
        factory=logs_requests,
        **{**options, "http": PROTOCOLS[options["http"]]},
        loop="auto",
        log_config=access_log.config(),
        # Its line is written before the answer, so it has neither bytes nor duration.
        access_log=False,
        # The API has no WebSockets, and uvicorn would log a handshake with its query string.
        ws="none",
        # Clients have 30 s: `local.protocols` disconnects them 5 s before this limit.
        timeout_graceful_shutdown=35,
        # With uvicorn's default, 5 s, a busy or small machine could start the same workers again and again.
        timeout_worker_healthcheck=20,
        server_header=False,
    )
    log.info("Files are kept in %s", _place(settings))
    if _is_open(settings) and not _is_loopback(config.host):
        log.warning(
            "Anyone who can reach %s can upload and list files. Set SHARE_API_TOKEN to prevent that.", config.host
        )

    def welcome(port: int) -> None:
        if welcomes:
            print(_welcome(config.host, port, settings), flush=True)

    return _serve(config, welcome)


class _Server(uvicorn.Server):
    """Calls `welcome` with its port when it serves, and disconnects all clients on a second Ctrl+C."""

    def __init__(self, config: uvicorn.Config, welcome: Callable[[int], None]) -> None:
        super().__init__(config)
        self._welcome = welcome

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._welcome(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:
            # It may still wait for storage, for up to half a minute, and uvicorn would only stop after its start.
            os._exit(0)
        if self.should_exit and sig == signal.SIGINT:
            # uvicorn would leave the application running, and asyncio would cancel it with tracebacks.
            # Imported here, because the process that starts workers does not need it.
            from local.protocols import disconnect

            # Not at once, because a signal can arrive within any statement.
            asyncio.get_running_loop().call_soon_threadsafe(disconnect, self.server_state.connections)
        else:
            super().handle_exit(sig, frame)


def _serve(config: uvicorn.Config, welcome: Callable[[int], None]) -> int:
    """Like `uvicorn.run`, but reports failure if several workers all failed to start."""
    if config.workers > 1:
        listener = config.bind_socket()
        welcome(listener.getsockname()[1])
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
        return STARTUP_FAILURE if failed else 0
    server = _Server(config, welcome)
    # uvicorn raises this after an orderly shutdown.
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else STARTUP_FAILURE


def _welcome(host: str, port: int, settings: Settings) -> str:
    """What you want to know after you started a server."""
    local = _is_loopback(host)
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    address = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
    if settings.public_url:
        links = f"start with {settings.public_url}"
    elif local:
        links = "work on this machine only, because the server listens on " + host
    else:
        links = "start with the address at which you open the page"
    if not _is_open(settings):
        uploads = "only with an access token"
    elif local:
        uploads = "open to everyone on this machine, because SHARE_API_TOKEN is not set"
    else:
        uploads = "open to everyone who can reach this machine, because SHARE_API_TOKEN is not set"
    return f"""
Open {settings.public_url or address} to share files. Press Ctrl+C here to stop.
  Files:   {_place(settings)}
  Links:   {links}
  Uploads: {uploads}
"""


def _place(settings: Settings) -> str:
    return settings.storage if settings.bucket else str(Path(settings.storage).resolve())


def _is_open(settings: Settings) -> bool:
    return not settings.api_tokens and settings.api_token_secret is None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.serve", description="Serve the API from this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=within(0, 65535), default=8080, help="(default: %(default)s)")
    parser.add_argument("--workers", type=within(1, 64), default=1, help="processes (default: %(default)s)")
    parser.add_argument("--http", choices=PROTOCOLS, default="httptools", help="HTTP parser (default: %(default)s)")
    parser.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="proxies whose X-Forwarded headers are trusted, separated by commas (default: 127.0.0.1)",
    )
    parser.add_argument("--no-access-log", dest="access_log", action="store_false", help="do not log requests")
    parser.add_argument("--welcome", action="store_true", help="after the start, print the address and who can upload")
    return parser.parse_args(arguments)


def within(least: int, most: int) -> Callable[[str], int]:
    """A type of arguments: whole numbers in this range."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
