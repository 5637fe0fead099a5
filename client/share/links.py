"""Files as users name them: by a link, an ID, or the first digits of an ID. Private links have a key, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from share.answers import FILE_ID, read_list
from share.faults import Exit, Fault
from share.memory import DeleteTokens
from share.private.keys import Key
from share.server import Server
from share.settings import Settings, server_address
from share.text import printable

# curl gets a link with the file name after the ID.
_LINK = re.compile(rf"(?P<prefix>.*?)/(?:file/download|file/metadata|download|file)/(?P<file_id>{FILE_ID})(?:/[^/]*)?")
_SHORT_ID = re.compile("[0-9a-f-]{4,35}")
_LOWEST_ID = "00000000-0000-4000-8000-000000000000"


def find(text: str, settings: Settings, warn: Callable[[str], None]) -> tuple[str, str]:
    """The server and the ID of a file. Asks the server about the first digits of an ID. Raises `Fault`."""
    # The key of a private link, after the #, must not get into messages.
    text = text.partition("#")[0].strip()
    if re.fullmatch(FILE_ID, text):
        return settings.required_server(), text
    if _SHORT_ID.fullmatch(text):
        address = settings.required_server()
        with Server(address, settings.token_for(address), warn=warn) as api:
            return api.address, _whole_id(api, text)
    link = _LINK.fullmatch(text.partition("?")[0])
    if link is None:
        raise Fault(Exit.USAGE, f"{printable(text)} is not a download link or file ID.")
    return server_address(link["prefix"]), link["file_id"]


def key_of(link: str, address: str, file_id: str) -> Key | None:
    """The key in a private link, or else the one that `share up --keep-key` saved. Raises `Fault`."""
    key = Key.of_link(link)
    if key is None:
        saved = DeleteTokens(address).of(file_id).load() or {}
        key = Key.of_link(f"#{saved['key']}") if isinstance(saved.get("key"), str) else None
    return key


def _whole_id(api: Server, digits: str) -> str:
    lower = digits + _LOWEST_ID[len(digits) :]
    try:
        if not re.fullmatch(FILE_ID, lower):
            raise _no_such("file", digits)
        # The list is sorted by ID, so two files tell whether there is exactly one.
        candidates = [
            file.file_id for file in read_list(api.request("GET", f"/file/metadata?limit=2&after={lower}").json())
        ]
    except Fault as fault:
        if fault.code is not Exit.DENIED:
            raise
        # Without the API token, only files that were uploaded from here can be found.
        candidates = sorted(DeleteTokens(api.address).ids())
    return only_match("file", digits, candidates)


def only_match(kind: str, digits: str, candidates: Iterable[str]) -> str:
    """The one ID that begins with these digits. Raises `Fault`."""
    matches = [candidate for candidate in candidates if candidate.startswith(digits)]
    if not matches:
        raise _no_such(kind, digits)
    if len(matches) > 1:
        raise Fault(Exit.USAGE, f"Several IDs begin with {digits}. Use more of its digits.")
    return matches[0]


def _no_such(kind: str, digits: str) -> Fault:
    return Fault(Exit.NOT_FOUND, f"No {kind} has an ID that begins with {digits}.")
