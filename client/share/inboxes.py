"""Inboxes as users name them: by the link for senders, the owner's link, an ID, or its first digits."""

from __future__ import annotations

import dataclasses
import re
from typing import Self

from share.answers import DELETE_TOKEN, FILE_ID
from share.faults import Exit, Fault
from share.links import only_match
from share.memory import OwnerTokens
from share.server import header_value
from share.settings import Settings, server_address
from share.text import printable

_LINK = re.compile(rf"(?P<prefix>.*?)/inbox/(?P<inbox_id>{FILE_ID})/?")
_SHORT_ID = re.compile("[0-9a-f-]{4,35}")
_OWNER = re.compile(f"owner=({DELETE_TOKEN.pattern})")


@dataclasses.dataclass(frozen=True, slots=True)
class InboxLink:
    """The server and the ID of an inbox, and the token of its owner if the link has it."""

    address: str
    inbox_id: str
    token: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, settings: Settings) -> Self:
        """Raises `Fault`, whose message never has the token."""
        text, _, fragment = text.strip().partition("#")
        owner = _OWNER.fullmatch(fragment)
        if fragment and owner is None:
            raise Fault(Exit.USAGE, "The owner token in this link, after the #, is incomplete. Copy the whole link.")
        token = None if owner is None else owner[1]
        if re.fullmatch(FILE_ID, text):
            return cls(settings.required_server(), text, token)
        if _SHORT_ID.fullmatch(text):
            address = settings.required_server()
            return cls(address, only_match("inbox", text, OwnerTokens(address).ids()), token)
        link = _LINK.fullmatch(text.partition("?")[0])
        if link is None:
            raise Fault(Exit.USAGE, f"{printable(text)} is not the link or ID of an inbox.")
        return cls(server_address(link["prefix"]), link["inbox_id"], token)

    def authorised(self, settings: Settings) -> tuple[str, dict[str, str]]:
        """The server, and headers with the owner token in the link, or else a saved one, or else the API token.

        Without any of these there are no headers. Raises `Fault`.
        """
        address, token = self.address, self.token
        if token is None:
            address, saved = OwnerTokens.find(self.address, self.inbox_id)
            token = saved.get("owner_token")
        if token is not None:
            return address, {"X-Owner-Token": header_value("owner token", str(token))}
        api_token = settings.token_for(address)
        return address, {} if api_token is None else {"Authorization": f"Bearer {header_value('token', api_token)}"}
