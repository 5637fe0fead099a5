"""Reads an upload form as it arrives: the file goes straight to the caller's `write` and is never spooled.

python-multipart finds the parts; this module interprets and limits them.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.exceptions import HTTPException

from shared.errors import InvalidValue
from shared.names import clean_name

FILE_PART = "file"
MAX_OVERHEAD_BYTES = 64 * 1024
MAX_PARTS = 16

_MAX_BOUNDARY_LENGTH = 70
_MAX_PART_HEADERS = 8
_MAX_PART_HEADER_BYTES = 4096

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
    §5.1.1). Raises `HTTPException` 415 for another media type, 400 for a malformed form, and 413 if the form without
    its file exceeds `MAX_OVERHEAD_BYTES`; `InvalidValue` for invalid parts. After an exception, discard what `write`
    received.
    """
    reader = _Reader(fields, begin)
    # The parser has the reader's methods. If the reader also had the parser, this cycle would keep the whole request in
    # memory until the next garbage collection.
    parser = reader.parser(_boundary(content_type))
    async for chunk in chunks:
        for piece in reader.feed(parser, chunk):
            await write(piece)
    return reader.finish()


def _malformed(detail: str) -> HTTPException:
    return HTTPException(400, detail)


def _boundary(content_type: str) -> bytes:
    if len(content_type) > _MAX_PART_HEADER_BYTES:
        raise _malformed("The form's Content-Type is too long.")
    if content_type.partition(";")[0].strip(" \t").lower() != "multipart/form-data":
        raise HTTPException(415, "The body must be multipart/form-data.")
    boundary = _parameters(content_type)[1].get("boundary", "")
    # The parser itself accepts an empty boundary, and longer ones than RFC 2046 §5.1.1 allows.
    if not 1 <= len(boundary) <= _MAX_BOUNDARY_LENGTH or not (boundary.isascii() and boundary.isprintable()):
        raise _malformed(f"The form needs a boundary of 1 to {_MAX_BOUNDARY_LENGTH} printable ASCII characters.")
    return boundary.encode()


def _parameters(value: str) -> tuple[str, dict[str, str]]:
    """The leading word and the parameters of a header value, names in lower case; HTTPException 400 if malformed.

    python-multipart's `parse_options_header` lets the last of two equal parameters win, keeps the quotes of
    `"name.jpg".html`, drops `filename*` and decodes as latin-1; here the first two are errors (RFC 6266 §4.1).
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


class _Reader:
    """The state of one form between chunks. Do not use it again after an exception."""

    def __init__(self, limits: Mapping[str, int], begin: Callable[[Mapping[str, str]], None]) -> None:
        self._limits = limits
        self._begin = begin
        self._fields: dict[str, str] = {}
        self._file_name: str | None = None
        self._content_type: str | None = None
        self._begun = self._ended = False
        self._overhead = self._parts = 0
        self._pieces: list[bytes] = []
        self._in_file = False
        self._field: str | None = None
        self._text = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""

    def parser(self, boundary: bytes) -> MultipartParser:
        """A parser for `feed`."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER_BYTES,
        )

    def feed(self, parser: MultipartParser, chunk: bytes) -> list[bytes]:
        """Parse the next bytes of the body and return those of the file, in order."""
        self._pieces = []
        self._overhead += len(chunk)
        if not self._begun:
            # The parser would skip everything between a leading line break and the first hyphen.
            chunk = chunk.lstrip(b"\r\n")
            self._begun = bool(chunk)
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise _malformed("The form is malformed.") from error
        self._overhead -= sum(map(len, self._pieces))
        if self._overhead > MAX_OVERHEAD_BYTES:
            raise HTTPException(413, f"The form without its file is larger than {MAX_OVERHEAD_BYTES} bytes.")
        return self._pieces

    def finish(self) -> Form:
        # The parser's own `finalize` accepts a body that ends anywhere.
        if not self._ended:
            raise _malformed("The form ends before its closing delimiter.")
        if self._file_name is None:
            raise InvalidValue(FILE_PART, "is missing")
        return Form(self._file_name, self._content_type, self._fields)

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _malformed(f"The form has more than {MAX_PARTS} parts.")
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        name, value = self._header_name.lower(), self._header_value
        self._header_name = self._header_value = b""
        if b"\n" in value:
            raise _malformed("A part header contains a bare line feed.")
        if name in self._headers:
            raise _malformed("A part has the same header twice.")
        self._headers[name] = value

    def _on_headers_finished(self) -> None:
        # Names are UTF-8, whatever charset the form claims (RFC 7578 §5.1); invalid bytes are no reason to lose a file.
        disposition = self._headers.get(b"content-disposition", b"").decode(errors="replace")
        kind, parameters = _parameters(disposition)
        name = parameters.get("name")
        if kind != "form-data" or name is None:
            raise _malformed("A part has no Content-Disposition of type form-data with a name.")
        file_name = _file_name(parameters)
        if name == FILE_PART:
            self._begin_file(file_name)
        elif name in self._limits:
            self._begin_field(name, is_file=file_name is not None)

    def _begin_file(self, file_name: str | None) -> None:
        if file_name is None:
            raise InvalidValue(FILE_PART, "is not a file: the part has no file name")
        if not file_name:
            raise InvalidValue(FILE_PART, "has an empty file name: no file was selected")
        if self._file_name is not None:
            raise InvalidValue(FILE_PART, "must be sent only once")
        content_type = self._headers.get(b"content-type")
        self._content_type = None if content_type is None else content_type.decode(errors="replace")
        self._file_name = clean_name(file_name)
        self._begin(self._fields)
        self._in_file = True

    def _begin_field(self, name: str, *, is_file: bool) -> None:
        if is_file:
            raise InvalidValue(name, "must be text, not a file")
        if name in self._fields:
            raise InvalidValue(name, "must be sent only once")
        self._field = name

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pieces.append(data[start:end])
        elif self._field is not None:
            self._text += data[start:end]
            if len(self._text) > self._limits[self._field]:
                raise InvalidValue(self._field, f"must not be longer than {self._limits[self._field]} bytes")

    def _on_part_end(self) -> None:
        self._in_file = False
        if self._field is None:
            return
        try:
            self._fields[self._field] = self._text.decode()
        except UnicodeDecodeError as error:
            raise InvalidValue(self._field, "must be UTF-8 text") from error
        self._field, self._text = None, bytearray()

    def _on_end(self) -> None:
        self._ended = True
