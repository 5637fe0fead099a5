"""What S3 and botocore say, in the words of the storage contract."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from http import HTTPStatus
from typing import NoReturn

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import (
    ABSENT,
    AlreadyExists,
    Ambiguous,
    Changed,
    Condition,
    NotFound,
    RangeNotSatisfiable,
    TooSoon,
)
from shared.storage.multipart import InvalidParts

MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_CONFLICTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded"})
# S3 says the first, with status 400, of a body that stopped coming; without a code, the status stands for it.
_TOO_SLOW = frozenset({"RequestTimeout", "408"})
_PASSING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.CONFLICT})
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
    is required and the key is gone. Cloudflare R2 answers 429 to a write that follows another one too soon, and
    servers that know no conditions answer 501 (RFC 9110 §15.6.2); neither has written anything.

    Any other 5xx leaves the outcome open, 503 too: some servers answer it when not enough of their disks took a write.
    """
    error_code, http_status = code(error), status(error)
    if http_status == HTTPStatus.PRECONDITION_FAILED and when is ABSENT:
        raise AlreadyExists(key) from error
    if http_status in _CONFLICTS:
        raise Changed(key) from error
    if http_status == HTTPStatus.TOO_MANY_REQUESTS:
        raise TooSoon(key) from error
    if error_code in MISSING:
        raise NotFound(key) from error
    if error_code in _FULL:
        raise failure(error) from error
    if http_status == HTTPStatus.NOT_IMPLEMENTED:
        raise StorageUnavailable(
            "its S3 server does not implement If-Match and If-None-Match on PutObject (501), "
            "without which downloads cannot be counted exactly",
            lasting=True,
        ) from error
    if http_status >= HTTPStatus.INTERNAL_SERVER_ERROR or error_code in _TOO_SLOW:
        raise Ambiguous(key) from error
    raise failure(error) from error


def failure(error: Exception) -> StorageFull | StorageUnavailable:
    if isinstance(error, ClientError) and code(error) in _FULL:
        return StorageFull(str(error))
    if isinstance(error, NoCredentialsError):
        return StorageUnavailable(
            "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            lasting=True,
        )
    # botocore names operation and error code, never credentials or signed URLs. A clock that is wrong
    # (RequestTimeTooSkewed) and a missing permission (AccessDenied) are our faults too, not the client's.
    return StorageUnavailable(str(error), lasting=_is_lasting(error))


def _is_lasting(error: Exception) -> bool:
    if isinstance(error, ClientError):
        http_status = status(error)
        passing = http_status in _PASSING or code(error) in _TOO_SLOW or http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return http_status == HTTPStatus.NOT_IMPLEMENTED or not passing
    return not isinstance(error, (ConnectionError, HTTPClientError, IncompleteReadError, io.UnsupportedOperation))


def code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
