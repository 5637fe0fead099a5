"""How often Python's garbage collector looks for reference cycles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def run(program: str, **environment: str) -> Any:
    """The JSON output of a separate process, because the collector belongs to the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


def test_what_was_put_together_is_not_looked_through_again() -> None:
    program = """
import gc, json
from shared.garbage import long_lived
with long_lived():
    held = [[] for _ in range(100_000)]
    during = gc.isenabled()
print(json.dumps([during, gc.isenabled(), any(held[0] is each for each in gc.get_objects())]))
"""
    assert run(program) == [False, True, False]


def test_a_start_that_fails_is_as_if_there_had_been_none() -> None:
    program = """
import gc, json
from shared.garbage import long_lived
before = gc.get_threshold()
try:
    with long_lived():
        raise ValueError
except ValueError:
    print(json.dumps([gc.isenabled(), gc.get_freeze_count(), gc.get_threshold() == before]))
"""
    assert run(program) == [True, 0, True]


def test_garbage_of_requests_is_still_found() -> None:
    program = """
import json, weakref
from shared.garbage import long_lived

class Cycle:
    def __init__(self):
        self.me = self

with long_lived():
    pass
last = weakref.ref(Cycle())
made = 0
while last() is not None and made < 1_000_000:
    made += 1
    Cycle()
print(json.dumps(made))
"""
    assert 0 < run(program) < 100_000


def test_transfers_leave_nothing_that_only_the_collector_can_free(tmp_path: Path) -> None:
    """Cycles keep a request and some of its body in memory until a collection, which took 4% of an upload's time."""
    program = """
import asyncio, gc, json
from functions.app import app

FORM = b'--x\\r\\nContent-Disposition: form-data; name="file"; filename="a"\\r\\n\\r\\nabc\\r\\n--x--\\r\\n'

async def ask(method, path, body=b"", query=b""):
    sent = []
    parts = [body[:20], body[20:]]
    async def receive():
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}
    async def send(message):
        sent.append((message.get("status"), message.get("body", b"")))
    await app(
        {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query,
            "scheme": "http", "http_version": "1.1", "client": None, "server": None,
            "headers": [
                (b"host", b"h"), (b"content-length", b"%d" % len(body)),
                (b"content-type", b"multipart/form-data; boundary=x"),
            ],
        },
        receive, send,
    )
    return sent[0][0], b"".join(body for _, body in sent)

async def main():
    file_id = json.loads((await ask("POST", "/file/upload", FORM))[1])["file_id"]
    requests = {
        "form": ("POST", "/file/upload", FORM),
        "malformed form": ("POST", "/file/upload", FORM[:-9]),
        "put": ("PUT", "/file/upload", b"abc", b"filename=a"),
        "download": ("GET", f"/file/download/{file_id}"),
        "metadata": ("GET", f"/file/metadata/{file_id}"),
        "list": ("GET", "/file/metadata"),
        "health": ("GET", "/health"),
        "unknown file": ("GET", "/file/download/3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"),
        "unknown path": ("GET", "/nothing"),
    }
    left = {}
    for name, request in requests.items():
        # The first ones fill caches.
        for _ in range(3):
            await ask(*request)
        gc.collect()
        gc.disable()
        statuses = [(await ask(*request))[0] for _ in range(10)]
        left[name] = [statuses[0], gc.collect()]
        gc.enable()
    print(json.dumps(left))

asyncio.run(main())
"""
    assert run(program, SHARE_STORAGE=str(tmp_path / "data")) == {
        "form": [201, 0],
        "malformed form": [400, 0],
        "put": [201, 0],
        "download": [200, 0],
        "metadata": [200, 0],
        "list": [200, 0],
        "health": [200, 0],
        "unknown file": [404, 0],
        "unknown path": [404, 0],
    }
