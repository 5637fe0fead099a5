"""The entity tags of a download: the plain one, and for capped files those that carry a resume ticket."""

from __future__ import annotations

from shared.sharing import Record
from shared.signing import Signing


class Tags:
    """Strong entity tags, with their quotes, of one file.

    The bytes of an ID never change, so the ID is the validator, and the same on every machine.
    """

    def __init__(self, signing: Signing, record: Record) -> None:
        self._signing = signing
        self._file_id = record.file_id
        self.capped = record.max_downloads is not None
        self.plain = f'"{record.file_id}"'

    def with_ticket(self) -> str:
        """A tag for a counted answer, which lets its receiver fetch the rest."""
        return f'"{self._signing.ticket(self._file_id)}"'

    def is_ticket(self, tag: str) -> bool:
        return tag.startswith(f'"{self._file_id}.') and self._signing.is_ticket(self._file_id, tag.strip('"'))

    def is_current(self, tag: str) -> bool:
        return tag == self.plain or self.is_ticket(tag)
