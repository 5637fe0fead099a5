"""The errors of the product, each with the details that a caller can act on.

Nothing here knows status codes: `shared.http.problems` maps each error to its answer.
"""

from __future__ import annotations


class ShareError(Exception):
    """Base class of all errors that the product raises."""


class FileError(ShareError):
    """Base class of errors about one file or inbox, whose ID is `file_id`; `reason` is for the log only."""

    def __init__(self, file_id: str, reason: str = "") -> None:
        super().__init__(f"{type(self).__name__}: {file_id}{f', {reason}' if reason else ''}")
        self.file_id = file_id
        self.reason = reason


class UnknownFile(FileError):
    """No file with this ID is visible: it never existed, is not ready yet, or was deleted."""


class DamagedFile(FileError):
    """A stored blob or record differs from what was written."""

    def __str__(self) -> str:
        return f"file {self.file_id} is damaged: {self.reason}"


class FileTooLarge(ShareError):
    """The file has more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the file is larger than {limit} bytes")
        self.limit = limit


class MoreThanAnnounced(FileTooLarge):
    """The parts of an upload exceed the size that its sender announced, `limit` bytes."""


class TooLargeForInbox(FileTooLarge):
    """The file has more bytes than the inbox accepts of one file, `limit`."""


class InboxFull(FileTooLarge):
    """The inbox has no room for the file: it has `limit` bytes left, or no place for another file."""


class InboxClosed(FileError):
    """The inbox was closed, or has expired."""


class InvalidValue(ShareError):
    """The caller sent an invalid value; `reason` never repeats it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Contended(FileError):
    """A conditional write lost to other writers until it timed out; nothing was changed."""


class OutcomeUnknown(FileError):
    """A conditional write was sent, but storage did not confirm whether it was applied."""


class StorageUnavailable(ShareError):
    """Storage does not answer, or denies access; `reason` is for the log only.

    `lasting` means that retrying does not help, as with missing credentials or a bucket that does not exist.
    """

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting


class StorageFull(ShareError):
    """Storage has no space for a write."""


class InvalidSetting(ShareError):
    """An environment variable has an invalid value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name = name
        self.reason = reason


class Expired(FileError):
    """The file has expired."""


class UsedUp(FileError):
    """The file has reached its download limit."""


class Preparing(FileError):
    """Storage is still making the copy that large downloads need; nothing was counted."""


class AlteredText(ShareError):
    """The gateway altered the body, because it was sent as text and is not UTF-8."""


class DigestMismatch(ShareError):
    """The received bytes do not match the SHA-256 that the caller announced."""


class WrongPassword(ShareError):
    """The file has a password, and the request's is missing or wrong."""


class TooManyAttempts(ShareError):
    """Too many passwords are being checked at once."""


class NotAuthorised(ShareError):
    """The request requires a token, and has no valid one."""


class WrongDeleteToken(ShareError):
    """The delete token is not the one for this file."""


class WrongOwnerToken(ShareError):
    """The owner token is not the one for this inbox, or for the inbox of this file."""


class OwnerOnly(ShareError):
    """The file is in an inbox, and the request has no token of its owner."""


class CrossSite(ShareError):
    """A browser reports that another site made it request this change."""


class NotAnArchive(FileError):
    """The file is not a valid zip archive."""


class ArchiveTooLarge(FileError):
    """The archive has too many entries to list, or an entry too large to download by itself."""


class UnknownEntry(FileError):
    """The archive has no file with this name."""


class UnsupportedEntry(FileError):
    """The entry is encrypted, or compressed by a method other than deflate."""
