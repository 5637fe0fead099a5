"""What S3 and botocore say, in the words of the storage contract."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.objects import (
    ABSENT,
    AlreadyExists,
    Ambiguous,
    Changed,
    Condition,
    InvalidParts,
    NotFound,
    RangeNotSatisfiable,
)

MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_CONFLICTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"})
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded"})
_UNFIT = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})


class NoSuchUpload(NotFound):
    """The key has no multipart upload of this ID: never begun, finished, or aborted."""


@contextlib.contextmanager
def translated(key: str) -> Iterator[None]:
    """Turn what S3 and botocore say into the contract's errors."""
    try:
        yield
    except ClientError as error:
        if code(error) in MISSING:
            raise NotFound(key) from error
        if code(error) == "NoSuchUpload":
            raise NoSuchUpload(key) from error
        if code(error) in _UNFIT:
            raise InvalidParts(key) from error
        if code(error) == "PreconditionFailed":
            raise Changed(key) from error
        if code(error) == "InvalidRange":
            raise RangeNotSatisfiable(key) from error
        raise failure(error) from error
    except (BotoCoreError, IncompleteReadError, io.UnsupportedOperation) as error:
        raise failure(error) from error


def refused_put(key: str, when: Condition, error: ClientError) -> NoReturn:
    """Say what an error answer to a conditional write means.

    S3 answers 412 where the condition fails, 409 where another conditional write is under way, and 404 where a match
    was asked for and the key is gone.
    """
    said = code(error)
    if said == "PreconditionFailed" and when is ABSENT:
        raise AlreadyExists(key) from error
    if said in _CONFLICTS:
        raise Changed(key) from error
    if said in MISSING:
        raise NotFound(key) from error
    if status(error) >= 500 and said not in _FULL:
        raise Ambiguous(key) from error
    raise failure(error) from error


def failure(error: Exception) -> StorageFull | StorageUnavailable:
    if isinstance(error, ClientError) and code(error) in _FULL:
        return StorageFull(str(error))
    # botocore names operation and error code, never credentials or signed URLs. A clock that is wrong
    # (RequestTimeTooSkewed) and a missing permission (AccessDenied) are faults of ours too, not of whoever asks.
    return StorageUnavailable(str(error))


def code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
