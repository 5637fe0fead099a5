"""Sends requests from many clients for as long as you like: `python -m tests.load.soak SECONDS [CLIENTS]`.

The server runs as with `make run`, with two workers on a directory. Each client performs random operations one after
another: upload by form, by PUT or in parts, download, take a range, list, read metadata, disconnect in the middle,
abort an upload in parts, delete. Some send or read slowly all the time. At the end, every acknowledged file must be
complete, every count must equal the number of complete downloads plus at most the interrupted ones, and no parts may be
left. Memory and file handles of the workers must be as low as after the warm-up. Prints the number of operations and
their duration as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wire.server import Server, until

CLIENTS = 256
SLOW = 16
MIB = 1024 * 1024
SIZES = (0, 1, 1000, 60_000, MIB + 17, 3 * MIB)
WEIGHTS = (1, 2, 8, 6, 2, 1)
# Files of direct uploads have one part of the minimum size, and one more.
PART_SIZE = 5 * MIB
PARTS_SIZE = PART_SIZE + 70_001
KEPT = 200  # files at a time
MEMORY_GROWTH = 64 * MIB
HANDLES_GROWTH = 24  # The number of locks and connections varies, but only by a few.

# One content per size, so only their hashes are stored.
CONTENTS = [random.Random(size).randbytes(size) for size in (*SIZES, PARTS_SIZE)]
IN_PARTS = len(SIZES)
JSON = "Content-Type: application/json"
HASHES = [hashlib.sha256(content).digest() for content in CONTENTS]


@dataclass
class File:
    file_id: str
    token: str
    kind: int
    """Index into `CONTENTS`."""
    downloads: int = 0
    doubtful: int = 0
    """Interrupted downloads, which may have been counted."""
    busy: int = 0
    gone: bool = False


@dataclass
class Answer:
    status: int
    body: bytes
    etag: str


@dataclass
class Load:
    port: int
    chance: random.Random
    least: int = 0
    """The minimum number of requests, however long they take."""
    files: list[File] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)

    async def run(self, clients: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(
            *(self._client(end) for _ in range(clients)),
            *(self._slow(self._dribble, end) for _ in range(SLOW)),
            *(self._slow(self._sip, end) for _ in range(SLOW)),
        )

    async def _client(self, end: float) -> None:
        acts = {
            self._upload: 6,
            self._upload_in_parts: 1,
            self._abort: 1,
            self._download: 12,
            self._range: 4,
            self._list: 1,
            self._look: 4,
            self._break_off: 3,
            self._delete: 3,
        }
        while time.monotonic() < end or self.done.total() < self.least:
            (act,) = self.chance.choices(list(acts), list(acts.values()))
            name = act.__name__.strip("_")
            began = time.monotonic()
            try:
                async with asyncio.timeout(60):
                    await act()
            except (TimeoutError, OSError, EOFError, ValueError) as error:
                self.wrong[f"{name}: {type(error).__name__}"] += 1
            else:
                self.times.setdefault(name, []).append(time.monotonic() - began)
            self.done[name] += 1

    async def _slow(self, act: Any, end: float) -> None:
        while time.monotonic() < end:
            with contextlib.suppress(OSError, EOFError):
                await act(end)
            self.done[act.__name__.strip("_")] += 1

    async def _ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [f"{method} {path} HTTP/1.1", "Host: share.test", "Connection: close", *headers]
            if body or method in ("POST", "PUT"):
                lines.append(f"Content-Length: {len(body)}")
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
            data = await reader.readexactly(int(length[1])) if length else await reader.read()
            etag = re.search(r'\r\netag: ("[^"\r]*")', head, re.IGNORECASE)
            return Answer(int(head.split(" ")[1]), data, etag[1] if etag else "")
        finally:
            writer.close()

    def _expect(self, name: str, answer: Answer, *statuses: int) -> bool:
        if answer.status not in statuses:
            self.wrong[f"{name}: {answer.status}"] += 1
        return answer.status in statuses

    def _random_file(self) -> File | None:
        return self.chance.choice(self.files) if self.files else None

    async def _upload(self) -> None:
        if len(self.files) >= KEPT:
            await self._delete()
        (kind,) = self.chance.choices(range(len(SIZES)), WEIGHTS)
        if self.chance.random() < 0.5:
            answer = await self._ask("PUT", "/file/upload/a.bin", body=CONTENTS[kind])
        else:
            part = b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
            form = part + CONTENTS[kind] + b"\r\n--X--\r\n"
            answer = await self._ask(
                "POST", "/file/upload/", "Content-Type: multipart/form-data; boundary=X", body=form
            )
        if self._expect("upload", answer, 201):
            stored = json.loads(answer.body)
            self.files.append(File(stored["file_id"], stored["delete_token"], kind))

    async def _upload_in_parts(self) -> None:
        if len(self.files) >= KEPT:
            await self._delete()
        content = CONTENTS[IN_PARTS]
        if (begun := await self._begin(len(content))) is None:
            return
        upload, key = begun
        parts = [content[:PART_SIZE], content[PART_SIZE:]]
        # One part is sent twice, and the second version counts.
        twice = await self._ask("PUT", f"{upload}/2{key}", body=CONTENTS[2])
        answers = await asyncio.gather(
            *(self._ask("PUT", f"{upload}/{number}{key}", body=part) for number, part in enumerate(parts, 1))
        )
        if not all(self._expect("part", answer, 200) for answer in (twice, *answers)):
            return
        part_list = [{"PartNumber": number, "ETag": answer.etag} for number, answer in enumerate(answers, 1)]
        body = json.dumps({"parts": part_list}).encode()
        completed = await asyncio.gather(
            *(self._ask("POST", f"{upload}/complete{key}", JSON, body=body) for _ in range(self.chance.choice((1, 2))))
        )
        if not all(self._expect("complete", answer, 200) for answer in completed):
            return
        stored = json.loads(completed[0].body)
        self.files.append(File(stored["file_id"], stored["delete_token"], IN_PARTS))
        if stored["file_size"] != len(content):
            self.wrong["complete: another size"] += 1

    async def _abort(self) -> None:
        """Start an upload and abort it, while a part may still be in transit."""
        if (begun := await self._begin(None)) is None:
            return
        upload, key = begun
        part = await self._ask("PUT", f"{upload}/1{key}", body=CONTENTS[3])
        self._expect("part", part, 200)
        late, ended = await asyncio.gather(
            self._ask("PUT", f"{upload}/2{key}", body=CONTENTS[3]), self._ask("DELETE", upload + key)
        )
        self._expect("late part", late, 200, 404)
        self._expect("abort", ended, 200)
        part_list = json.dumps({"parts": [{"PartNumber": 1, "ETag": part.etag}]}).encode()
        self._expect(
            "complete after the end", await self._ask("POST", f"{upload}/complete{key}", JSON, body=part_list), 404
        )

    async def _begin(self, size: int | None) -> tuple[str, str] | None:
        """The path of a new direct upload, and its query."""
        body = json.dumps({"filename": "a.bin", "size": size}).encode()
        answer = await self._ask("POST", "/file/s3/multipart", JSON, body=body)
        if not self._expect("begin", answer, 200):
            return None
        started = json.loads(answer.body)
        return f"/file/s3/multipart/{started['uploadId']}", f"?key={started['key']}"

    async def _download(self) -> None:
        if (file := self._random_file()) is None:
            return
        file.busy += 1
        file.doubtful += 1
        answer = await self._ask("GET", f"/file/download/{file.file_id}")
        file.doubtful -= 1
        file.busy -= 1
        if answer.status == 404 and file.gone:
            return
        if self._expect("download", answer, 200):
            file.downloads += 1
            if hashlib.sha256(answer.body).digest() != HASHES[file.kind]:
                self.wrong["download: other bytes"] += 1

    async def _range(self) -> None:
        file = self._random_file()
        if file is None or len(CONTENTS[file.kind]) < 2:
            return
        content = CONTENTS[file.kind]
        start = self.chance.randrange(1, len(content))
        stop = min(len(content), start + self.chance.randrange(1, 100_000))
        answer = await self._ask("GET", f"/file/download/{file.file_id}", f"Range: bytes={start}-{stop - 1}")
        if answer.status == 404 and file.gone:
            return
        if self._expect("range", answer, 206) and answer.body != content[start:stop]:
            self.wrong["range: other bytes"] += 1

    async def _list(self) -> None:
        answer = await self._ask("GET", "/file/metadata/")
        self._expect("list", answer, 200)
        json.loads(answer.body)

    async def _look(self) -> None:
        if (file := self._random_file()) is None:
            return
        answer = await self._ask("GET", f"/file/metadata/{file.file_id}")
        if not (answer.status == 404 and file.gone):
            self._expect("look", answer, 200)

    async def _break_off(self) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        file = self._random_file()
        if file is None or self.chance.random() < 0.5:
            head = "PUT /file/upload/a.bin HTTP/1.1\r\nHost: share.test\r\nContent-Length: 4000000\r\n\r\n"
            writer.write(head.encode() + CONTENTS[5][: self.chance.randrange(2 * MIB)])
        else:
            file.doubtful += 1
            writer.write(f"GET /file/download/{file.file_id} HTTP/1.1\r\nHost: share.test\r\n\r\n".encode())
        await asyncio.sleep(self.chance.random() / 20)
        writer.transport.abort()

    async def _delete(self) -> None:
        if len(self.files) < KEPT // 2:
            return
        file = self.files.pop(self.chance.randrange(len(self.files)))
        file.gone = True
        answer = await self._ask("DELETE", f"/file/{file.file_id}", f"X-Delete-Token: {file.token}")
        self._expect("delete", answer, 204)

    async def _dribble(self, end: float) -> None:
        """A sender of a few bytes per second that never finishes."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"PUT /file/upload/a.bin HTTP/1.1\r\nHost: share.test\r\nContent-Length: 100000\r\n\r\n")
        while time.monotonic() < end:
            writer.write(b"0123")
            await writer.drain()
            await asyncio.sleep(0.5)
        writer.transport.abort()

    async def _sip(self, end: float) -> None:
        """A reader of a few kilobytes per second."""
        file = next((file for file in self.files if len(CONTENTS[file.kind]) >= SIZES[-1]), None)
        if file is None:
            await asyncio.sleep(0.2)
            return
        file.doubtful += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
        writer.write(f"GET /file/download/{file.file_id} HTTP/1.1\r\nHost: share.test\r\n\r\n".encode())
        while time.monotonic() < end:
            if not await reader.read(2048):
                break
            await asyncio.sleep(0.5)
        writer.transport.abort()

    async def verify(self) -> None:
        for file in self.files:
            shown = json.loads((await self._ask("GET", f"/file/metadata/{file.file_id}")).body)
            if not file.downloads <= shown["download_count"] <= file.downloads + file.doubtful:
                self.wrong["count"] += 1
            whole = await self._ask("GET", f"/file/download/{file.file_id}")
            if hashlib.sha256(whole.body).digest() != HASHES[file.kind]:
                self.wrong["bytes at the end"] += 1
            again = json.loads((await self._ask("GET", f"/file/metadata/{file.file_id}")).body)
            if again["download_count"] != shown["download_count"] + 1:
                self.wrong["count at the end"] += 1
        listed = json.loads((await self._ask("GET", "/file/metadata/?limit=1000")).body)
        if listed.keys() != {file.file_id for file in self.files}:
            self.wrong["list at the end"] += 1


def processes(server: Server) -> list[int]:
    """The worker processes, or the server itself if there is only one."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(child) for child in children] or [server.process.pid]


def memory(server: Server) -> int:
    resident = 0
    for pid in processes(server):
        match = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        resident += int(match[1]) * 1024 if match else 0
    return resident


def handles(server: Server) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes(server))


def soak(place: Path, seconds: float, clients: int, workers: int = 2, least: int = 0) -> dict[str, Any]:
    """Run for this long, with at least this many requests. Returns the numbers of operations, and all errors."""
    with Server(place / "data", "--workers", str(workers)) as server:
        idle = handles(server)
        load = Load(server.port, random.Random(5), least)

        def settle() -> None:
            """Wait until the server has noticed all disconnects; if it never does, the end result reports that."""
            with contextlib.suppress(AssertionError):
                until(lambda: not server.staged() and handles(server) - idle <= HANDLES_GROWTH)

        asyncio.run(load.run(clients, seconds / 3))
        settle()
        warm = memory(server)
        asyncio.run(load.run(clients, seconds * 2 / 3))
        settle()
        grown, left = memory(server) - warm, handles(server) - idle
        asyncio.run(load.verify())
        staged = len(server.staged())
        parts = sum(path.is_file() for path in (server.data / "raw").rglob("*"))
        server.process.send_signal(signal.SIGTERM)
    if left > HANDLES_GROWTH:
        load.wrong[f"{left} more file handles"] += 1
    if staged:
        load.wrong[f"{staged} staged files left"] += 1
    if parts:
        load.wrong[f"{parts} parts left"] += 1
    p99 = {
        name: round(statistics.quantiles(times, n=100)[98], 3) for name, times in load.times.items() if len(times) > 1
    }
    return {
        "seconds": seconds,
        "clients": clients,
        "requests": sum(load.done.values()),
        "done": dict(load.done),
        "files checked": len(load.files),
        "p99 seconds": p99,
        "memory growth MiB": round(grown / MIB, 1),
        "handles left": left,
        "wrong": dict(load.wrong),
    }


def main() -> int:
    seconds, clients = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else CLIENTS
    with tempfile.TemporaryDirectory() as place:
        report = soak(Path(place), seconds, clients)
    # Not judged in the short version, because a server takes some time to have all the memory that it needs.
    if report["memory growth MiB"] * MIB > MEMORY_GROWTH:
        report["wrong"]["memory growth"] = report["memory growth MiB"]
    print(json.dumps(report, indent=2))
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
