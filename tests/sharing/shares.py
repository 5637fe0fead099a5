"""What the tests of use cases do: upload, download, and look at storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.errors import UsedUp
from shared.options import Options
from shared.redirects import download_url, prepare_copy
from shared.sharing import Record, Shares, Stored
from shared.storage.contract import ObjectStore
from shared.storage.directory.spares import SPARES
from shared.uploads import Upload
from tests.clock import Clock

MAX_FILE_SIZE = 1000


def shares_over(store: ObjectStore, clock: Clock, **settings: Any) -> Shares:
    return Shares(store, max_file_size=MAX_FILE_SIZE, clock=clock, **settings)


def upload(shares: Shares, data: bytes = b"hello", **options: Any) -> Record:
    """Upload a file with these options. Returns its record."""
    incoming = Upload(shares)
    incoming.write(data)
    return incoming.finish("file.bin", "application/octet-stream", Options(**options))


def receive(shares: Shares, stored: Stored) -> bytes:
    """Download a whole file as a server does: read its bytes, then count."""
    data = shares.read(stored, 0, stored.record.file_size)
    if not shares.count(stored).granted:
        raise UsedUp(stored.record.file_id)
    return data


def redirect(shares: Shares, stored: Stored, *, counted: bool = True, entry: range | None = None) -> str:
    """The URL to which a server redirects a download of a file, or of its entry at these bytes."""
    prepared = prepare_copy(shares, stored, entry)
    if counted and not shares.count(prepared).granted:
        raise UsedUp(stored.record.file_id)
    return download_url(shares, prepared.record, entry=entry, disposition="attachment", content_type="text/plain")


def download(shares: Shares, file_id: str) -> bytes:
    """Download and count a whole file. Returns its bytes."""
    return receive(shares, shares.find(file_id))


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a data directory, including staged ones, but without spare files."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and SPARES not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
