"""Downloads a file, resumes when the network was interrupted, and verifies the file."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping

import httpx

from share.answers import RemoteFile
from share.faults import Exit, Fault
from share.progress import Meter
from share.redirects import Redirected
from share.server import Patience, Server, check

CHUNK = 256 * 1024
MAX_RESTARTS = 3
_CONTENT_RANGE = re.compile("bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


class Sink:
    """The destination of the bytes. `tags` are the ETags with which to resume, by origin.

    `header` is that of an encrypted file, without which the rest cannot be decrypted.
    """

    aftermath = ""  # what the user should know if the file is damaged

    def __init__(self) -> None:
        self.position = 0
        self.digest = hashlib.sha256()
        self.tags: dict[str, str] = {}
        self.header = b""

    def write(self, chunk: bytes | bytearray) -> None:
        self.position += len(chunk)
        self.digest.update(chunk)

    def flush(self) -> None:
        """Make sure that the bytes written so far survive the end of the process."""

    def restart(self) -> None:
        """Discard all bytes. Raises `Fault` if that is impossible."""
        self.position = 0
        self.digest = hashlib.sha256()

    def save(self) -> None:
        """Save the tags for a later run."""

    def discard(self) -> None:
        """Remove the damaged file."""


class StandardOutput(Sink):
    """Standard output. It can resume after an interruption of the network, but not of the process."""

    aftermath = "Do not use what was written."

    def write(self, chunk: bytes | bytearray) -> None:
        sys.stdout.buffer.write(chunk)
        super().write(chunk)

    def flush(self) -> None:
        sys.stdout.buffer.flush()

    def restart(self) -> None:
        if self.position:
            raise Fault(Exit.DAMAGED, f"The server cannot resume this download. {self.aftermath}")


class Download:
    """One download into a sink, starting after the bytes that the sink already has.

    `credentials` are headers for the server itself, which no other host gets.
    """

    def __init__(
        self, server: Server, file: RemoteFile, credentials: Mapping[str, str], sink: Sink, meter: Meter
    ) -> None:
        self._source = Redirected(server.http, download_link(server, file), credentials)
        self._file = file
        self._sink = sink
        self._meter = meter
        self._restarts = 0

    def run(self) -> None:
        """Download the file. Raises `Fault`, and `httpx.TransportError` if retrying did not help."""
        sink, size = self._sink, self._file.size
        if sink.position:
            self._meter.resume(sink.position)
            self._meter.advance(sink.position)
        patience = Patience(self._meter.reconnect)
        # An empty file must also be requested.
        complete = sink.position == size > 0
        while not complete:
            before = sink.position
            error: Exception = Fault(Exit.UNAVAILABLE, "The server closed the connection early.")
            try:
                self._fetch()
                complete = sink.position == size
            except (Fault, httpx.TransportError) as fault:
                error = fault
            if sink.position > before:
                patience.renew()
            if not complete:
                patience.wait_after(error)
        if self._file.sha256 not in (None, sink.digest.hexdigest()):
            raise self._damaged("The file was damaged in transit: its SHA-256 is wrong.")

    def _fetch(self) -> None:
        sink, offset = self._sink, self._sink.position
        with self._source.get(offset, sink.tags) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._restart()
                return
            check(response)
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                require_range(response, offset, self._file.size)
            elif offset:
                self._restart()
            # Before the first byte, because resuming needs the ETag.
            sink.save()
            for chunk in response.iter_raw(CHUNK):
                if sink.position + len(chunk) > self._file.size:
                    raise self._damaged("The server sent more bytes than the file has.")
                sink.write(chunk)
                self._meter.advance(len(chunk))
        sink.flush()

    def _restart(self) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise self._damaged("The server cannot resume this download.")
        position = self._sink.position
        self._sink.restart()
        self._meter.advance(-position)

    def _damaged(self, message: str) -> Fault:
        self._sink.discard()
        return Fault(Exit.DAMAGED, f"{message} {self._sink.aftermath}")


def download_link(server: Server, file: RemoteFile) -> str:
    return f"{server.address}/file/download/{file.file_id}"


def require_range(response: httpx.Response, offset: int, size: int) -> None:
    """Raises `Fault` unless a 206 has the bytes from `offset` of a file of this size."""
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if content_range is None or (int(content_range[1]), int(content_range[2])) != (offset, size):
        raise Fault(Exit.DAMAGED, "The server sent the wrong part of the file.")
