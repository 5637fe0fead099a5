"""The key of a private link, which follows the `#` and is never sent."""

from __future__ import annotations

import base64
import dataclasses
import re
import secrets
from typing import Self

from share.faults import Exit, Fault

KEY_BYTES = 16
SALT_BYTES = 24

# 22 characters have four bits more than a key: they must be zero, so that each key is written in one way only.
FRAGMENT = re.compile("k=([A-Za-z0-9_-]{21}[AQgw])")


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A random key. It is not shown when an object with it is printed."""

    secret: bytes = dataclasses.field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def of_link(cls, link: str) -> Self | None:
        """The key in a link; None if there is no fragment. Raises `Fault` if there is another one."""
        fragment = link.strip().partition("#")[2]
        if not fragment:
            return None
        match = FRAGMENT.fullmatch(fragment)
        if match is None:
            raise Fault(Exit.USAGE, "The key in this link, after the #, is incomplete. Copy the whole link.")
        return cls(base64.urlsafe_b64decode(f"{match[1]}=="))

    @property
    def fragment(self) -> str:
        return f"k={base64.urlsafe_b64encode(self.secret).rstrip(b'=').decode()}"

    def link(self, page: str) -> str:
        """The private link to a landing page."""
        return f"{page}#{self.fragment}"


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)
