"""Checks the server's answers before they are used: a link can lead to anyone's server."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, Self

from share.faults import Exit, Fault

FILE_ID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MAX_NUMBER = 2**63 - 1
MAX_LINK = 2000  # characters; a QR code can hold little more
ID = re.compile(FILE_ID)
SHA256 = re.compile("[0-9a-f]{64}")
ANY_TEXT = re.compile("(?s).{0,8192}")
ENTRY_NAME = re.compile("(?s).{0,65535}")
SCHEME_NAME = re.compile("[a-z0-9-]{1,64}")
BASE64 = re.compile("[A-Za-z0-9_-]{1,8192}")
# Users paste both into shells, where none of these characters is special.
DELETE_TOKEN = re.compile("[A-Za-z0-9._~=-]{1,500}")
LINK = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%-]+)+")


def parse(body: bytes) -> object:
    """Parse a JSON value. Raises `Fault`."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Fault(Exit.REFUSED, "This is not a Simple File Sharing server: its answer is not JSON.") from None


def invalid(name: str) -> Fault:
    return Fault(Exit.REFUSED, f"This is not a Simple File Sharing server: its answer has no valid {name}.")


class Fields:
    """The fields of a JSON object, each checked when it is read. All methods raise `Fault`."""

    def __init__(self, value: object, name: str = "object") -> None:
        if not isinstance(value, dict):
            raise invalid(name)
        self.value: dict[str, Any] = value

    def text(self, name: str, pattern: re.Pattern[str] = ANY_TEXT) -> str:
        value = self.value.get(name)
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise invalid(name)
        return value

    def text_or_none(self, name: str, pattern: re.Pattern[str] = ANY_TEXT) -> str | None:
        return None if self.value.get(name) is None else self.text(name, pattern)

    def number(self, name: str, least: int = 0) -> int:
        value = self.value.get(name)
        # JSON's true is an int to Python.
        if type(value) is not int or not least <= value <= MAX_NUMBER:
            raise invalid(name)
        return value

    def number_or_none(self, name: str, least: int = 0) -> int | None:
        return None if self.value.get(name) is None else self.number(name, least)

    def flag(self, name: str) -> bool:
        value = self.value.get(name, False)
        if not isinstance(value, bool):
            raise invalid(name)
        return value

    def link(self, name: str, file_id: str) -> str:
        """A URL that contains the file ID, on any host."""
        value = self.text(name, LINK)
        if len(value) > MAX_LINK or file_id not in value.split("/"):
            raise invalid(name)
        return value


def objects(value: object, name: str) -> list[Fields]:
    """Raises `Fault` if it is not a list of objects."""
    if not isinstance(value, list):
        raise invalid(name)
    return [Fields(item) for item in value]


@dataclasses.dataclass(frozen=True, slots=True)
class Encryption:
    """How a file was encrypted. `metadata` is its encrypted metadata; None in lists of files."""

    scheme: str
    metadata: str | None

    @classmethod
    def read(cls, value: object) -> Self | None:
        """Raises `Fault`."""
        if value is None:
            return None
        fields = Fields(value, "encryption")
        return cls(fields.text("scheme", SCHEME_NAME), fields.text_or_none("metadata", BASE64))


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the server describes it; `answer` is its whole description. `size` is in bytes.

    `sender` is who sent it to an inbox, in their own words.
    """

    file_id: str
    name: str
    content_type: str
    size: int
    download_count: int
    max_downloads: int | None
    sha256: str | None
    created_at: str | None
    expires_at: str | None
    password_protected: bool
    encryption: Encryption | None
    sender: str | None
    link: str
    page: str
    answer: dict[str, Any]

    @classmethod
    def read(cls, file_id: str, value: object) -> Self:
        """Raises `Fault`."""
        fields = Fields(value)
        link = fields.link("download_link", file_id)
        return cls(
            file_id=file_id,
            name=fields.text("original_name"),
            content_type=fields.text("content_type"),
            size=fields.number("file_size"),
            download_count=fields.number("download_count"),
            max_downloads=fields.number_or_none("max_downloads", 1),
            sha256=fields.text_or_none("sha256", SHA256),
            created_at=fields.text_or_none("created_at"),
            expires_at=fields.text_or_none("expires_at"),
            password_protected=fields.flag("password_protected"),
            encryption=Encryption.read(fields.value.get("encryption")),
            sender=fields.text_or_none("sender"),
            link=link,
            page=link if fields.value.get("download_page") is None else fields.link("download_page", file_id),
            answer=fields.value,
        )

    def age_key(self) -> str:
        """Sorts files by when they were created: RFC 3339 times in UTC compare as text."""
        return self.created_at or ""

    def json(self) -> dict[str, Any]:
        """The server's whole description, but always with the ID that was requested."""
        return {"file_id": self.file_id} | self.answer | {"file_id": self.file_id}


@dataclasses.dataclass(frozen=True, slots=True)
class UploadedFile:
    """A new file, and the token that deletes it. `file` describes it, unless it was sent to the inbox `inbox_id`."""

    file_id: str
    name: str
    size: int
    sha256: str | None
    delete_token: str
    inbox_id: str | None
    file: RemoteFile | None
    answer: dict[str, Any]

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises `Fault`."""
        fields = Fields(value)
        file_id, inbox_id = fields.text("file_id", ID), fields.text_or_none("inbox_id", ID)
        return cls(
            file_id=file_id,
            name=fields.text("original_name"),
            size=fields.number("file_size"),
            sha256=fields.text_or_none("sha256", SHA256),
            delete_token=fields.text("delete_token", DELETE_TOKEN),
            inbox_id=inbox_id,
            file=RemoteFile.read(file_id, value) if inbox_id is None else None,
            answer=fields.value,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteInbox:
    """An inbox as the server describes it; `answer` is its whole description. Sizes are in bytes.

    `is_open` and what follows is None for senders.
    """

    inbox_id: str
    link: str
    title: str
    note: str
    files_left: int
    bytes_left: int
    max_file_size: int
    expires_at: str
    is_open: bool | None
    max_files: int | None
    max_bytes: int | None
    file_expires_in: int | None
    files: list[RemoteFile] | None
    answer: dict[str, Any]

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises `Fault`."""
        fields = Fields(value)
        inbox_id = fields.text("inbox_id", ID)
        files = fields.value.get("files")
        return cls(
            inbox_id=inbox_id,
            link=fields.link("inbox_page", inbox_id),
            title=fields.text("title"),
            note=fields.text("note"),
            files_left=fields.number("files_left"),
            bytes_left=fields.number("bytes_left"),
            max_file_size=fields.number("max_file_size", 1),
            expires_at=fields.text("expires_at"),
            is_open=None if files is None else fields.flag("open"),
            max_files=None if files is None else fields.number("max_files", 1),
            max_bytes=None if files is None else fields.number("max_bytes", 1),
            file_expires_in=fields.number_or_none("file_expires_in", 1),
            files=None
            if files is None
            else [RemoteFile.read(item.text("file_id", ID), item.value) for item in objects(files, "list of files")],
            answer=fields.value,
        )


def read_list(value: object) -> list[RemoteFile]:
    """One page of the list of files. Raises `Fault`."""
    files = Fields(value).value
    for file_id in files:
        if ID.fullmatch(file_id) is None:
            raise invalid("file ID")
    return [RemoteFile.read(file_id, description) for file_id, description in files.items()]


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """A file or folder in an archive on the server. `size` is in bytes, unpacked."""

    name: str
    size: int
    modified: str | None

    @classmethod
    def read(cls, value: object) -> Self:
        """Raises `Fault`."""
        fields = Fields(value)
        return cls(fields.text("name", ENTRY_NAME), fields.number("size"), fields.text_or_none("modified"))


def read_entries(value: object) -> list[ArchiveEntry]:
    """Raises `Fault`."""
    if not isinstance(value, list):
        raise invalid("list of entries")
    return [ArchiveEntry.read(entry) for entry in value]
