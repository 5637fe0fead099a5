"""One process of a function, with AWS's runtime client, and its own Runtime API.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from local.intrinsics import ACCOUNT, REGION
from local.processes import kill_group, tethered
from local.template import Function

HOST = "127.0.0.1"
# For events and results, as JSON. AWS documents this as 6 MB.
PAYLOAD_LIMIT = 6 * 1024 * 1024
# Lambda allows 10 s for a start; a busy laptop without bytecode caches can need more.
START_WITHIN = 60.0

_API = "/2018-06-01/runtime"
_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"


class FunctionFailed(Exception):
    """A function failed. `payload` is the JSON object that Lambda returns instead of a result."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload.decode(errors="replace"))
        self.payload = payload


def _failure(kind: str, message: str) -> FunctionFailed:
    return FunctionFailed(json.dumps({"errorType": kind, "errorMessage": message}).encode())


@dataclass
class _Invocation:
    event: bytes
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    result: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, failure: FunctionFailed) -> None:
        if not self.result.done():
            self.result.set_exception(failure)
            # Retrieve the exception, or asyncio would report it if the caller has given up.
            self.result.exception()
        self.taken.set()


class Worker:
    """Handles one event at a time, while it is `usable`."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._waiting: asyncio.Queue[_Invocation] = asyncio.Queue()
        self._current: _Invocation | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self.usable = True

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self, environment: Mapping[str, str], interpreter: Sequence[str]) -> None:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        port = self._server.sockets[0].getsockname()[1]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *tethered([*interpreter, "-m", "awslambdaric", self._function.handler]),
                env={**environment, **_lambda_variables(self._function), "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{port}"},
                cwd=self._function.code,
                stdin=asyncio.subprocess.DEVNULL,
                # Functions' output is their log. Our standard output is for the result, which a script may parse.
                stdout=sys.stderr.fileno(),
                # Not in the terminal's foreground group, which gets Ctrl-C: we end these in order.
                process_group=0,
            )
        except BaseException:
            self.usable = False
            self._close()
            raise
        self._watch = asyncio.create_task(self._reap(self._process))

    async def invoke(self, event: bytes) -> bytes:
        """Run the function; event and result are JSON. Raises `FunctionFailed`."""
        if not self.usable:
            raise _exited(None)
        invocation = self._current = _Invocation(event)
        self._waiting.put_nowait(invocation)
        allowed = START_WITHIN
        try:
            async with asyncio.timeout(allowed):
                await invocation.taken.wait()
            # A function's time starts with its event.
            allowed = self._function.timeout
            async with asyncio.timeout(allowed):
                return await invocation.result
        except TimeoutError as error:
            self.kill()
            raise _failure("Sandbox.Timedout", f"Task timed out after {allowed:.2f} seconds") from error
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            self._current = None

    def kill(self) -> None:
        self.usable = False
        if self.pid is not None:
            kill_group(self.pid)

    async def ended(self) -> None:
        if self._watch is not None:
            await asyncio.shield(self._watch)

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        self.usable = False
        if self._current is not None:
            self._current.fail(_exited(status))
        self._close()

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        # The process can be killed at any time, which `_reap` reports.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                writer.write(await self._answer(*await _request(reader)))
                await writer.drain()
        self._connections.discard(task)
        writer.close()

    async def _answer(self, method: str, path: str, body: bytes) -> bytes:
        if (method, path) == ("GET", f"{_API}/invocation/next"):
            return await self._next()
        if (method, path) == ("POST", f"{_API}/init/error"):
            # The import failed, so the process ends by itself.
            self.usable = False
            if self._current is not None:
                self._current.fail(FunctionFailed(body))
            return _reply("202 Accepted", b'{"status":"OK"}')
        invocation = self._current
        if invocation is None or method != "POST" or not path.startswith(f"{_API}/invocation/{invocation.id}/"):
            return _reply("403 Forbidden", b'{"errorType":"InvalidRequestID","errorMessage":"no such request"}')
        if path.endswith("/error"):
            invocation.fail(FunctionFailed(body))
        elif len(body) > PAYLOAD_LIMIT:
            # AWS's runtime client treats this as fatal and ends.
            self.usable = False
            failure = _failure(
                "Function.ResponseSizeTooLarge",
                f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes).",
            )
            invocation.fail(failure)
            return _reply("413 Payload Too Large", failure.payload)
        elif not invocation.result.done():
            invocation.result.set_result(body)
        return _reply("202 Accepted", b'{"status":"OK"}')

    async def _next(self) -> bytes:
        invocation = await self._waiting.get()
        invocation.taken.set()
        trace = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0"
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._function.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": f"{_ARN}:{self._function.name}",
            "Lambda-Runtime-Trace-Id": trace,
        }
        return _reply("200 OK", invocation.event, headers)


def _exited(status: int | None) -> FunctionFailed:
    how = "" if status is None else f": exit status {status}" if status >= 0 else f": signal: {-status}"
    return _failure("Runtime.ExitError", f"Runtime exited without providing a reason{how}")


def _lambda_variables(function: Function) -> dict[str, str]:
    """The environment variables of a process on Lambda, without any of this machine's."""
    # AWS's runtime client logs as JSON only with a level; this is Lambda's default.
    log_level = {"AWS_LAMBDA_LOG_LEVEL": "INFO"} if function.log_format == "JSON" else {}
    return {
        "LANG": "en_US.UTF-8",
        "PATH": os.defpath,
        "TZ": ":UTC",
        **function.environment,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": function.log_format,
        **log_level,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "emulated",
        "AWS_REGION": REGION,
        "LAMBDA_TASK_ROOT": str(function.code),
        "_HANDLER": function.handler,
    }


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Read the next request of a connection. AWS's runtime client sends a length with every body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return method, path, await reader.readexactly(int(headers.get("content-length", "0")))


def _reply(status: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
