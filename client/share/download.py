"""Downloads a file, resumes when the network was interrupted, and verifies the file."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import re
import threading

import httpx

from share.answers import RemoteFile
from share.faults import Damaged, Exit, Fault
from share.progress import Meter
from share.redirects import Redirected
from share.server import Patience, Server, check
from share.sinks import CHUNK, NoRange, Piece, Sink

MAX_RESTARTS = 3
# More than this is requested in pieces, over several connections: one seldom gets all that a distant network offers.
LARGE = 64 * 1024 * 1024
# More than AWS Lambda sends itself (SHARE_INLINE_LIMIT), so that pieces come from S3.
PIECE = 5 * 1024 * 1024
PARALLEL = 4
_NO_RANGE = (httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE, httpx.codes.PRECONDITION_FAILED)
_CONTENT_RANGE = re.compile("bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


def download(server: Server, file: RemoteFile, sink: Sink, meter: Meter) -> None:
    """Download a file into a sink, starting after the bytes that it already has.

    Raises `Fault`, and `httpx.TransportError` if retrying did not help.
    """
    if sink.position:
        meter.resume(sink.position)
        meter.advance(sink.position)
    transfer = Transfer(Redirected(server, download_link(server, file)), file, sink, meter)
    # The server checks a password again for each request, which takes long.
    if file.size - sink.position > LARGE and not file.password_protected:
        # The first answer has the ETag. Of a file with a limit, other ranges are free only with that.
        transfer.run(sink.position + PIECE)
        if transfer.can_split():
            _read_ahead(transfer)
    # An empty file must also be requested.
    if not sink.position == file.size > 0:
        transfer.run(file.size)
    if file.sha256 not in (None, sink.digest.hexdigest()):
        raise Damaged("The file was damaged in transit: its SHA-256 is wrong.")


def _read_ahead(transfer: Transfer) -> None:
    """Request the rest in pieces, several at once, and write them in order. Ends early if the server stops that."""
    sink, size = transfer.sink, transfer.file.size
    stopped = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(PARALLEL, thread_name_prefix="piece")
    waiting: collections.deque[tuple[Piece, concurrent.futures.Future[None]]] = collections.deque()

    def write_next() -> None:
        piece, request = waiting[0]
        request.result()
        waiting.popleft()
        for chunk in piece.chunks:
            sink.write(chunk)

    try:
        for place in range(sink.position, size, PIECE):
            piece = Piece(sink, place, min(place + PIECE, size), stopped)
            part = Transfer(transfer.source, transfer.file, piece, transfer.meter, stopped)
            waiting.append((piece, pool.submit(part.run, piece.end)))
            if len(waiting) > PARALLEL:
                write_next()
        while waiting:
            write_next()
    except NoRange:
        pass
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
        transfer.meter.advance(-sum(len(chunk) for piece, _ in waiting for chunk in piece.chunks))


@dataclasses.dataclass(slots=True)
class Transfer:
    """Requests the bytes of a file for a sink, from the sink's position on. If it can be `stopped`, it gets a piece."""

    source: Redirected
    file: RemoteFile
    sink: Sink
    meter: Meter
    stopped: threading.Event | None = None
    _restarts: int = 0
    _has_ranges: bool = False

    def run(self, end: int) -> None:
        """Continue until the sink has all bytes before `end`, or the whole file if it cannot be split.

        Raises `Fault`, `httpx.TransportError` if retrying did not help, and for pieces `NoRange` and `Stopped`.
        """
        sink = self.sink
        patience = Patience(self.meter.reconnect, self.stopped)
        while True:
            before = sink.position
            error: Exception = Fault(Exit.UNAVAILABLE, "The server closed the connection early.")
            try:
                self._fetch(end)
                if sink.position >= end:
                    return
            except (Fault, httpx.TransportError) as fault:
                error = fault
            if sink.position > before:
                patience.renew()
            patience.wait_after(error)

    def can_split(self) -> bool:
        """Whether the server sends ranges, and these certainly do not count as downloads."""
        return self._has_ranges and (self.file.max_downloads is None or self.source.origin in self.sink.tags)

    def _fetch(self, end: int) -> None:
        sink, offset, most = self.sink, self.sink.position, self.file.size
        is_piece = self.stopped is not None
        with self.source.get(offset, end if is_piece else None, sink.tags) as response:
            if response.status_code in _NO_RANGE:
                self._restart()
                return
            check(response)
            is_partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            if is_partial:
                require_range(response, offset, self.file.size)
                most = end if is_piece else most
            elif offset:
                self._restart()
            self._has_ranges = is_partial or response.headers.get("accept-ranges") == "bytes"
            # Before the first byte, because resuming needs the ETag.
            sink.save()
            if not self.can_split():
                end = most
            for chunk in response.iter_raw(CHUNK):
                if sink.position + len(chunk) > most:
                    raise Damaged("The server sent more bytes than the file has.")
                sink.write(chunk)
                self.meter.advance(len(chunk))
                if sink.position == end < most:
                    break

    def _restart(self) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise Damaged("The server cannot resume this download.")
        position = self.sink.position
        self.sink.restart()
        self.meter.advance(-position)


def download_link(server: Server, file: RemoteFile) -> str:
    return f"{server.address}/file/download/{file.file_id}"


def require_range(response: httpx.Response, offset: int, size: int) -> None:
    """Raises `Fault` unless a 206 has the bytes from `offset` of a file of this size."""
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if content_range is None or (int(content_range[1]), int(content_range[2])) != (offset, size):
        raise Fault(Exit.DAMAGED, "The server sent the wrong part of the file.")
