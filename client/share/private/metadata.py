"""Name, type and size of an encrypted file, which are encrypted themselves."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Self

from share.answers import ArchiveEntry, Fields, parse, read_entries
from share.faults import Damaged, Exit, Fault
from share.private.chunks import HEADER, TAG, decrypt_all, encrypt_all
from share.private.keys import Key, new_salt

SCHEME = "c2sp-chunked-v1-aes128gcm"
FILE_CONTEXT = b"simple-file-sharing/v1/file"
METADATA_CONTEXT = b"simple-file-sharing/v1/metadata"
MAX_TEXT = 8192  # characters of the encrypted metadata in base64url
MAX_JSON = MAX_TEXT * 3 // 4 - HEADER - TAG  # bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """What only those with the key can read. `size` is None if it was not known when the upload began."""

    name: str
    content_type: str
    size: int | None
    entries: list[ArchiveEntry] | None = None

    def json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "original_name": self.name,
            "content_type": self.content_type,
            "file_size": self.size,
        }
        if self.entries is not None:
            fields["entries"] = [
                {"name": entry.name, "size": entry.size, "modified": entry.modified} for entry in self.entries
            ]
        return fields

    def encrypt(self, key: Key) -> dict[str, str]:
        """The option `encryption` of an upload. Leaves out the entries of an archive if they do not fit."""
        data = compact(self.json())
        if len(data) > MAX_JSON:
            data = compact(Metadata(self.name, self.content_type, self.size).json())
        if len(data) > MAX_JSON:
            raise Fault(Exit.USAGE, "The name of the file is too long. Use --name to upload it under a shorter one.")
        encrypted = encrypt_all(key, new_salt(), METADATA_CONTEXT, data)
        return {"scheme": SCHEME, "metadata": base64.urlsafe_b64encode(encrypted).rstrip(b"=").decode()}

    @classmethod
    def decrypt(cls, key: Key, metadata: str) -> Self:
        """Raises `Fault`."""
        try:
            data = base64.urlsafe_b64decode(metadata + "=" * (-len(metadata) % 4))
        except ValueError:
            raise Damaged from None
        fields = Fields(parse(decrypt_all(key, METADATA_CONTEXT, data)))
        entries = fields.value.get("entries")
        return cls(
            fields.text("original_name"),
            fields.text("content_type"),
            fields.number_or_none("file_size"),
            None if entries is None else read_entries(entries),
        )


def compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
