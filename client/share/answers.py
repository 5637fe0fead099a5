"""Checks the server's answers before they are used: a link can lead to anyone's server.

Everything here raises `Fault` for an answer that is not as it should be.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from share.faults import Exit, Fault

FILE_ID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MAX_NUMBER = 2**63 - 1
MAX_LINK = 2000  # characters; a QR code can hold little more
ID = re.compile(FILE_ID)
SHA256 = re.compile("[0-9a-f]{64}")
ANY_TEXT = re.compile("(?s).{0,8192}")
ENTRY_NAME = re.compile("(?s).{0,65535}")
BASE64 = re.compile("[A-Za-z0-9_-]{1,8192}")
# Users paste both into shells, where none of these characters is special.
DELETE_TOKEN = re.compile("[A-Za-z0-9._~=-]{1,500}")
LINK = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%-]+)+")


def parse(body: bytes) -> object:
    """Parse a JSON value."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Fault(Exit.REFUSED, "This is not a Simple File Sharing server: its answer is not JSON.") from None


def invalid(name: str) -> Fault:
    return Fault(Exit.REFUSED, f"This is not a Simple File Sharing server: its answer has no valid {name}.")


class Fields:
    """The fields of a JSON object, each checked when it is read."""

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
    """The items of a list of objects."""
    if not isinstance(value, list):
        raise invalid(name)
    return [Fields(item) for item in value]


class RemoteFile:
    """A file as the server describes it; `answer` is its whole description. `size` is in bytes.

    `sender` is who sent it to an inbox, in their own words.
    """

    def __init__(self, file_id: str, answer: object) -> None:
        fields = Fields(answer)
        self.answer = fields.value
        self.file_id = file_id
        self.name = fields.text("original_name")
        self.content_type = fields.text("content_type")
        self.size = fields.number("file_size")
        self.download_count = fields.number("download_count")
        self.max_downloads = fields.number_or_none("max_downloads", 1)
        self.sha256 = fields.text_or_none("sha256", SHA256)
        self.created_at = fields.text_or_none("created_at")
        self.expires_at = fields.text_or_none("expires_at")
        self.password_protected = fields.flag("password_protected")
        encryption = self.answer.get("encryption")
        self.encryption = None if encryption is None else Fields(encryption, "encryption")
        self.sender = fields.text_or_none("sender")
        self.link = fields.link("download_link", file_id)
        self.page = self.link if self.answer.get("download_page") is None else fields.link("download_page", file_id)

    def changed(self, **changes: object) -> RemoteFile:
        """This file with other fields in its description."""
        return RemoteFile(self.file_id, self.answer | changes)

    def json(self) -> dict[str, Any]:
        """The server's whole description, but always with the ID that was requested."""
        return {"file_id": self.file_id} | self.answer | {"file_id": self.file_id}


class UploadedFile:
    """A new file, and the token that deletes it. `file` describes it, unless it was sent to the inbox `inbox_id`."""

    def __init__(self, answer: object) -> None:
        fields = Fields(answer)
        self.answer = fields.value
        self.file_id = fields.text("file_id", ID)
        self.name = fields.text("original_name")
        self.size = fields.number("file_size")
        self.sha256 = fields.text_or_none("sha256", SHA256)
        self.delete_token = fields.text("delete_token", DELETE_TOKEN)
        self.inbox_id = fields.text_or_none("inbox_id", ID)
        self.file = RemoteFile(self.file_id, answer) if self.inbox_id is None else None


class RemoteInbox:
    """An inbox as the server describes it; `answer` is its whole description. Sizes are in bytes.

    `is_open`, `max_files` and `files` are None for senders.
    """

    is_open: bool | None = None
    max_files: int | None = None
    files: list[RemoteFile] | None = None

    def __init__(self, answer: object) -> None:
        fields = Fields(answer)
        self.answer = fields.value
        self.inbox_id = fields.text("inbox_id", ID)
        self.link = fields.link("inbox_page", self.inbox_id)
        self.title = fields.text("title")
        self.note = fields.text("note")
        self.files_left = fields.number("files_left")
        self.bytes_left = fields.number("bytes_left")
        self.max_file_size = fields.number("max_file_size", 1)
        self.expires_at = fields.text("expires_at")
        files = self.answer.get("files")
        if files is not None:
            self.is_open = fields.flag("open")
            self.max_files = fields.number("max_files", 1)
            self.files = [RemoteFile(item.text("file_id", ID), item.value) for item in objects(files, "list of files")]


def read_list(answer: object) -> list[RemoteFile]:
    """One page of the list of files."""
    files = Fields(answer).value
    for file_id in files:
        if ID.fullmatch(file_id) is None:
            raise invalid("file ID")
    return [RemoteFile(file_id, description) for file_id, description in files.items()]


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """A file or folder in an archive. `size` is in bytes, unpacked."""

    name: str
    size: int
    modified: str | None


def read_entries(answer: object) -> list[ArchiveEntry]:
    return [
        ArchiveEntry(fields.text("name", ENTRY_NAME), fields.number("size"), fields.text_or_none("modified"))
        for fields in objects(answer, "list of entries")
    ]
