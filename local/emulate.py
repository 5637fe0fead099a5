"""Emulates the deployment on this machine, without Docker or AWS: `python -m local.emulate`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from local import artifact, aws
from local.gateway import Gateway
from local.intrinsics import InvalidTemplate
from local.notifications import Notifier
from local.runtime import Runtime
from local.serve import within
from local.template import Function, Template

HOST = "127.0.0.1"
DEFAULT_CONCURRENCY = 4  # processes of each function


class Emulation:
    """The gateway and the notifications of the bucket; ends all functions when the server stops."""

    def __init__(self, gateway: Gateway, notifier: Notifier, runtime: Runtime) -> None:
        self._gateway = gateway
        self._notifier = notifier
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._gateway(scope, receive, send)
            return
        await receive()
        notifying = asyncio.create_task(self._notifier.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        notifying.cancel()
        await self._runtime.close()
        await send({"type": "lifespan.shutdown.complete"})


@dataclasses.dataclass(frozen=True, slots=True)
class Platform:
    """What the functions of a template need to run: see `Runtime`. `services` are the variables for the services."""

    functions: Mapping[str, Function]
    environment: Mapping[str, str]
    interpreter: Sequence[str]
    services: Mapping[str, str]


@contextlib.contextmanager
def platform(
    folder: Path, template: Template, *, token: str | None, url: str | None = None, s3: str | None = None
) -> Iterator[Platform]:
    """Provide for the functions of a template, over fresh services.

    Links begin with `url` unless the template sets another address; on AWS they begin with the gateway's domain.
    Without a token, anyone can upload. Raises `aws.Unusable` and `artifact.Unfit`.
    """
    with aws.services(s3) as services, tempfile.TemporaryDirectory(prefix="provided-") as packages:
        aws.provide(template, token, services)
        python = artifact.interpreter_for(template)
        environment, interpreter = dict(services), [python.command]
        environment["AWS_EXECUTION_ENV"] = f"AWS_Lambda_python{python.version}"
        if artifact.is_built(folder, template):
            # A package that is missing in the build must fail here, not on AWS.
            artifact.link_provided(Path(packages), python)
            environment["PYTHONPATH"] = packages
            interpreter.append("-S")
        functions = {name: _adapted(function, token, url) for name, function in template.functions.items()}
        yield Platform(functions, environment, interpreter, services)


@contextlib.contextmanager
def running(provided: Platform, concurrency: int = DEFAULT_CONCURRENCY) -> Iterator[Runtime]:
    """Run the functions until the block ends."""
    runtime = Runtime(
        provided.functions, provided.environment, concurrency=concurrency, interpreter=provided.interpreter
    )
    try:
        yield runtime
    finally:
        # After an orderly stop, they have already ended.
        runtime.kill()


def main(
    arguments: list[str] | None = None, provide: Callable[..., AbstractContextManager[Platform]] = platform
) -> int:
    """Serve until stopped, and return the exit status."""
    options = _parse(arguments)
    # A signal must end the processes that we started, too.
    signal.signal(signal.SIGTERM, interrupt)
    try:
        folder, template, which = artifact.choose(options.artifact)
        # First, so that nothing starts if the port is in use.
        listener = socket.create_server((HOST, options.port))
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        token = None if options.open else options.token
        with (
            listener,
            provide(folder, template, token=token, url=url, s3=options.s3) as provided,
            running(provided, options.concurrency) as runtime,
        ):
            services = provided.services
            gateway = Gateway(template.routes, runtime.invoke, HOST, remap=options.remap_www_authenticate)
            notifier = Notifier(template.notifications, aws.s3_client(services), runtime.invoke)
            print(f"Emulated Simple File Sharing API on {url}")
            print(f"Functions: {len(template.functions)}, {which}")
            print(f"Access token: {'none required' if options.open else options.token}")
            print(f"Bucket: {', '.join(template.buckets)} on {services.get(aws.S3_ENDPOINT, services[aws.ENDPOINT])}")
            print("Press Ctrl+C here to stop.", flush=True)
            return _serve(Emulation(gateway, notifier, runtime), listener)
    except (OSError, InvalidTemplate, artifact.Unfit, aws.Unusable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _serve(app: Emulation, listener: socket.socket) -> int:
    config = uvicorn.Config(
        app,
        # asyncio watches the processes of the functions.
        loop="asyncio",
        lifespan="on",
        # Pass on the headers of proxies, but do not trust them.
        proxy_headers=False,
        ws="none",
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    # uvicorn raises this after an orderly shutdown.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0 if server.started else STARTUP_FAILURE


def _adapted(function: Function, token: str | None, url: str | None) -> Function:
    environment = dict(function.environment)
    if token is None:
        environment["SHARE_API_TOKEN_SECRET"] = ""
    if url is not None and not environment.get("SHARE_PUBLIC_URL"):
        environment["SHARE_PUBLIC_URL"] = url
    return dataclasses.replace(function, environment=environment)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.emulate",
        description="Emulate the deployment: the functions of template.yaml behind an HTTP API, with moto or other AWS "
        "services.",
    )
    parser.add_argument("--port", type=within(0, 65535), default=8081, help="(default: %(default)s)")
    parser.add_argument(
        "--artifact",
        type=Path,
        help="folder with template.yaml (default: .aws-sam/build if current and fit to run here, else the source tree)",
    )
    parser.add_argument("--s3", metavar="URL", help="another S3 server; set its AWS_ACCESS_KEY_ID and so on")
    parser.add_argument(
        "--remap-www-authenticate",
        action="store_true",
        help="rename WWW-Authenticate to x-amzn-remapped-www-authenticate, as the gateway on AWS may",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", default=secrets.token_urlsafe(24), help="Access token (default: a random one)")
    token.add_argument("--open", action="store_true", help="require no token to upload and list files")
    parser.add_argument(
        "--concurrency",
        type=int,
        default=DEFAULT_CONCURRENCY,
        help="maximum processes per function (default: %(default)s)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
