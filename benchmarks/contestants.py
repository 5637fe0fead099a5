"""The servers of the comparison: how to start each, and how to upload to it and download from it."""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.client import ask, form_field, post_file
from benchmarks.peers import FOLDER, HOST, Server
from benchmarks.wrk import NUMBER

CONNECTIONS = 32
SIZE = 10 * 1024
DATA = random.Random(0).randbytes(SIZE)


@dataclass(frozen=True)
class Contestant:
    """One server. `upload` is a complete request that sends a small file; `large` has curl's arguments that send FILE.

    `path` returns the path of an uploaded file, from the answer's head and body; without it, the server serves its
    directory unchanged. `offset` is where the file begins in the stored data.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[Server]]
    durable: bool = False
    counted: bool = False
    upload: bytes = b""
    path: Callable[[str, bytes], str] | None = None
    large: Sequence[str] = ()
    offset: int = 0
    connections: int = CONNECTIONS

    def store(self, server: Server, number: int) -> str:
        """Store a small file. Returns its path for downloads."""
        if self.path is not None:
            return self.path(*ask(server.port, self.upload, (200, 201)))
        path = f"/{FOLDER}/{number:08}.bin"
        (server.files / path[1:]).write_bytes(DATA)
        return path


def _put(path: str = f"/{FOLDER}/{NUMBER}.bin", method: str = "PUT", headers: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {SIZE}\r\n{headers}\r\n"
    return head.encode() + DATA


def _our_path(_head: str, body: bytes) -> str:
    return f"/file/download/{json.loads(body)['file_id']}"


def _seed_path(_head: str, body: bytes) -> str:
    return f"/download/{json.loads(body)['file_id']}"


def _tus_path(head: str, _body: bytes) -> str:
    match = re.search(r"^location: https?://[^/]+(/\S+)", head, re.IGNORECASE | re.MULTILINE)
    assert match is not None
    return match[1]


_TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
_TUS_LINES = "".join(f"{name}: {value}\r\n" for name, value in _TUS.items()) + f"Upload-Length: {SIZE}\r\n"
_TUS_OPTIONS = [part for name, value in _TUS.items() for part in ("-H", f"{name}: {value}")]

_OURS = functools.partial(
    Contestant,
    durable=True,
    counted=True,
    upload=post_file("/file/upload", DATA),
    path=_our_path,
    large=["-F", "file=@FILE", "/file/upload"],
    # The length of the pickle frame (shared.storage.blobs).
    offset=11,
)


def with_two(name: str) -> str:
    return f"{name}, 2 workers"


OURS, UNSYNCED = "this project", "this project, not synced"
TWO_WORKERS = with_two(OURS)
NGINX, COPYPARTY, SEED = "nginx", "copyparty", "the naive service"
CONTESTANTS = (
    _OURS(OURS, peers.ours),
    _OURS(TWO_WORKERS, functools.partial(peers.ours, workers=2), large=()),
    _OURS(UNSYNCED, functools.partial(peers.ours, program=("benchmarks.unsynced",)), durable=False),
    Contestant(NGINX, peers.nginx, upload=_put(), large=["-T", "FILE", f"/{FOLDER}/large.bin"]),
    Contestant("Caddy", peers.caddy),
    Contestant(
        COPYPARTY,
        peers.copyparty,
        upload=post_file(f"/{FOLDER}/", DATA, f"{NUMBER}.bin", "f", form_field("act", "bput")),
        large=["-F", "act=bput", "-F", "f=@FILE;filename=large.bin", f"/{FOLDER}/"],
    ),
    Contestant("rclone HTTP", functools.partial(peers.rclone, "http")),
    Contestant(
        "rclone WebDAV",
        functools.partial(peers.rclone, "webdav"),
        upload=_put(),
        large=["-T", "FILE", f"/{FOLDER}/large.bin"],
    ),
    Contestant(
        "rclone S3",
        functools.partial(peers.rclone, "s3"),
        upload=_put(),
        large=["-T", "FILE", f"/{FOLDER}/large.bin"],
    ),
    Contestant(
        "tus for Node.js",
        peers.tus,
        upload=_put("/files", "POST", _TUS_LINES),
        path=_tus_path,
        large=["-X", "POST", *_TUS_OPTIONS, "-H", "Upload-Length: SIZE", "-T", "FILE", "/files"],
    ),
    Contestant(
        SEED,
        peers.seed,
        counted=True,
        upload=post_file("/upload", DATA),
        path=_seed_path,
        large=["-F", "file=@FILE", "/upload"],
        # The length of the frame that Python's pickler writes.
        offset=7,
        # Parallel uploads would corrupt its single metadata file.
        connections=1,
    ),
)


def of_checkout(checkout: Path) -> list[Contestant]:
    """The code in another directory, with one worker and with two."""
    start = functools.partial(peers.ours, checkout=checkout)
    name = f"the code in {checkout.name}"
    return [_OURS(name, start), _OURS(with_two(name), functools.partial(start, workers=2), large=())]
