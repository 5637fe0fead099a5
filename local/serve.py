"""Serve the whole API from this machine: `python -m local.serve`."""

from __future__ import annotations

import argparse
import contextlib
import copy
import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from shared.errors import InvalidSetting
from shared.http.access_log import AccessFormatter
from shared.settings import Settings

PROTOCOLS = {"httptools": "local.protocols:BoundedHttpTools", "h11": "local.protocols:BoundedH11"}


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped, and return the exit status."""
    options = _parse(arguments)
    try:
        settings = Settings.from_environment()
    except InvalidSetting as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _announce(options.host, options.port, settings)
    config = uvicorn.Config(
        "functions.app:app",
        **{**vars(options), "http": PROTOCOLS[options.http]},
        loop="auto",
        log_config=_logging(),
        # The API has no WebSockets, and uvicorn would log a handshake with its query string.
        ws="none",
        timeout_graceful_shutdown=30,
        server_header=False,
    )
    return _serve(config)


def _logging() -> dict[str, Any]:
    """uvicorn's logging, with a faster formatter if the output is not a terminal with colours."""
    config = copy.deepcopy(LOGGING_CONFIG)
    if not sys.stdout.isatty():
        config["formatters"]["access"] = {"()": AccessFormatter}
    return config


def _serve(config: uvicorn.Config) -> int:
    """Like `uvicorn.run`, but reports failure if several workers all failed to start."""
    if config.workers > 1:
        supervisor = Multiprocess(config, sockets=[config.bind_socket()])
        supervisor.run()
        failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
        return STARTUP_FAILURE if failed else 0
    server = uvicorn.Server(config)
    # uvicorn raises this after an orderly shutdown.
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else STARTUP_FAILURE


def _announce(host: str, port: int, settings: Settings) -> None:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    place = settings.storage if settings.bucket else Path(settings.storage).resolve()
    print(f"Simple File Sharing API on http://{address}")
    print(f"Files are kept in {place}", flush=True)
    open_to_all = not settings.api_tokens and settings.api_token_secret is None
    if open_to_all and not _is_loopback(host):
        print(
            f"Warning: anyone who can reach {address} can upload and list files. Set SHARE_API_TOKEN to prevent that.",
            file=sys.stderr,
            flush=True,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.serve", description="Serve the API from this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_within(0, 65535), default=8080, help="(default: %(default)s)")
    parser.add_argument("--workers", type=_within(1, 64), default=1, help="processes (default: %(default)s)")
    parser.add_argument("--http", choices=PROTOCOLS, default="httptools", help="HTTP parser (default: %(default)s)")
    parser.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="proxies whose X-Forwarded headers are trusted, separated by commas (default: 127.0.0.1)",
    )
    parser.add_argument("--no-access-log", dest="access_log", action="store_false", help="do not log requests")
    return parser.parse_args(arguments)


def _within(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
