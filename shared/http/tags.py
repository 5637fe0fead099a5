"""The entity tags of a download: the plain one, and for files with a download limit, tags with a resume ticket."""

from __future__ import annotations

import hashlib

from shared.sharing import Record
from shared.signing import Signing


class Tags:
    """Strong entity tags, with their quotes, of one file or one `entry` of an archive.

    The bytes of an ID never change, so the ID is the validator, the same on every machine. For an entry, it is the ID
    with the entry's name.
    """

    def __init__(self, signing: Signing, record: Record, entry: str | None = None) -> None:
        self._signing = signing
        self._subject = record.file_id if entry is None else f"{record.file_id}-{_short(entry)}"
        self.capped = record.max_downloads is not None
        self.plain = f'"{self._subject}"'

    def with_ticket(self) -> str:
        """A tag for a counted answer, with which the client can download the rest."""
        return f'"{self._signing.ticket(self._subject)}"'

    def is_ticket(self, tag: str) -> bool:
        return tag.startswith(f'"{self._subject}.') and self._signing.is_ticket(self._subject, tag.strip('"'))

    def is_current(self, tag: str) -> bool:
        return tag == self.plain or self.is_ticket(tag)


def _short(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
