"""Downloading: into a file beside the target, or to standard output."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path
from typing import Any

import httpx

from share.answers import RemoteFile
from share.faults import Exit, Fault
from share.memory import SAFELY, Memory, open_own
from share.names import MAX_NAME_BYTES, shortened
from share.redirects import Redirected
from share.server import Patience, Server, check
from share.text import printable

CHUNK = 256 * 1024
MAX_RESTARTS = 3
_CONTENT_RANGE = re.compile("bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


class Download:
    """One download, beside its target as `<name>.part` until it is complete and verified."""

    def __init__(self, server: Server, file: RemoteFile, password: str | None, target: Path, *, force: bool) -> None:
        self._link = f"{server.address}/file/download/{file.file_id}"
        self._source = Redirected(server.http, self._link, password)
        self._size = file.size
        self._sha256 = file.sha256
        self._target = target
        self._force = force
        self._part = target.with_name(f"{shortened(target.name, MAX_NAME_BYTES - 10)}.part")
        self._memory = Memory(self._part.with_name(f"{self._part.name}.json"))
        self._tags: dict[str, str] = {}
        self._restarts = 0
        self.resumed_at = 0
        self.sha256 = ""

    def prepare(self) -> None:
        """Find what an earlier run left. Raises `Fault` where something else is in the way."""
        if os.path.lexists(self._target):
            if not self._force:
                raise Fault(
                    Exit.LOCAL,
                    f"{printable(str(self._target))} already exists. Use --force, or -o to save elsewhere.",
                )
            if self._target.exists() and not self._target.is_file():
                raise Fault(
                    Exit.LOCAL,
                    f"{printable(str(self._target))} is not a regular file. To write to it, use: -o - > PATH",
                )
        state = self._memory.load()
        there = self._own_part_size()
        if (
            there is not None
            and state is not None
            and state.get("link") == self._link
            and state.get("size") == self._size
        ):
            self._tags = tags_of(state)
            self.resumed_at = there if there <= self._size else 0
            return
        for path in (self._part, self._memory.path):
            if os.path.lexists(path):
                if not self._force:
                    raise self._in_the_way(path)
                path.unlink()

    def _own_part_size(self) -> int | None:
        """None for something in its place that is not ours."""
        try:
            with open(open_own(self._part, os.O_RDWR), "rb") as part:
                return os.fstat(part.fileno()).st_size
        except FileNotFoundError:
            return 0
        except OSError:
            return None

    def _in_the_way(self, path: Path) -> Fault:
        return Fault(
            Exit.LOCAL,
            f"{printable(str(path))} is in the way and does not belong to this download. Remove it, or use --force.",
        )

    def run(self, advance: Callable[[int], None]) -> None:
        """Fetch, check and rename. Raises `Fault`; what has arrived stays for the next run, unless it is wrong."""
        with open(self._open_part(), "r+b") as part:
            try:
                self._fetch_all(part, advance)
            except BaseException:
                if not os.fstat(part.fileno()).st_size:
                    self._discard()
                raise
        self._rename()
        self._memory.forget()

    def _open_part(self) -> int:
        try:
            if os.path.lexists(self._part):
                return open_own(self._part, os.O_RDWR)
            return os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)
        except FileExistsError:
            raise self._in_the_way(self._part) from None

    def _fetch_all(self, part: BufferedRandom, advance: Callable[[int], None]) -> None:
        part.truncate(self.resumed_at)
        self._memory.save(self._state())
        part.seek(self.resumed_at)
        advance(self.resumed_at)
        # An empty file must be requested, too.
        if not self.resumed_at == self._size > 0:
            fetch_until_complete(lambda: self._fetch(part, advance), part.tell, self._size)
        self._require_right(part)

    def _state(self) -> dict[str, Any]:
        return {"link": self._link, "size": self._size, "etags": self._tags}

    def _fetch(self, part: BufferedRandom, advance: Callable[[int], None]) -> None:
        offset = part.tell()
        with self._source.get(offset, self._tags) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._start_over(part, offset, advance)
                return
            check(response)
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                require_range(response, offset, self._size)
            elif offset:
                self._start_over(part, offset, advance)
            # Before the first byte: without its ETag it could not be resumed.
            self._memory.save(self._state())
            for chunk in response.iter_raw(CHUNK):
                if part.tell() + len(chunk) > self._size:
                    raise self._damaged("The server sent more bytes than the file has.")
                part.write(chunk)
                advance(len(chunk))
        part.flush()

    def _start_over(self, part: BufferedRandom, offset: int, advance: Callable[[int], None]) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise self._damaged("The server cannot resume this download.")
        part.seek(0)
        part.truncate()
        advance(-offset)

    def _require_right(self, part: BufferedRandom) -> None:
        part.flush()
        part.seek(0)
        self.sha256 = hashlib.file_digest(part, "sha256").hexdigest()
        if self._sha256 is not None and self.sha256 != self._sha256:
            raise self._damaged("The file was damaged in transit: its SHA-256 is wrong.")

    def _damaged(self, message: str) -> Fault:
        self._discard()
        return Fault(Exit.DAMAGED, f"{message} Nothing was saved.")

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._memory.forget()

    def _rename(self) -> None:
        if self._force:
            os.replace(self._part, self._target)
            return
        try:
            # Unlike a rename, a link never replaces an existing file.
            os.link(self._part, self._target)
        except FileExistsError as error:
            raise self._appeared() from error
        except OSError:
            self._rename_without_links()
        else:
            self._part.unlink()

    def _rename_without_links(self) -> None:
        """As `_rename`, on a file system that has no hard links: what is replaced is an empty file of ours."""
        try:
            os.close(os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError as error:
            raise self._appeared() from error
        os.replace(self._part, self._target)

    def _appeared(self) -> Fault:
        path = printable(str(self._target))
        return Fault(
            Exit.LOCAL,
            f"{path} was created by someone else in the meantime. Run the command again with -o to save elsewhere.",
        )


def tags_of(state: dict[str, Any]) -> dict[str, str]:
    tags = state.get("etags")
    return {str(origin): str(tag) for origin, tag in tags.items()} if isinstance(tags, dict) else {}


def fetch_until_complete(fetch: Callable[[], None], position: Callable[[], int], size: int) -> None:
    """Call `fetch`, which resumes at `position`, until all bytes have arrived. Progress renews the patience."""
    patience = Patience()
    while True:
        before = position()
        error: Exception = Fault(Exit.UNAVAILABLE, "The server closed the connection early.")
        try:
            fetch()
            if position() == size:
                return
        except (Fault, httpx.TransportError) as fault:
            error = fault
        if position() > before:
            patience.renew()
        patience.wait_after(error)


def require_range(response: httpx.Response, offset: int, size: int) -> None:
    """Raises `Fault` unless a 206 has the bytes from `offset` on, of a file of this size."""
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if content_range is None or (int(content_range[1]), int(content_range[2])) != (offset, size):
        raise Fault(Exit.DAMAGED, "The server sent the wrong part of the file.")


def write_out(server: Server, file: RemoteFile, password: str | None) -> None:
    """Write a file to standard output. Survives interruptions of the network, but not of the process."""
    source = Redirected(server.http, f"{server.address}/file/download/{file.file_id}", password)
    digest, offset = hashlib.sha256(), 0
    tags: dict[str, str] = {}

    def fetch() -> None:
        nonlocal offset
        with source.get(offset, tags) as response:
            check(response)
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                require_range(response, offset, file.size)
            elif offset:
                raise Fault(Exit.DAMAGED, "The download was interrupted, and the server cannot resume it.")
            for chunk in response.iter_raw(CHUNK):
                if offset + len(chunk) > file.size:
                    raise Fault(
                        Exit.DAMAGED, "The server sent more bytes than the file has. Do not use what was written."
                    )
                sys.stdout.buffer.write(chunk)
                digest.update(chunk)
                offset += len(chunk)

    fetch_until_complete(fetch, lambda: offset, file.size)
    sys.stdout.buffer.flush()
    if file.sha256 not in (None, digest.hexdigest()):
        raise Fault(Exit.DAMAGED, "The file was damaged in transit. Do not use what was written.")
