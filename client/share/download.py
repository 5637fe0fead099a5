"""Fetching a file: into a file beside its target, or to standard output."""

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

from share.faults import Exit, Fault
from share.memory import Memory
from share.names import MAX_NAME_BYTES, shortened
from share.redirects import Redirected
from share.server import Patience, Server, check
from share.text import printable

CHUNK = 256 * 1024

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Download:
    """One file on its way down, beside its target as `<name>.part` until it is whole and checked."""

    def __init__(
        self, server: Server, file_id: str, known: dict[str, Any], password: str | None, target: Path, *, force: bool
    ) -> None:
        self._link = f"{server.address}/file/download/{file_id}"
        self._source = Redirected(server.http, self._link, password)
        self._size = int(known["file_size"])
        self._sha256: str | None = known.get("sha256")
        self._target = target
        self._force = force
        self._part = target.with_name(f"{shortened(target.name, MAX_NAME_BYTES - 10)}.part")
        self._memory = Memory(self._part.with_name(f"{self._part.name}.json"))
        self._tags: dict[str, str] = {}
        self.resumed_at = 0
        self.sha256 = ""

    def prepare(self) -> None:
        """Find what an earlier run left. Raises `Fault` where something else is in the way."""
        if self._target.exists() and not self._force:
            raise Fault(Exit.LOCAL, f"{printable(str(self._target))} exists already. Give --force, or -o another path.")
        state = self._memory.load()
        if state is not None and state.get("link") == self._link and state.get("size") == self._size:
            self._tags = {str(origin): str(tag) for origin, tag in state.get("etags", {}).items()}
            self.resumed_at = self._part.stat().st_size if self._part.exists() else 0
        elif (self._part.exists() or state is not None) and not self._force:
            raise Fault(
                Exit.LOCAL,
                f"{printable(str(self._part))} is in the way, and not the beginning of this file. "
                "Remove it, or give --force.",
            )

    def run(self, advance: Callable[[int], None]) -> None:
        """Fetch, check and rename. Raises `Fault`; what has arrived stays for the next run, unless it is wrong."""
        try:
            self._fetch_all(advance)
        except BaseException:
            if self._part.exists() and not self._part.stat().st_size:
                self._discard()
            raise
        self._rename()
        self._memory.forget()

    def _fetch_all(self, advance: Callable[[int], None]) -> None:
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        with open(descriptor, "r+b") as part:
            part.truncate(self.resumed_at)
            self._memory.save(self._state())
            part.seek(self.resumed_at)
            advance(self.resumed_at)
            patience = Patience()
            while self._is_unfinished(part):
                before = part.tell()
                try:
                    self._fetch(part, advance)
                except (Fault, httpx.TransportError) as error:
                    if part.tell() > before:
                        patience.renew()
                    patience.wait_after(error)
            self._require_whole(part)

    def _state(self) -> dict[str, Any]:
        return {"link": self._link, "size": self._size, "etags": self._tags}

    def _is_unfinished(self, part: BufferedRandom) -> bool:
        return part.tell() < self._size or (self._size == 0 and not self._tags)

    def _fetch(self, part: BufferedRandom, advance: Callable[[int], None]) -> None:
        offset = part.tell()
        with self._source.get(offset, self._tags) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._start_over(part, offset, advance)
                return
            check(response)
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
                if found is None or (int(found[1]), int(found[3])) != (offset, self._size):
                    raise Fault(Exit.DAMAGED, "The server sends another part of the file than was asked for.")
            elif offset:
                self._start_over(part, offset, advance)
            # Before the first byte, so that no byte is ever without the tag that it can be continued by.
            self._memory.save(self._state())
            for chunk in response.iter_raw(CHUNK):
                if part.tell() + len(chunk) > self._size:
                    raise self._damaged("The server sends more bytes than the file has.")
                part.write(chunk)
                advance(len(chunk))
        part.flush()

    def _start_over(self, part: BufferedRandom, offset: int, advance: Callable[[int], None]) -> None:
        part.seek(0)
        part.truncate()
        advance(-offset)

    def _require_whole(self, part: BufferedRandom) -> None:
        part.flush()
        part.seek(0)
        self.sha256 = hashlib.file_digest(part, "sha256").hexdigest()
        if self._sha256 is not None and self.sha256 != self._sha256:
            raise self._damaged("What arrived does not have the SHA-256 of the file.")

    def _damaged(self, message: str) -> Fault:
        self._discard()
        return Fault(Exit.DAMAGED, f"{message} It was not kept.")

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._memory.forget()

    def _rename(self) -> None:
        if self._force:
            os.replace(self._part, self._target)
            return
        try:
            # Unlike a rename, a link never replaces what somebody put there meanwhile.
            os.link(self._part, self._target)
        except FileExistsError as error:
            message = f"{printable(str(self._target))} has appeared meanwhile. Run it again with -o another path."
            raise Fault(Exit.LOCAL, message) from error
        except OSError:
            os.rename(self._part, self._target)
        else:
            self._part.unlink()


def write_out(server: Server, file_id: str, known: dict[str, Any], password: str | None) -> str:
    """Write a file to standard output, and return its SHA-256. A break is continued, but not by another process."""
    source = Redirected(server.http, f"{server.address}/file/download/{file_id}", password)
    size, digest, offset = int(known["file_size"]), hashlib.sha256(), 0
    tags: dict[str, str] = {}
    patience = Patience()
    while offset < size or not tags:
        before = offset
        try:
            with source.get(offset, tags) as response:
                check(response)
                if offset and response.status_code != httpx.codes.PARTIAL_CONTENT:
                    raise Fault(Exit.DAMAGED, "The download broke off, and the server does not continue it.")
                for chunk in response.iter_raw(CHUNK):
                    sys.stdout.buffer.write(chunk)
                    digest.update(chunk)
                    offset += len(chunk)
            if not tags:
                break
        except (Fault, httpx.TransportError) as error:
            if offset > before:
                patience.renew()
            patience.wait_after(error)
    sys.stdout.buffer.flush()
    if offset != size or known.get("sha256") not in (None, digest.hexdigest()):
        raise Fault(Exit.DAMAGED, "What arrived is not the file. Do not use it.")
    return digest.hexdigest()
