"""Uploads a file in parts."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import math
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from share.answers import Fields, UploadedFile, invalid, objects
from share.faults import Changed, Exit, Fault, Missing, Stopped
from share.memory import Memory
from share.progress import Meter
from share.server import Patience, Reply, Server
from share.settings import app_dir
from share.source import Options, Source
from share.text import describe, human_size, printable

SMALLEST_PART = 5 * 1024 * 1024  # of S3
MIN_PART = 8 * 1024 * 1024
STREAM_PART = 16 * 1024 * 1024  # for input of unknown length
MAX_PARTS = 10_000
CHUNK = 256 * 1024
PARALLEL = 4
_OPAQUE = re.compile("[!-~]{1,4096}")  # upload IDs, keys and ETags of S3
PARTS_IN_MEMORY = 256 * 1024 * 1024  # bytes; fewer parts at once if they are large

# A server that copies bytes takes a while to assemble a large file.
COMPLETION_WAITS = httpx.Timeout(900.0, connect=10.0)  # seconds


class MultipartUpload:
    """An upload in parallel parts. If the source is a file, a later run can resume it."""

    def __init__(self, server: Server, source: Source, options: Options, meter: Meter) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._meter = meter
        self._stop = threading.Event()
        self._state: dict[str, Any] = {}
        self._part_size = STREAM_PART if source.size is None else part_size(source.size)
        self._identity = source.identity() if source.identity else None
        self._memory: Memory | None = None
        if self._identity is not None:
            names = f"{server.address}\n{source.name}\n{self._identity}"
            key = hashlib.sha256(names.encode(errors="backslashreplace"))
            self._memory = Memory(app_dir() / "unfinished" / f"{key.hexdigest()}.json")

    def run(self, head: bytes) -> UploadedFile | None:
        """Upload the source. Returns the server's answer, or None if it has no direct uploads.

        `head` has the bytes that were already read from the source.
        """
        parts = self._resume()
        if parts is None:
            try:
                self._begin()
            except Missing:
                return None
            parts = {}
        elif parts:
            self._meter.resume(sum(size for size, _ in parts.values()))
        try:
            tags = self._send_parts(parts, head)
            if self._source.identity is not None and self._source.identity() != self._identity:
                raise Changed(f"{printable(self._source.name)} changed during the upload. Run the command again.")
            file = self._complete(tags)
        except Changed:
            with contextlib.suppress(Missing):
                self._server.request("DELETE", self._path())
            self._forget()
            raise
        except Missing as error:
            # Completed, deleted or expired in the meantime: nothing is left to resume.
            self._forget()
            raise Fault(
                Exit.NOT_FOUND, f"The server no longer knows this upload. Run the command again. ({error})"
            ) from error
        self._forget()
        return file

    def _path(self, tail: str = "") -> str:
        upload_id, key = (quote(self._state[name], safe="") for name in ("uploadId", "key"))
        return f"/file/s3/multipart/{upload_id}{tail}?key={key}"

    def _begin(self) -> None:
        encryption = self._options.encryption
        upload = {
            "filename": self._source.name,
            "type": self._source.content_type,
            "metadata": {**self._options.public(), **({"encryption": encryption} if encryption is not None else {})},
            **({} if self._source.size is None else {"size": self._source.size}),
        }
        headers = self._options.credentials()
        answer = Fields(self._patient_request("POST", "/file/s3/multipart", json=upload, headers=headers).json())
        upload_id, key = answer.text("uploadId", _OPAQUE), answer.text("key", _OPAQUE)
        if answer.value.get("part_size") is not None:
            # Storage accepts exactly these sizes, so that all parts fit into the inbox.
            size = answer.number("part_size", SMALLEST_PART)
            if size > max(PARTS_IN_MEMORY, self._part_size):
                raise invalid("part_size")
            self._part_size = size
        self._state = {
            "key": key,
            "uploadId": upload_id,
            "partSize": self._part_size,
            "options": self._options.fingerprint(upload_id),
        }
        self._remember()

    def _patient_request(self, method: str, path: str, **arguments: Any) -> Reply:
        return self._server.request(method, path, patience=Patience(self._meter.reconnect), **arguments)

    def _remember(self, **more: Any) -> None:
        if self._memory is None:
            return
        try:
            self._memory.save({**self._state, **more})
        except OSError as error:
            # Upload anyway; only resuming in a later run is impossible.
            self._memory = None
            self._server.warn(f"If interrupted, this upload cannot be resumed. {describe(error)}")

    def _resume(self) -> dict[int, tuple[int, str]] | None:
        """Size and ETag of each part that an earlier run sent; None if there was no such run."""
        try:
            state = Fields(self._memory.load() if self._memory is not None else None)
            part_size, options = state.number("partSize", 1), state.text("options")
            self._state = {"key": state.text("key"), "uploadId": state.text("uploadId"), **state.value}
        except Fault:
            return None
        if options != self._options.fingerprint(self._state["uploadId"]):
            with contextlib.suppress(Missing):
                self._server.request("DELETE", self._path())
            return None
        self._part_size = part_size
        try:
            parts = objects(self._patient_request("GET", self._path()).json(), "list of parts")
        except Missing:
            return self._completed()
        return {part.number("PartNumber", 1): (part.number("Size"), part.text("ETag", _OPAQUE)) for part in parts}

    def _completed(self) -> dict[int, tuple[int, str]] | None:
        """Like `_resume`, if an earlier run may have completed the upload without getting the answer."""
        parts = self._state.get("parts")
        if parts is None or self._source.size is None:
            return None
        tags = {part.number("PartNumber", 1): part.text("ETag") for part in objects(parts, "list of parts")}
        try:
            self._complete(tags)
        except Missing:
            return None
        size, whole = self._source.size, self._part_size
        return {number: (min(whole, size - (number - 1) * whole), tag) for number, tag in tags.items()}

    def _forget(self) -> None:
        if self._memory is not None:
            self._memory.forget()

    def _send_parts(self, sent: dict[int, tuple[int, str]], head: bytes) -> dict[int, str]:
        parallel = max(1, min(PARALLEL, PARTS_IN_MEMORY // self._part_size))
        pool = concurrent.futures.ThreadPoolExecutor(parallel, thread_name_prefix="part")
        running: dict[concurrent.futures.Future[str], int] = {}
        tags: dict[int, str] = {}

        def collect(when: str) -> None:
            for future in concurrent.futures.wait(running, return_when=when).done:
                tags[running.pop(future)] = future.result()

        try:
            for number, block in enumerate(self._parts(head), start=1):
                if number > MAX_PARTS:
                    limit = human_size(MAX_PARTS * self._part_size)
                    raise Fault(Exit.REFUSED, f"The input is too long: this server accepts up to {limit} from a pipe.")
                if number in sent and sent[number][0] == len(block):
                    tags[number] = sent[number][1]
                    self._meter.advance(len(block))
                    continue
                running[pool.submit(self._send_part, number, block)] = number
                # One more, so that the next part is read before a thread is free.
                if len(running) > parallel:
                    collect(concurrent.futures.FIRST_COMPLETED)
            collect(concurrent.futures.FIRST_EXCEPTION)
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return tags

    def _parts(self, head: bytes) -> Iterator[bytes]:
        if head:
            head += self._source.read(self._part_size - len(head))
            yield head
        yield from self._source.blocks(self._part_size)

    def _send_part(self, number: int, block: bytes) -> str:
        """Send a part until the server has it. Returns its ETag."""
        patience = Patience(self._meter.reconnect, self._stop)
        while True:
            moved = 0

            def body() -> Iterator[bytes]:
                nonlocal moved
                for start in range(0, len(block), CHUNK):
                    if self._stop.is_set():
                        raise Stopped
                    chunk = block[start : start + CHUNK]
                    yield chunk
                    moved += len(chunk)
                    self._meter.advance(len(chunk))

            try:
                # Use a new URL for each attempt, because presigned URLs expire.
                path = f"{self._path(f'/{number}')}&size={len(block)}"
                target = Fields(self._server.request("GET", path).json())
                headers = self._server.put_part(
                    target.text("url"),
                    content=body(),
                    headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(block))},
                )
            except (Fault, httpx.TransportError) as error:
                self._meter.advance(-moved)
                patience.wait_after(error)
                continue
            tag: str = headers.get("etag", "")
            if _OPAQUE.fullmatch(tag) is None:
                raise Fault(Exit.REFUSED, "The storage returned no ETag for a part, so the upload cannot be completed.")
            return tag

    def _complete(self, tags: dict[int, str]) -> UploadedFile:
        parts = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
        self._remember(parts=parts)
        # Safe to repeat: the second answer is the same as the first.
        reply = self._patient_request("POST", self._path("/complete"), json={"parts": parts}, timeout=COMPLETION_WAITS)
        return UploadedFile(reply.json())


def part_size(size: int) -> int:
    """The size of a part in whole MiB, so that there are at most 10,000 parts."""
    mebibyte = 1024 * 1024
    return max(MIN_PART, math.ceil(math.ceil(size / MAX_PARTS) / mebibyte) * mebibyte)
