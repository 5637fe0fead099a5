"""Files and inboxes as users name them: by a link, an ID, or the first digits of an ID.

What follows the `#` of a link, a key or an owner token, must not get into messages.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator

from share.answers import DELETE_TOKEN, FILE_ID, RemoteFile, read_list
from share.faults import Exit, Fault
from share.memory import DeleteTokens, OwnerTokens
from share.private.keys import Key
from share.server import Server
from share.settings import Settings, server_address
from share.text import printable

# curl gets a link with the file name after the ID.
_FILE = re.compile(rf"(.*?)/(?:file/download|file/metadata|download|file)/({FILE_ID})(?:/[^/]*)?")
_INBOX = re.compile(rf"(.*?)/inbox/({FILE_ID})/?")
_OWNER = re.compile(f"owner=({DELETE_TOKEN.pattern})")
_SHORT_ID = re.compile("[0-9a-f-]{4,35}")
_LOWEST_ID = "00000000-0000-4000-8000-000000000000"


def find_file(text: str, settings: Settings, warn: Callable[[str], None]) -> tuple[str, str]:
    """The server and the ID of a file. Asks the server about the first digits of an ID. Raises `Fault`."""
    text = text.partition("#")[0].strip()
    if not _SHORT_ID.fullmatch(text):
        return _find(text, _FILE, settings, "a download link or file ID")
    address = settings.required_server()
    with Server(address, settings.credentials(address), warn=warn) as api:
        return api.address, _whole_id(api, text)


def find_inbox(text: str, settings: Settings) -> tuple[str, str, str | None]:
    """The server and the ID of an inbox, and the token of its owner if the link has it. Raises `Fault`."""
    text, _, fragment = text.strip().partition("#")
    owner = _OWNER.fullmatch(fragment)
    if fragment and owner is None:
        raise Fault(Exit.USAGE, "The owner token in this link, after the #, is incomplete. Copy the whole link.")
    if _SHORT_ID.fullmatch(text):
        text = _only_match("inbox", text, OwnerTokens(settings.required_server()).ids())
    address, inbox_id = _find(text, _INBOX, settings, "the link or ID of an inbox")
    return address, inbox_id, None if owner is None else owner[1]


def _find(text: str, pattern: re.Pattern[str], settings: Settings, kind: str) -> tuple[str, str]:
    if re.fullmatch(FILE_ID, text):
        return settings.required_server(), text
    link = pattern.fullmatch(text.partition("?")[0])
    if link is None:
        raise Fault(Exit.USAGE, f"{printable(text)} is not {kind}.")
    return server_address(link[1]), link[2]


@contextlib.contextmanager
def open_link(
    link: str, settings: Settings, warn: Callable[[str], None]
) -> Iterator[tuple[Server, RemoteFile, Key | None]]:
    """The server of a file, its description, and the key of a private link. Raises `Fault`."""
    address, file_id = find_file(link, settings, warn)
    key = Key.of_link(link)
    if key is None:
        # Perhaps `share up --keep-key` saved it.
        saved = DeleteTokens(address).of(file_id).load() or {}
        key = Key.of_link(f"#{saved['key']}") if isinstance(saved.get("key"), str) else None
    with Server(address, {}, warn=warn) as api:
        yield api, api.metadata(file_id), key


def _whole_id(api: Server, digits: str) -> str:
    lower = digits + _LOWEST_ID[len(digits) :]
    try:
        # The list is sorted by ID, so two files tell whether there is exactly one.
        path = f"/file/metadata?limit=2&after={lower}"
        files = read_list(api.request("GET", path).json()) if re.fullmatch(FILE_ID, lower) else []
        return _only_match("file", digits, [file.file_id for file in files])
    except Fault as fault:
        if fault.code is not Exit.DENIED:
            raise
        # Without the access token, only files that were uploaded from here can be found.
        return _only_match("file", digits, DeleteTokens(api.address).ids())


def _only_match(kind: str, digits: str, candidates: Iterable[str]) -> str:
    """The one ID that begins with these digits. Raises `Fault`."""
    matches = [candidate for candidate in candidates if candidate.startswith(digits)]
    if not matches:
        raise Fault(Exit.NOT_FOUND, f"No {kind} has an ID that begins with {digits}.")
    if len(matches) > 1:
        raise Fault(Exit.USAGE, f"Several IDs begin with {digits}. Use more of its digits.")
    return matches[0]
