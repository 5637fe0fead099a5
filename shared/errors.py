"""The errors of the product, each with the details that a caller can act on.

Nothing here knows status codes: `shared.http.problems` maps each error to its answer.
"""

from __future__ import annotations


class ShareError(Exception):
    """Base class of all errors that the product raises."""


class UnknownFile(ShareError):
    """No file with this ID is visible: it never existed, is not ready yet, or was deleted."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"no file {file_id}")
        self.file_id = file_id


class DamagedFile(ShareError):
    """A stored blob or record differs from what was written; `reason` is for the log only."""

    def __init__(self, file_id: str, reason: str) -> None:
        super().__init__(f"file {file_id} is damaged: {reason}")
        self.file_id = file_id
        self.reason = reason


class FileTooLarge(ShareError):
    """The file has more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the file is larger than {limit} bytes")
        self.limit = limit


class MoreThanAnnounced(FileTooLarge):
    """The parts of an upload exceed the size that its sender announced, `limit` bytes."""


class TooLargeForInbox(FileTooLarge):
    """The file has more bytes than the inbox accepts of one file, `limit`."""


class InboxFull(ShareError):
    """The inbox has no room for the file; `limit` is the number of bytes that it has left."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the inbox has no room for the file, and {limit} bytes left")
        self.limit = limit


class InboxClosed(ShareError):
    """The inbox was closed, or has expired."""

    def __init__(self, inbox_id: str) -> None:
        super().__init__(f"inbox {inbox_id} is closed")
        self.inbox_id = inbox_id


class InvalidValue(ShareError):
    """The caller sent an invalid value; `reason` never repeats it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Contended(ShareError):
    """A conditional write lost to other writers until it timed out; nothing was changed."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"too many concurrent writers for {file_id}")
        self.file_id = file_id


class OutcomeUnknown(ShareError):
    """A conditional write was sent, but storage did not confirm whether it was applied."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"unknown outcome of a write for {file_id}")
        self.file_id = file_id


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


class Expired(ShareError):
    """The file has expired."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"file {file_id} has expired")
        self.file_id = file_id


class UsedUp(ShareError):
    """The file has reached its download limit."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"file {file_id} has reached its download limit")
        self.file_id = file_id


class Preparing(ShareError):
    """Storage is still making the copy that large downloads need; nothing was counted."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"the raw object of {file_id} is not ready yet")
        self.file_id = file_id


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


class NotAnArchive(ShareError):
    """The file is not a valid zip archive; `reason` is for the log only."""

    def __init__(self, file_id: str, reason: str) -> None:
        super().__init__(f"file {file_id} is not a valid archive: {reason}")
        self.file_id = file_id
        self.reason = reason


class ArchiveTooLarge(ShareError):
    """The archive has too many entries to list, or an entry too large to download by itself."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"archive {file_id} is too large to open")
        self.file_id = file_id


class UnknownEntry(ShareError):
    """The archive has no file with this name."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"no such entry in {file_id}")
        self.file_id = file_id


class UnsupportedEntry(ShareError):
    """The entry is encrypted, or compressed by a method other than deflate."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"unsupported entry in {file_id}")
        self.file_id = file_id
