"""What can go wrong, in the product's own words, with the evidence a caller may act on.

Nothing here knows a status code: `shared.http.problems` gives each of these its answer.
"""

from __future__ import annotations


class ShareError(Exception):
    """Root of everything the product refuses or cannot do."""


class UnknownFile(ShareError):
    """No visible file has this ID: never made, not ready yet, or deleted."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"no file {file_id}")
        self.file_id = file_id


class DamagedFile(ShareError):
    """A stored blob or record is not what was written; `reason` is for the log only."""

    def __init__(self, file_id: str, reason: str) -> None:
        super().__init__(f"file {file_id} is damaged: {reason}")
        self.file_id = file_id
        self.reason = reason


class FileTooLarge(ShareError):
    """More bytes than `limit`, in bytes of the file itself."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the file is larger than {limit} bytes")
        self.limit = limit


class MoreThanAnnounced(FileTooLarge):
    """The parts of an upload would have more bytes together than its sender announced, which is `limit`."""


class InvalidValue(ShareError):
    """A value that the caller chose cannot be used; `reason` never repeats the value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Contended(ShareError):
    """A conditional write kept losing to others until its time was up; nothing was changed."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"too many writers at once for {file_id}")
        self.file_id = file_id


class OutcomeUnknown(ShareError):
    """A conditional write was sent, and storage can no longer tell whether it is in."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"outcome unknown of a write for {file_id}")
        self.file_id = file_id


class StorageUnavailable(ShareError):
    """Storage does not answer, or refuses us; `reason` is for the log only.

    `lasting` says that waiting does not help, as with missing credentials or a bucket that does not exist.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting


class StorageFull(ShareError):
    """Storage has no room for what was to be written."""


class InvalidSetting(ShareError):
    """An environment variable holds a value that cannot be used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name = name
        self.reason = reason


class Expired(ShareError):
    """The file has expired."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"file {file_id} has expired")
        self.file_id = file_id


class UsedUp(ShareError):
    """The file was downloaded as often as its cap allows."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"file {file_id} is used up")
        self.file_id = file_id


class Preparing(ShareError):
    """The copy that the file can be downloaded from is being made; nothing was counted."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"the raw object of {file_id} is not ready yet")
        self.file_id = file_id


class AlteredText(ShareError):
    """The body was changed on its way here, since it was sent as text and is not UTF-8."""


class DigestMismatch(ShareError):
    """The bytes received do not have the SHA-256 that the caller announced."""


class WrongPassword(ShareError):
    """The file has a password, and this was not it, or none was given."""


class TooManyAttempts(ShareError):
    """Too many passwords are being checked at once."""


class NotAuthorised(ShareError):
    """What was asked needs a token, and none that counts was given."""


class WrongDeleteToken(ShareError):
    """A delete token was given, and it is not the one of this file."""


class CrossSite(ShareError):
    """A browser says that another site asks for this change."""


class NotAnArchive(ShareError):
    """The file is no zip archive that can be trusted; `reason` is for the log only."""

    def __init__(self, file_id: str, reason: str) -> None:
        super().__init__(f"file {file_id} is no archive: {reason}")
        self.file_id = file_id
        self.reason = reason


class ArchiveTooLarge(ShareError):
    """The archive has more entries than can be listed, or an entry that can be had only with the whole."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"the archive {file_id} is too large to be read")
        self.file_id = file_id


class UnknownEntry(ShareError):
    """The archive has no file of the name asked for."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"no such entry in {file_id}")
        self.file_id = file_id


class UnsupportedEntry(ShareError):
    """The entry is encrypted, or packed in a way other than deflate."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"an entry of {file_id} cannot be unpacked here")
        self.file_id = file_id
