"""Translates errors of S3 and botocore into those of the storage contract."""

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
    ObjectError,
    RangeNotSatisfiable,
    TooSoon,
)
from shared.storage.multipart import InvalidParts

MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_CONFLICTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
_FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded"})
# S3 answers the first, with status 400, if a body stops arriving. The second is for servers that send no code.
_TOO_SLOW = frozenset({"RequestTimeout", "408"})
_PASSING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.CONFLICT})


class NoSuchUpload(NotFound):
    """The key has no multipart upload with this ID: it never existed, or is finished or aborted."""


_ERRORS: dict[str, type[ObjectError]] = {
    **dict.fromkeys(MISSING, NotFound),
    "NoSuchUpload": NoSuchUpload,
    **dict.fromkeys(("InvalidPart", "InvalidPartOrder", "EntityTooSmall"), InvalidParts),
    "PreconditionFailed": Changed,
    "InvalidRange": RangeNotSatisfiable,
}


@contextlib.contextmanager
def translated(key: str) -> Iterator[None]:
    """Translate errors of S3 and botocore into those of the contract."""
    try:
        yield
    except ClientError as error:
        kind = _ERRORS.get(code(error))
        raise (failure(error) if kind is None else kind(key)) from error
    except (BotoCoreError, IncompleteReadError, io.UnsupportedOperation) as error:
        raise failure(error) from error


def refused_put(key: str, when: Condition, error: ClientError) -> NoReturn:
    """Translate an error answer to a conditional write.

    S3 answers 412 if the condition fails, 409 if another conditional write is in progress, and 404 if a match is
    required but the key is gone. Cloudflare R2 answers 429 to a write that follows another one too soon, and servers
    without conditions answer 501 (RFC 9110 §15.6.2); neither has written anything.

    After any other 5xx the outcome is unknown, even after 503: some servers send it if too few disks accepted a write.
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
            "which exact download counts require",
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
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            lasting=True,
        )
    # botocore's text has the operation and error code, never credentials or signed URLs. A wrong clock
    # (RequestTimeTooSkewed) and a missing permission (AccessDenied) are the server's fault, not the client's.
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
