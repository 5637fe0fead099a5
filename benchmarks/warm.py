"""P11: a warm metadata request through Mangum, without storage time, and the minimum that FastAPI needs there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from fastapi import FastAPI
from mangum import Mangum

from benchmarks.counting import FILE_ID, new_record
from benchmarks.harness import Goal, Result, Setup, WrongAnswer, interleave
from benchmarks.stores import MemoryStore
from shared.bootstrap import Service
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.contract import ObjectStore
from shared.tokens import Tokens

CALLS = 2_000
_CONTEXT = SimpleNamespace(
    function_name="benchmark",
    function_version="1",
    memory_limit_in_mb=1024,
    aws_request_id="1",
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:benchmark",
    get_remaining_time_in_millis=lambda: 28_000,
)


def event(path: str) -> dict[str, Any]:
    """A GET request as the gateway's HTTP API sends it."""
    return {
        "version": "2.0",
        "routeKey": "GET /file/metadata/{file_id}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "files.example.com"},
        "pathParameters": {"file_id": FILE_ID},
        "requestContext": {
            "requestId": "1",
            "domainName": "files.example.com",
            "stage": "$default",
            "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
        },
    }


def calls(setup: Setup) -> Result:
    """P11. Log lines are formatted and written, but discarded."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), asyncio.Runner() as runner:
        # Mangum would create an event loop and leave it open.
        asyncio.set_event_loop(runner.get_loop())
        return _calls(setup)


def _calls(setup: Setup) -> Result:
    os.environ.setdefault("SHARE_STORAGE", str(setup.work / "unused"))
    from functions.get_metadata import router
    from shared.http.handler import HttpHandler

    shares = Shares(cast("ObjectStore", MemoryStore()), max_file_size=10, secret="benchmark")
    shares.records.create(new_record())

    class OverMemory(HttpHandler):
        def open(self) -> Service:
            return Service(Settings(), Tokens(), shares)

    hello = FastAPI()

    @hello.get("/hello")
    async def greet() -> dict[str, str]:
        return {"hello": "world"}

    count = setup.sized(CALLS, 20)
    ours = OverMemory(__name__, router)
    theirs = Mangum(hello, lifespan="off")

    def microseconds(handler: Callable[[dict[str, Any], Any], dict[str, Any]], path: str, key: str) -> float:
        called = event(path)
        began = time.process_time()
        for _ in range(count):
            answer = handler(called, _CONTEXT)
            if answer["statusCode"] != 200 or key not in json.loads(answer["body"]):
                raise WrongAnswer(f"{answer}")
        return (time.process_time() - began) / count * 1e6

    names = "warm call, ours", "warm call, hello"
    result = interleave(
        {
            names[0]: lambda: microseconds(ours, f"/file/metadata/{FILE_ID}", "download_count"),
            names[1]: lambda: microseconds(cast("Any", theirs), "/hello", "hello"),
        },
        setup.rounds,
        "µs",
    )
    result.goals = [Goal("P11", "warm metadata call", *names, most=3.0)]
    return result
