# /// script
# requires-python = ">=3.11"
# dependencies = ["httpx>=0.28", "rich>=14", "segno>=1.6", "typer>=0.16"]
# ///
"""The command-line client: send files, fetch them, and look after them. `share --help` describes it.

What a broken transfer needs in order to go on is on disk before the first byte moves, so a process may end anywhere.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import dataclasses
import datetime
import enum
import getpass
import hashlib
import json
import math
import mimetypes
import os
import random
import re
import stat
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self
from urllib.parse import quote, urlsplit

import httpx
import segno
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

SMALL = 4 * 1024 * 1024  # bytes that fit into one request everywhere, AWS Lambda included
MIN_PART = 8 * 1024 * 1024  # S3 wants at least 5 MiB
STREAM_PART = 16 * 1024 * 1024  # for input of unknown length
MAX_PARTS = 10_000
CHUNK = 256 * 1024
PARALLEL = 4
PARTS_IN_MEMORY = 256 * 1024 * 1024  # bytes; fewer parts at once when they are large
ATTEMPTS = 7
MAX_REDIRECTS = 5
MAX_NAME_BYTES = 255
MIN_TABLE_WIDTH = 84  # columns: with the longest entries that are likely this leaves 12 to a name

WAITS = httpx.Timeout(60.0, connect=10.0)  # seconds
# Putting a large file together takes a server that copies bytes a while.
COMPLETION_WAITS = httpx.Timeout(900.0, connect=10.0)  # seconds

_ID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_LINK = re.compile(rf"(?P<prefix>.*?)/(?:file/download|file/metadata|download|file)/(?P<file_id>{_ID})/?")
_DURATION = re.compile(r"([0-9]{1,10})([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
# Device names that Windows opens instead of a file, whatever their extension.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


class Exit(enum.IntEnum):
    """Exit statuses, for scripts. 1 is left for what nobody foresaw."""

    OK = 0
    USAGE = 2
    NOT_FOUND = 3
    GONE = 4
    DENIED = 5
    DAMAGED = 6
    UNAVAILABLE = 7
    LOCAL = 8
    REFUSED = 9
    INTERRUPTED = 130


EXIT_STATUSES = """
Exit status: 0 done · 2 wrong usage or settings · 3 no such file · 4 expired or used up · 5 a password or token is
missing or wrong · 6 the bytes are not the ones that were sent · 7 the server cannot be reached or is busy, try again ·
8 a file here cannot be read or written · 9 the server refuses the request · 130 interrupted

Settings: the options, else SHARE_SERVER and SHARE_TOKEN, else server = "…" and token = "…" in {config}.
A password comes from SHARE_PASSWORD, else it is asked for.
"""


class Fault(Exception):
    """Something that may happen to anybody: what to say of it, and the exit status."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class Missing(Fault):
    """The server answered 404 or 405."""


# Settings, and what is kept between runs


def app_dir() -> Path:
    return Path(typer.get_app_dir("simple-file-sharing"))


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Which server to use, and the API token with the server that it is meant for."""

    server: str | None
    token: str | None
    token_server: str | None

    @classmethod
    def load(cls, server: str | None, token: str | None) -> Self:
        """Options and environment before the file. A token from the file goes to the file's server only."""
        path = app_dir() / "config.toml"
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            values = {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Fault(Exit.USAGE, f"{path} is not TOML: {error}") from error
        for name, value in values.items():
            if name not in ("server", "token") or not isinstance(value, str):
                raise Fault(Exit.USAGE, f'{path}: "{name}" must be "server" or "token", with text behind it.')
        known = values.get("server")
        configured = None if known is None else server_address(known)
        chosen = server_address(server) if server else configured
        if token:
            return cls(chosen, token, chosen)
        return cls(chosen, values.get("token"), configured)

    def required_server(self) -> str:
        if self.server is None:
            raise Fault(
                Exit.USAGE,
                "Which server? Give --server, or set SHARE_SERVER, or write it into "
                f'{app_dir() / "config.toml"} as server = "https://…".',
            )
        return self.server

    def token_for(self, server: str) -> str | None:
        """The API token, but never for a server other than its own: a link may lead anywhere."""
        return self.token if server == self.token_server else None


def server_address(text: str) -> str:
    """The base URL of a server, without a slash at its end."""
    try:
        parts = urlsplit(text.strip())
        valid = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    except ValueError:
        valid = False
    if not valid:
        raise Fault(Exit.USAGE, f"{printable(text)} is not the address of a server, like https://share.example.org.")
    if parts.username is not None:
        raise Fault(Exit.USAGE, "An address must not hold a password: it ends up in logs. Set SHARE_PASSWORD.")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def parse_link(text: str, settings: Settings) -> tuple[str, str]:
    """The server and the file ID of a download link, a landing page or a bare ID."""
    text = text.strip()
    if re.fullmatch(_ID, text):
        return settings.required_server(), text
    found = _LINK.fullmatch(text.partition("#")[0].partition("?")[0])
    if found is None:
        raise Fault(Exit.USAGE, f"{printable(text)} is neither a link to a file nor a file ID.")
    return server_address(found["prefix"]), found["file_id"]


def parse_duration(text: str) -> int:
    """Seconds of `90`, `30m`, `12h`, `7d` or `2w`."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise Fault(Exit.USAGE, f"{printable(text)} is not a time like 30m, 12h, 7d or 2w.")
    return int(found[1]) * _SECONDS[found[2]]


class Memory:
    """One JSON object in a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """None if there is none, or none that can be read."""
        try:
            value = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def save(self, value: dict[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp gives mode 0600, and the rename leaves the old or the new object, whatever happens.
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name[:100]}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(value, file)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def delete_token_memory(server: str, file_id: str) -> Memory:
    # By the server too: another one could hand out the same ID, and would be sent the token.
    return Memory(app_dir() / "uploads" / f"{file_id}-{hashlib.sha256(server.encode()).hexdigest()[:16]}.json")


# Speaking to the server


def problem_of(response: httpx.Response) -> Fault:
    """What a refusal says, in words. The body must have been read."""
    status = response.status_code
    try:
        problem = response.json()
        detail = str(problem["detail"])
        reasons = [f"{item['field']} {item['reason']}" for item in problem.get("errors", [])]
        message = " ".join([detail, *(f"({reason})" for reason in reasons if reason not in detail)])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"The server answered {status} {response.reason_phrase}."
    message = printable(message)
    match status:
        case 404 | 405:
            return Missing(Exit.NOT_FOUND, message)
        case 410:
            return Fault(Exit.GONE, message)
        case 401 | 403:
            return Fault(Exit.DENIED, message)
        case 400 if "digest-mismatch" in response.text:
            return Fault(Exit.DAMAGED, message)
        case 408 | 429 | 500 | 502 | 503 | 504:
            return Fault(Exit.UNAVAILABLE, message)
        case _:
            return Fault(Exit.REFUSED, message)


def is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed a little later."""
    return isinstance(error, httpx.TransportError) or (isinstance(error, Fault) and error.code is Exit.UNAVAILABLE)


class Patience:
    """Waits between attempts: longer each time, a little random, as long as the server asks for."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._attempts = 0

    def renew(self) -> None:
        self._attempts = 0

    def wait_after(self, error: Exception) -> None:
        """Raises the error again if another attempt would not help."""
        self._attempts += 1
        if not is_passing(error) or self._attempts >= ATTEMPTS:
            raise error
        asked = error.retry_after if isinstance(error, Busy) else 0.0
        pause = max(asked, min(0.25 * 2**self._attempts, 15.0)) * random.uniform(1.0, 1.25)
        if self._stop.wait(pause):
            raise Stopped


class Busy(Fault):
    """The server may take the request later; `retry_after` in seconds, at most a minute."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(Exit.UNAVAILABLE, str(problem_of(response)))
        asked = response.headers.get("retry-after", "")
        self.retry_after = min(float(asked), 60.0) if asked.isascii() and asked.isdigit() else 0.0


class Stopped(Exception):
    """Another part failed, so this one has no use any more."""


def check(response: httpx.Response) -> httpx.Response:
    """The response if it is 2xx; else raises `Fault`."""
    if response.is_success:
        return response
    response.read()
    fault = problem_of(response)
    raise Busy(response) if fault.code is Exit.UNAVAILABLE else fault


class Server:
    """The API at one address, with one token."""

    def __init__(self, address: str, token: str | None, password: str | None = None) -> None:
        self.address = address
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {header_value('token', token)}"
        self._password = password
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.Client(timeout=WAITS, limits=limits, headers={"User-Agent": "share"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        with_password: bool = False,
        patience: Patience | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        """One request, or with patience as many as it takes. Raises `Fault` and `httpx.TransportError`."""
        headers = {**self._headers, **(headers or {})}
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        if with_password and self._password is not None:
            sent[b"X-Password"] = self._password.encode()
        while True:
            try:
                return check(self.http.request(method, f"{self.address}{path}", headers=sent, **arguments))
            except (Fault, httpx.TransportError) as error:
                if patience is None:
                    raise
                patience.wait_after(error)

    def metadata(self, file_id: str) -> dict[str, Any]:
        return json_object(self.request("GET", f"/file/metadata/{file_id}"))


def json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Fault(Exit.REFUSED, f"What answers at {response.url.host} is not a Simple File Sharing server.")
    return value


def header_value(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise Fault(Exit.USAGE, f"The {name} holds characters that cannot be sent.")
    return value


# Sending


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What the sender chooses for a file."""

    expires_in: int | None
    max_downloads: int | None
    password: str | None

    def public(self) -> dict[str, int]:
        chosen = {"expires_in": self.expires_in, "max_downloads": self.max_downloads}
        return {name: value for name, value in chosen.items() if value is not None}

    def fingerprint(self, salt: str) -> str:
        """Tells whether an upload was begun with the same options, and gives the password to nobody."""
        chosen = json.dumps([self.expires_in, self.max_downloads, self.password]).encode()
        return hashlib.scrypt(chosen, salt=salt.encode(), n=2**14, r=8, p=1).hex()


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Bytes to send: `size` is None for a stream, `path` for what cannot be read twice."""

    file: BinaryIO
    name: str
    content_type: str
    size: int | None = None
    path: Path | None = None

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str, name: str | None) -> Iterator[Self]:
        """A file, or with `-` standard input. Raises `Fault`."""
        if path == "-":
            chosen = name or "stdin"
            yield cls(sys.stdin.buffer, chosen, guess_type(chosen))
            return
        try:
            if Path(path).is_dir():
                raise Fault(
                    Exit.USAGE,
                    f"{printable(path)} is a directory. Send it with: tar c DIRECTORY | share up - --name NAME.tar",
                )
            file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise Fault(Exit.LOCAL, f"{printable(path)} cannot be read: {error.strerror}.") from error
        with file:
            status = os.fstat(file.fileno())
            chosen = name or Path(path).name
            if stat.S_ISREG(status.st_mode):
                yield cls(file, chosen, guess_type(chosen), status.st_size, Path(path).resolve())
            else:
                yield cls(file, chosen, guess_type(chosen))

    def blocks(self, size: int) -> Iterator[bytes]:
        """All bytes, in blocks of this size; the last one may be shorter, and of nothing there is none."""
        while block := self._read(size):
            yield block

    def _read(self, size: int) -> bytes:
        # One `read` of a pipe may give less than was asked for.
        block = bytearray()
        try:
            while len(block) < size and (data := self.file.read(size - len(block))):
                block += data
        except OSError as error:
            raise Fault(Exit.LOCAL, f"{printable(self.name)} cannot be read: {error.strerror}.") from error
        return bytes(block)

    def identity(self) -> str:
        """Changes whenever the file does. Only for files."""
        status = os.fstat(self.file.fileno())
        return f"{self.path}\n{status.st_size}\n{status.st_mtime_ns}"


def guess_type(name: str) -> str:
    kind, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, "application/octet-stream"
        )
    return kind or "application/octet-stream"


class Upload:
    """One file on its way up. After `run`, `sha256` and `sent` are those of the bytes that were read."""

    def __init__(self, server: Server, source: Source, options: Options, advance: Callable[[int], None]) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._advance = advance
        self._digest = hashlib.sha256()
        self.sent = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def run(self) -> dict[str, Any]:
        """The server's answer. Raises `Fault`; what was sent so far stays where it can be continued."""
        head = b"" if self._source.size is not None and self._source.size > SMALL else self._source._read(SMALL + 1)
        if (self._source.size is None or self._source.size <= SMALL) and len(head) <= SMALL:
            return self._put_small(head)
        answer = DirectUpload(self._server, self._source, self._options, self._advance).run(self._taken, head)
        return self._put_stream(head) if answer is None else answer

    def _taken(self, block: bytes) -> None:
        self._digest.update(block)
        self.sent += len(block)

    def _put_small(self, data: bytes) -> dict[str, Any]:
        self._taken(data)
        digest = base64.b64encode(self._digest.digest()).decode()
        answer = self._put(data, {"Repr-Digest": f"sha-256=:{digest}:", "Content-Length": str(len(data))})
        self._advance(len(data))
        return answer

    def _put_stream(self, head: bytes) -> dict[str, Any]:
        def body() -> Iterator[bytes]:
            for block in pieces(head, self._source.blocks(CHUNK)):
                self._taken(block)
                yield block
                self._advance(len(block))

        size = self._source.size
        return self._put(body(), {} if size is None else {"Content-Length": str(size)})

    def _put(self, content: bytes | Iterable[bytes], headers: dict[str, str]) -> dict[str, Any]:
        return json_object(
            self._server.request(
                "PUT",
                f"/file/upload/{quote(self._source.name, safe='')}",
                params=self._options.public(),
                content=content,
                headers={"Content-Type": self._source.content_type, **headers},
                with_password=True,
            )
        )


def pieces(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    for start in range(0, len(head), CHUNK):
        yield head[start : start + CHUNK]
    yield from rest


class DirectUpload:
    """An upload in parts, which go up side by side and, from a file, can be continued by another process."""

    def __init__(self, server: Server, source: Source, options: Options, advance: Callable[[int], None]) -> None:
        self._server = server
        self._source = source
        self._options = options
        self._advance = advance
        self._stop = threading.Event()
        self._state: dict[str, Any] = {}
        self._part_size = STREAM_PART if source.size is None else part_size(source.size)
        self._before = source.identity() if source.path else None
        self._memory = self._find_memory()

    def _find_memory(self) -> Memory | None:
        if self._before is None:
            return None
        key = hashlib.sha256(f"{self._server.address}\n{self._source.name}\n{self._before}".encode(errors="replace"))
        return Memory(app_dir() / "unfinished" / f"{key.hexdigest()}.json")

    def run(self, taken: Callable[[bytes], None], head: bytes) -> dict[str, Any] | None:
        """The server's answer, or None if this server knows no direct upload. `taken` sees every block, in order."""
        there = self._continued()
        if there is None:
            try:
                self._begin()
            except Missing:
                return None
            there = {}
        try:
            tags = self._send_parts(taken, there, head)
            self._require_unchanged()
            answer = self._complete(tags)
        except Missing as error:
            # Finished, deleted or too old meanwhile: nothing is left that could be continued.
            self._forget()
            raise Fault(Exit.NOT_FOUND, f"The server no longer knows this upload. Start it again. ({error})") from error
        self._forget()
        return answer

    def _path(self, tail: str = "") -> str:
        upload_id, key = (quote(self._state[name], safe="") for name in ("uploadId", "key"))
        return f"/file/s3/multipart/{upload_id}{tail}?key={key}"

    def _begin(self) -> None:
        announced = {
            "filename": self._source.name,
            "type": self._source.content_type,
            "metadata": self._options.public(),
            **({} if self._source.size is None else {"size": self._source.size}),
        }
        answer = json_object(self._server.request("POST", "/file/s3/multipart", json=announced, with_password=True))
        upload_id, key = str(answer["uploadId"]), str(answer["key"])
        self._state = {
            "key": key,
            "uploadId": upload_id,
            "partSize": self._part_size,
            "options": self._options.fingerprint(upload_id),
        }
        if self._memory is not None:
            self._memory.save(self._state)

    def _continued(self) -> dict[int, tuple[int, str]] | None:
        """Size and ETag of each part that an earlier run got to the server; None if there is no such run."""
        state = self._memory.load() if self._memory is not None else None
        if state is None or set(state) - {"parts"} != {"key", "uploadId", "partSize", "options"}:
            return None
        self._state = state
        if state["options"] != self._options.fingerprint(state["uploadId"]):
            with contextlib.suppress(Missing):
                self._server.request("DELETE", self._path())
            return None
        self._part_size = int(state["partSize"])
        try:
            parts = self._server.request("GET", self._path()).json()
        except Missing:
            return self._completed()
        return {int(part["PartNumber"]): (int(part["Size"]), str(part["ETag"])) for part in parts}

    def _completed(self) -> dict[int, tuple[int, str]] | None:
        """As `_continued`, where an earlier run may have completed the upload and not heard of it."""
        named = self._state.get("parts")
        if named is None or self._source.size is None:
            return None
        tags = {int(part["PartNumber"]): str(part["ETag"]) for part in named}
        try:
            self._complete(tags)
        except Missing:
            return None
        size = self._source.size
        return {
            number: (min(self._part_size, size - (number - 1) * self._part_size), tag) for number, tag in tags.items()
        }

    def _forget(self) -> None:
        if self._memory is not None:
            self._memory.forget()

    def _send_parts(
        self, taken: Callable[[bytes], None], there: dict[int, tuple[int, str]], head: bytes
    ) -> dict[int, str]:
        parallel = max(1, min(PARALLEL, PARTS_IN_MEMORY // self._part_size))
        slots = threading.Semaphore(parallel)
        tags: dict[int, str] = {}
        pool = concurrent.futures.ThreadPoolExecutor(parallel, thread_name_prefix="part")
        running: list[concurrent.futures.Future[str]] = []

        def send(number: int, block: bytes) -> str:
            try:
                tags[number] = tag = self._send_part(number, block)
                return tag
            except BaseException:
                self._stop.set()
                raise
            finally:
                slots.release()

        try:
            for number, block in enumerate(self._parts(head), start=1):
                if number > MAX_PARTS:
                    limit = MAX_PARTS * self._part_size // 2**30
                    raise Fault(Exit.REFUSED, f"A stream may have at most {limit} GiB.")
                taken(block)
                if number in there and there[number][0] == len(block):
                    tags[number] = there[number][1]
                    self._advance(len(block))
                    continue
                slots.acquire()
                if self._stop.is_set():
                    slots.release()
                    break
                running.append(pool.submit(send, number, block))
            raise_first(running)
        finally:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
        return tags

    def _parts(self, head: bytes) -> Iterator[bytes]:
        if head:
            head += self._source._read(self._part_size - len(head))
            yield head
        yield from self._source.blocks(self._part_size)

    def _send_part(self, number: int, block: bytes) -> str:
        """Send until the server has it. Returns its ETag."""
        patience = Patience(self._stop)
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
                    self._advance(len(chunk))

            try:
                # A URL for each attempt, since presigned ones run out while one waits.
                target = json_object(self._server.request("GET", self._path(f"/{number}")))
                # The URL is the credential: no token goes with it, whosever host it is.
                response = self._server.http.put(
                    str(target["url"]),
                    content=body(),
                    headers={"Content-Type": "application/octet-stream", "Content-Length": str(len(block))},
                )
                tag = check(response).headers.get("etag")
            except (Fault, httpx.TransportError) as error:
                self._advance(-moved)
                patience.wait_after(error)
                continue
            if tag is None:
                raise Fault(
                    Exit.REFUSED, "The storage does not say the ETag of a part, so they cannot be put together."
                )
            return str(tag)

    def _require_unchanged(self) -> None:
        if self._before is not None and self._source.identity() != self._before:
            self._server.request("DELETE", self._path())
            self._forget()
            raise Fault(Exit.LOCAL, f"{printable(self._source.name)} changed while it was being sent. Start again.")

    def _complete(self, tags: dict[int, str]) -> dict[str, Any]:
        parts = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
        if self._memory is not None:
            self._memory.save({**self._state, "parts": parts})
        # Asking twice does no harm: the second answer is the first one again.
        return json_object(
            self._server.request(
                "POST",
                self._path("/complete"),
                json={"parts": parts},
                timeout=COMPLETION_WAITS,
                patience=Patience(),
            )
        )


def part_size(size: int) -> int:
    """At most 10,000 parts, in whole MiB."""
    mebibyte = 1024 * 1024
    return max(MIN_PART, math.ceil(math.ceil(size / MAX_PARTS) / mebibyte) * mebibyte)


def raise_first(running: list[concurrent.futures.Future[str]]) -> None:
    """Wait for all, then raise what went wrong, rather than that others stopped because of it."""
    concurrent.futures.wait(running)
    errors = [error for future in running if (error := future.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, Stopped))
    if errors:
        raise errors[0]


# Fetching


class Redirected:
    """GET that follows redirects itself: what belongs to one host is never shown to another.

    A later part is asked for with the ETag that the same host gave, since each host on the way knows its own only.
    """

    def __init__(self, http: httpx.Client, url: str, password: str | None) -> None:
        self._http = http
        self._url = httpx.URL(url)
        self._password = password

    @contextlib.contextmanager
    def get(self, offset: int, tags: dict[str, str]) -> Iterator[httpx.Response]:
        """The bytes from `offset` on, or an error response. `tags`, by origin, is brought up to date."""
        url = self._url
        given: dict[str, str] = {}
        for _ in range(MAX_REDIRECTS):
            origin = origin_of(url)
            headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
            if origin == origin_of(self._url) and self._password is not None:
                credentials = base64.b64encode(f":{self._password}".encode()).decode()
                headers["Authorization"] = f"Basic {credentials}"
            if offset:
                headers["Range"] = f"bytes={offset}-"
                if origin in tags:
                    headers["If-Range"] = tags[origin]
            with self._http.stream("GET", url, headers=headers) as response:
                if tag := response.headers.get("etag"):
                    given[origin] = tag
                if not response.has_redirect_location:
                    if response.status_code == httpx.codes.OK:
                        tags.clear()
                    tags.update(given)
                    yield response
                    return
                url = url.join(response.headers["location"])
                if url.scheme not in ("http", "https") or (self._url.scheme == "https" and url.scheme != "https"):
                    raise Fault(Exit.REFUSED, "The server redirects to an address that is not safe.")
        raise Fault(Exit.REFUSED, "The server redirects in circles.")


def origin_of(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"


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


def safe_name(name: str) -> str:
    """A name that stays in its directory, is no dotfile, option or device, and does nothing to a terminal."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(character if character.isprintable() else "_" for character in name)
    name = re.sub(r'[:*?"<>|]', "_", name).lstrip(".-~ ").rstrip(". ")
    if _DEVICE.fullmatch(name):
        name = f"_{name}"
    return shortened(name, MAX_NAME_BYTES) or "download"


def shortened(name: str, limit: int) -> str:
    """At most so many bytes of UTF-8, the extension kept."""
    if len(name.encode(errors="replace")) <= limit:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem and len(extension.encode()) <= 16 else ""
    return name.encode()[: limit - len(tail.encode())].decode(errors="ignore") + tail


# Showing


def printable(text: str) -> str:
    """Without what would act in a terminal; whoever runs the server chooses its names and messages."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def human_size(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def exact_size(size: int) -> str:
    return human_size(size) if size < 1024 else f"{human_size(size)} ({size:,} bytes)"


def human_time(moment: str | None) -> str:
    """A time of the server's in this place's time zone, and how far off it is."""
    if moment is None:
        return "never"
    try:
        at = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return printable(moment)
    left = at - datetime.datetime.now(datetime.UTC)
    seconds = abs(left.total_seconds())
    unit, length = next(
        ((unit, length) for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)) if seconds >= 2 * length),
        ("s", 1),
    )
    distance = f"{seconds / length:.0f} {unit}"
    return f"{at.astimezone():%Y-%m-%d %H:%M} ({f'in {distance}' if left.total_seconds() > 0 else f'{distance} ago'})"


def human_downloads(known: dict[str, Any]) -> str:
    most = known.get("max_downloads")
    return str(known["download_count"]) if most is None else f"{known['download_count']} of {most}"


class SpeedColumn(ProgressColumn):
    """The speed in the unit of the sizes beside it; Rich's own is decimal."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{human_size(int(speed))}/s", "dim")


class Screen:
    """Results on standard output, everything for people on standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, markup=False, emoji=False)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def json(self, value: dict[str, Any]) -> None:
        """One object, one line."""
        print(json.dumps(value, ensure_ascii=False), flush=True)

    def note(self, text: str, style: str = "") -> None:
        self.err.print(Text(text, style), soft_wrap=True)

    def facts(self, rows: dict[str, str], console: Console) -> None:
        width = max(map(len, rows))
        for name, value in rows.items():
            # Lines that are too long are the terminal's to break, or a link in them could not be copied.
            console.print(Text.assemble((f"{name:<{width}}  ", "dim"), value), soft_wrap=True)

    @contextlib.contextmanager
    def progress(self, name: str, size: int | None) -> Iterator[Callable[[int], None]]:
        """A bar while it lasts, in a terminal only; the function it gives takes bytes done, or undone if below 0."""
        text = TextColumn(
            "{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"), markup=False
        )
        columns = (BarColumn(24), DownloadColumn(True), SpeedColumn(), TimeRemainingColumn(compact=True))
        with Progress(
            text, *columns, console=self.err, transient=True, expand=True, disable=not self.err.is_terminal
        ) as bars:
            task: TaskID = bars.add_task(printable(name), total=size)
            yield lambda count: bars.update(task, advance=count)


def show_file(screen: Screen, server: str, file_id: str, known: dict[str, Any]) -> None:
    if screen.as_json:
        screen.json({"file_id": file_id, **known})
        return
    screen.facts(
        {
            "name": printable(str(known["original_name"])),
            "size": exact_size(known["file_size"]),
            "type": printable(str(known["content_type"])),
            "SHA-256": str(known.get("sha256") or "not known to the server"),
            "downloads": human_downloads(known),
            "created": human_time(known.get("created_at")),
            "expires": human_time(known.get("expires_at")),
            "password": "needed" if known.get("password_protected") else "none",
            "link": printable(str(known.get("download_page") or known["download_link"])),
        },
        screen.out,
    )


def show_list(screen: Screen, files: Iterator[tuple[str, dict[str, Any]]]) -> None:
    """A table in a terminal, else lines with tabs between name, size, downloads, expiry, and ID."""
    if not screen.out.is_terminal:
        for file_id, known in files:
            if screen.as_json:
                screen.json({"file_id": file_id, **known})
            else:
                fields = (known["file_size"], human_downloads(known), known.get("expires_at") or "never")
                print(file_id, *fields, printable(str(known["original_name"])), sep="\t")
        return
    if screen.as_json:
        for file_id, known in files:
            screen.json({"file_id": file_id, **known})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", ratio=1, overflow="fold", min_width=12)
    for name in ("size", "downloads"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("expires", no_wrap=True)
    table.add_column("ID", style="dim", no_wrap=True, min_width=36)
    for file_id, known in files:
        title = Text(printable(str(known["original_name"])))
        if known.get("password_protected"):
            title.append("  password", "dim")
        expires = known.get("expires_at")
        when = "never" if expires is None else human_time(expires).partition("(")[2].rstrip(")") or printable(expires)
        table.add_row(title, human_size(known["file_size"]), human_downloads(known), when, file_id)
    if table.row_count:
        # In a narrow terminal lines wrap: what is cut off an ID makes the rest of it useless.
        screen.out.width = max(screen.out.width, MIN_TABLE_WIDTH)
        screen.out.print(table)
    else:
        screen.note("No files.")


# Commands

app = typer.Typer(
    name="share",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Send files by link, and fetch them.",
    epilog=EXIT_STATUSES.format(config=app_dir() / "config.toml"),
)

ServerOption = Annotated[
    str | None, typer.Option("--server", "-s", envvar="SHARE_SERVER", help="Base URL of the server.", metavar="URL")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SHARE_TOKEN",
        show_envvar=True,
        help="API token. Others on this machine can see options: rather set the variable.",
        metavar="TOKEN",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object per file and line.")]
LinkArgument = Annotated[str, typer.Argument(metavar="LINK", help="Download link, landing page, or file ID.")]


@contextlib.contextmanager
def reporting(screen: Screen, resumption: str = "") -> Iterator[None]:
    """Turn what went wrong into words and an exit status. `resumption` says what an interruption leaves behind."""
    try:
        yield
        # What cannot be written is to show here, and not when Python ends.
        sys.stdout.flush()
    except Fault as fault:
        _end(screen, fault.code, str(fault), resumption if fault.code is Exit.UNAVAILABLE else "")
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        _end(screen, Exit.UNAVAILABLE, f"The server cannot be reached: {printable(reason)}", resumption)
    except (httpx.InvalidURL, UnicodeError) as error:
        _end(screen, Exit.USAGE, f"This cannot be sent: {printable(str(error))}")
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.LOCAL) from None
    except OSError as error:
        where = f"{printable(str(error.filename))}: " if error.filename else ""
        _end(screen, Exit.LOCAL, f"{where}{error.strerror or error}.", resumption)
    except KeyboardInterrupt:
        screen.note(f"Interrupted. {resumption}".rstrip(), "yellow")
        sys.stdout.flush()
        # At once: a thread may be waiting for a server that has fallen silent, and nothing is lost that is not on disk.
        os._exit(Exit.INTERRUPTED)


def _end(screen: Screen, code: Exit, message: str, *hints: str) -> None:
    screen.note(" ".join(["error:", message, *filter(None, hints)]), "red")
    raise typer.Exit(code)


@app.command()
def up(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, or - for standard input.")],
    expires: Annotated[str | None, typer.Option(help="Until when: 30m, 12h, 7d, 2w.", metavar="TIME")] = None,
    downloads: Annotated[int | None, typer.Option(min=1, help="How many downloads.", metavar="N")] = None,
    password: Annotated[bool, typer.Option("--password", help="Protect with SHARE_PASSWORD, or ask for one.")] = False,
    name: Annotated[str | None, typer.Option(help="Send under this name.", metavar="NAME")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show the link as a QR code too.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Print links to the bytes, not to a page.")] = False,
    server: ServerOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send files and print their links. What broke off goes on when the same command is run again."""
    screen = Screen(as_json)
    with reporting(screen):
        if name is not None and len(files) > 1:
            raise Fault(Exit.USAGE, "--name is for one file.")
        if files.count("-") > 1:
            raise Fault(Exit.USAGE, "Standard input can be sent only once.")
        settings = Settings.load(server, token)
        address = settings.required_server()
        chosen = Options(
            None if expires is None else parse_duration(expires), downloads, new_password() if password else None
        )
        with Server(address, settings.token_for(address), chosen.password) as api:
            for number, path in enumerate(files):
                if number and not as_json:
                    screen.note("")
                _send(screen, api, path, name, chosen, qr=qr, direct=direct)


def _send(
    screen: Screen, api: Server, path: str, name: str | None, options: Options, *, qr: bool, direct: bool
) -> None:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(Source.open(path, name))
        if source.path is None:
            resumption = "What comes from a pipe cannot be resumed: send it again."
        elif source.size is not None and source.size > SMALL:
            resumption = "Run the same command again to resume."
        else:
            resumption = "Nothing was sent; run the same command again."
        stack.enter_context(reporting(screen, resumption))
        with screen.progress(source.name, source.size) as advance:
            upload = Upload(api, source, options, advance)
            answer = upload.run()
        file_id, verified = str(answer["file_id"]), answer.get("sha256") == upload.sha256
        if answer["file_size"] != upload.sent or (answer.get("sha256") is not None and not verified):
            headers = {"X-Delete-Token": header_value("delete token", str(answer["delete_token"]))}
            api.request("DELETE", f"/file/{file_id}", headers=headers)
            raise Fault(Exit.DAMAGED, "The server stored other bytes than were sent. They were deleted again.")
        kept = {"delete_token": answer["delete_token"], "original_name": answer["original_name"]}
        delete_token_memory(api.address, file_id).save(kept)
        link = str(answer["download_link"] if direct else answer.get("download_page") or answer["download_link"])
        if screen.as_json:
            screen.json({**answer, "sha256": upload.sha256, "verified": verified})
        else:
            screen.facts(
                {
                    "sent": f"{printable(str(answer['original_name']))}, {human_size(upload.sent)}",
                    "SHA-256": f"{upload.sha256}{' (verified by the server)' if verified else ''}",
                    "expires": human_time(answer.get("expires_at")),
                    "downloads": str(answer.get("max_downloads") or "any number"),
                    "delete": f"share rm {file_id}",
                },
                screen.err,
            )
            print(printable(link), flush=True)
        if qr:
            segno.make(link, micro=False).terminal(out=sys.stderr, compact=True)


@app.command()
def down(
    link: LinkArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="File, directory, or - for standard output.", metavar="PATH")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a file that is there.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a file and check it. What broke off goes on when the same command is run again."""
    screen = Screen(as_json)
    with reporting(screen):
        address, file_id = parse_link(link, Settings.load(server, None))
        with Server(address, None) as api:
            known = api.metadata(file_id)
            name, size = str(known["original_name"]), int(known["file_size"])
            password = given_password(screen) if known.get("password_protected") else None
            if output == "-":
                with reporting(screen, "What goes to standard output cannot be resumed."):
                    write_out(api, file_id, known, password)
                return
            target = Path(output or safe_name(name))
            if target.is_dir():
                target = target / safe_name(name)
            download = Download(api, file_id, known, password, target, force=force)
            download.prepare()
            with reporting(screen, "Run the same command again to resume."):
                if download.resumed_at:
                    screen.note(f"Resuming at {human_size(download.resumed_at)}.", "dim")
                with screen.progress(name, size) as advance:
                    download.run(advance)
    verified = known.get("sha256") is not None
    if as_json:
        screen.json(
            {
                "file_id": file_id,
                "path": str(target.resolve()),
                "file_size": size,
                "sha256": download.sha256,
                "verified": verified,
                "resumed_at": download.resumed_at,
            }
        )
    else:
        checked = "SHA-256 verified" if verified else "size verified, its SHA-256 is not known to the server"
        screen.note(f"{human_size(size)}, {checked}", "dim")
        print(printable(str(target)))


@app.command()
def info(link: LinkArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a file. Looking never counts."""
    screen = Screen(as_json)
    with reporting(screen):
        address, file_id = parse_link(link, Settings.load(server, None))
        with Server(address, None) as api:
            show_file(screen, address, file_id, api.metadata(file_id))


@app.command("ls")
def list_files(server: ServerOption = None, token: TokenOption = None, as_json: JsonOption = False) -> None:
    """List all files on the server."""
    screen = Screen(as_json)
    with reporting(screen):
        settings = Settings.load(server, token)
        address = settings.required_server()
        with Server(address, settings.token_for(address)) as api:
            show_list(screen, listed(api))


def listed(api: Server) -> Iterator[tuple[str, dict[str, Any]]]:
    query = ""
    while True:
        page = api.request("GET", f"/file/metadata/{query}")
        yield from json_object(page).items()
        following = page.links.get("next", {}).get("url")
        if following is None:
            return
        # Of the link only the query: the token goes to the server that it is meant for, whatever a page says.
        query = f"?{urlsplit(following).query}"


@app.command()
def rm(
    links: Annotated[list[str], typer.Argument(metavar="LINK", help="Download links, landing pages, or file IDs.")],
    delete_token: Annotated[
        str | None, typer.Option("--token", help="Delete token, if the file was sent from elsewhere.", metavar="TOKEN")
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete files.

    With the delete token given, the one kept since `up`, or the API token in SHARE_TOKEN.
    """
    screen = Screen(as_json)
    with reporting(screen):
        settings = Settings.load(server, os.environ.get("SHARE_TOKEN"))
        for link in links:
            address, file_id = parse_link(link, settings)
            memory = delete_token_memory(address, file_id)
            remembered = (memory.load() or {}).get("delete_token")
            owned = delete_token or remembered
            api_token = None if owned else settings.token_for(address)
            if owned is None and api_token is None:
                raise Fault(
                    Exit.DENIED, f"No delete token for {file_id} was kept here. Give --token, or set SHARE_TOKEN."
                )
            with Server(address, api_token) as api:
                headers = {"X-Delete-Token": header_value("delete token", str(owned))} if owned else {}
                api.request("DELETE", f"/file/{file_id}", headers=headers)
            memory.forget()
            if as_json:
                screen.json({"file_id": file_id, "deleted": True})
            else:
                screen.note(f"Deleted {file_id}.")


def new_password() -> str:
    password = os.environ.get("SHARE_PASSWORD")
    if password is None:
        password = ask("Password for the file: ")
        if password != ask("Again: "):
            raise Fault(Exit.USAGE, "The two passwords differ.")
    if not password:
        raise Fault(Exit.USAGE, "The password is empty.")
    return password


def given_password(screen: Screen) -> str:
    password = os.environ.get("SHARE_PASSWORD")
    return ask("Password: ") if password is None else password


def ask(question: str) -> str:
    try:
        # Of the terminal itself: standard input may be the file.
        with open("/dev/tty") if os.name == "posix" else contextlib.nullcontext():
            return getpass.getpass(question)
    except (EOFError, OSError) as error:
        raise Fault(Exit.DENIED, "A password is needed. There is no terminal to ask at: set SHARE_PASSWORD.") from error


def main() -> None:
    """What the installed command runs."""
    app()


if __name__ == "__main__":
    main()
