"""Reads an upload form as it arrives: the file goes straight to the caller's `write` and is never spooled."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException

from shared.errors import InvalidValue
from shared.names import clean_name

FILE_PART = "file"
MAX_OVERHEAD_BYTES = 64 * 1024
MAX_PARTS = 16

_MAX_BOUNDARY_LENGTH = 70
_MAX_PART_HEADERS = 8
_MAX_PART_HEADER_BYTES = 4096
_MAX_HEAD_BYTES = _MAX_PART_HEADERS * _MAX_PART_HEADER_BYTES

_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Possessive repeats of single characters, and unambiguous groups, so that a value with an unclosed quote fails in
# linear time. The groups are not possessive: those match too much in Python before 3.11.5 (python/cpython#106052).
# A backslash in quotes is consumed with the character after it, which is enough to find the closing quote.
_PARAMETER = re.compile(
    r"[ \t]*+;[ \t]*+"
    r"(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+"
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s;"]++)))?'
)
# Browsers do not escape backslashes, so only these two pairs are escapes: `C:\Users\r.txt` keeps its separators.
_QUOTED_PAIR = re.compile(r'\\(["\\])')
# .NET, hence PowerShell 6 to 7.3, writes names that are not ASCII like this, although RFC 7578 §4.2 wants plain UTF-8.
_ENCODED_WORD = re.compile(r"=\?utf-8\?([bq])\?([!-~]*)\?=", re.ASCII | re.IGNORECASE)
_EXTENDED_VALUE = re.compile(r"(?i:utf-8)'[^']*+'(.*)")


@dataclass(frozen=True, slots=True)
class Form:
    """The contents of a complete form; `file_name` is clean, `content_type` as sent."""

    file_name: str
    content_type: str | None
    fields: dict[str, str]


async def receive_form(
    content_type: str,
    chunks: AsyncIterator[bytes],
    write: Callable[[bytes], Awaitable[None]],
    *,
    fields: Mapping[str, int],
    begin: Callable[[Mapping[str, str]], None] = lambda _fields: None,
) -> Form:
    """Read a `multipart/form-data` body to its end, passing the bytes of its one file to `write` in order.

    Parts other than the file and the text `fields` are ignored; `fields` has the most bytes of each. `begin` gets those
    before the file, and can raise to refuse it. Returns only if the form ends with its closing delimiter (RFC 2046
    §5.1.1). Raises `HTTPException` 415 for another media type, 400 for a malformed form, and 413 if it is larger than
    `MAX_OVERHEAD_BYTES` without its file; `InvalidValue` for invalid parts. After an exception, discard what `write`
    received.
    """
    body = _Body(_boundary(content_type), chunks)
    texts: dict[str, str] = {}
    file_name = file_type = None
    parts = 0
    await body.begin()
    while (lines := await body.head()) is not None:
        parts += 1
        if parts > MAX_PARTS:
            raise _malformed(f"The form has more than {MAX_PARTS} parts.")
        headers = _headers(lines)
        name, name_of_file = _names(headers)
        if name == FILE_PART:
            if file_name is not None:
                raise InvalidValue(FILE_PART, "must be sent only once")
            file_name, file_type = _required(name_of_file), headers.get(b"content-type")
            begin(texts)
            while data := await body.data():
                await write(data)
        elif name in fields:
            if name_of_file is not None:
                raise InvalidValue(name, "must be text, not a file")
            if name in texts:
                raise InvalidValue(name, "must be sent only once")
            texts[name] = await _text(body, name, fields[name])
        else:
            while data := await body.data():
                body.count(len(data))
    if file_name is None:
        raise InvalidValue(FILE_PART, "is missing")
    return Form(file_name, None if file_type is None else file_type.decode(errors="replace"), texts)


def _malformed(detail: str) -> HTTPException:
    return HTTPException(400, detail)


def _boundary(content_type: str) -> bytes:
    if len(content_type) > _MAX_PART_HEADER_BYTES:
        raise _malformed("The form's Content-Type is too long.")
    if content_type.partition(";")[0].strip(" \t").lower() != "multipart/form-data":
        raise HTTPException(415, "The body must be multipart/form-data.")
    boundary = _parameters(content_type)[1].get("boundary", "")
    # RFC 2046 §5.1.1.
    if not 1 <= len(boundary) <= _MAX_BOUNDARY_LENGTH or not (boundary.isascii() and boundary.isprintable()):
        raise _malformed(f"The form needs a boundary of 1 to {_MAX_BOUNDARY_LENGTH} printable ASCII characters.")
    return boundary.encode()


def _parameters(value: str) -> tuple[str, dict[str, str]]:
    """The leading word and the parameters of a header value, names in lower case; HTTPException 400 if malformed.

    Two equal parameters, and text after a closing quote as in `"name.jpg".html`, are errors (RFC 6266 §4.1).
    """
    word = value.partition(";")[0]
    parameters: dict[str, str] = {}
    position, end = len(word), len(value.rstrip(" \t"))
    while position < end:
        match = _PARAMETER.match(value, position)
        if match is None:
            raise _malformed("A parameter of a form header is malformed.")
        position = match.end()
        name, quoted, bare = match.group("name", "quoted", "bare")
        if name is None:
            continue
        if name.lower() in parameters:
            raise _malformed("A form header names the same parameter twice.")
        parameters[name.lower()] = bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
    return word.strip(" \t").lower(), parameters


def _file_name(parameters: dict[str, str]) -> str | None:
    """The file name of a part; `filename*`, which clients must not send (RFC 7578 §4.2), is used only by itself.

    A proxy that checks only `filename` has therefore checked the name that is stored.
    """
    plain, extended = parameters.get("filename"), parameters.get("filename*")
    if plain is not None:
        return _decoded(plain)
    if extended is None:
        return None
    match = _EXTENDED_VALUE.fullmatch(extended)
    if match is None:
        raise _malformed("The extended file name is not encoded as UTF-8.")
    return unquote_to_bytes(match[1]).decode(errors="replace")


def _decoded(name: str) -> str:
    """Decode a name that is one encoded word in UTF-8 (RFC 2047 §4); return any other name as it is."""
    match = _ENCODED_WORD.fullmatch(name)
    if match is None:
        return name
    encoding, text = match.groups()
    try:
        data = b64decode(text, validate=True) if encoding in "bB" else a2b_qp(text, header=True)
        return data.decode()
    except ValueError:
        return name


class _Body:
    """A form's body, of which only the beginning of the next part or delimiter is in memory."""

    def __init__(self, boundary: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._chunks = chunks
        self._buffer = b""
        self._overhead = 0

    def count(self, size: int) -> None:
        """Count bytes that are not the file's. Raises `HTTPException` 413."""
        self._overhead += size
        if self._overhead > MAX_OVERHEAD_BYTES:
            raise HTTPException(413, f"The form without its file is larger than {MAX_OVERHEAD_BYTES} bytes.")

    async def begin(self) -> None:
        """Read the first delimiter, before which only line breaks are allowed."""
        while not self._buffer:
            await self._more()
            size = len(self._buffer)
            self._buffer = self._buffer.lstrip(b"\r\n")
            self.count(size - len(self._buffer))
        # As before every other delimiter.
        self._buffer = b"\r\n" + self._buffer
        if await self.data():
            raise _malformed("The form does not begin with its delimiter.")

    async def head(self) -> list[bytes] | None:
        """The header lines of the next part; None after the last part."""
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer.startswith(b"--"):
            self.count(len(self._buffer))
            async for chunk in self._chunks:
                self.count(len(chunk))
            return None
        while (end := self._buffer.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)) < 0:
            if len(self._buffer) >= _MAX_HEAD_BYTES:
                raise _malformed("The headers of a part are too long.")
            await self._more()
        # Spaces can follow a delimiter (RFC 2046 §5.1.1).
        padding, *lines = self._buffer[:end].split(b"\r\n")
        if padding.strip(b" \t"):
            raise _malformed("A line begins like a delimiter.")
        self.count(end)
        self._buffer = self._buffer[end + 4 :]
        return lines

    async def data(self) -> bytes:
        """More bytes of a part, up to its delimiter; empty once, after it has read the delimiter."""
        while True:
            end = self._buffer.find(self._delimiter)
            if end == 0:
                self._buffer = self._buffer[len(self._delimiter) :]
                return b""
            if end < 0:
                # A delimiter has only one carriage return, its first byte, and may be incomplete.
                end = self._buffer.rfind(b"\r", -len(self._delimiter))
            if end < 0:
                end = len(self._buffer)
            if end > 0:
                data, self._buffer = self._buffer[:end], self._buffer[end:]
                return data
            await self._more()

    async def _more(self) -> None:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise _malformed("The form ends before its closing delimiter.") from None
        self._buffer = self._buffer + chunk if self._buffer else chunk


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    """The headers of a part, with names in lower case."""
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if len(line) > _MAX_PART_HEADER_BYTES or not colon or not _HEADER_NAME.fullmatch(name):
            raise _malformed("A part header is malformed.")
        if b"\n" in value or b"\r" in value:
            raise _malformed("A part header contains a bare line break.")
        headers[name.lower()] = value.lstrip(b" ")
    if len(headers) < len(lines) or len(lines) > _MAX_PART_HEADERS:
        raise _malformed("A part has the same header twice, or too many headers.")
    return headers


def _names(headers: Mapping[bytes, bytes]) -> tuple[str, str | None]:
    """The name of a part, and the name of its file if it is one."""
    # Names are UTF-8, whatever charset the form claims (RFC 7578 §5.1); invalid bytes are no reason to lose a file.
    kind, parameters = _parameters(headers.get(b"content-disposition", b"").decode(errors="replace"))
    name = parameters.get("name")
    if kind != "form-data" or name is None:
        raise _malformed("A part has no Content-Disposition of type form-data with a name.")
    return name, _file_name(parameters)


def _required(file_name: str | None) -> str:
    if file_name is None:
        raise InvalidValue(FILE_PART, "is not a file: the part has no file name")
    if not file_name:
        raise InvalidValue(FILE_PART, "has an empty file name: no file was selected")
    return clean_name(file_name)


async def _text(body: _Body, name: str, most: int) -> str:
    text = bytearray()
    while data := await body.data():
        body.count(len(data))
        text += data
        if len(text) > most:
            raise InvalidValue(name, f"must not be longer than {most} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue(name, "must be UTF-8 text") from error
