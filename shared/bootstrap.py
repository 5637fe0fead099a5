"""Where settings, storage and use cases are put together: once per process, on first use."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path

from shared.errors import InvalidSetting, StorageUnavailable
from shared.options import Lifetimes
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.contract import ObjectStore
from shared.storage.probe import require_conditions
from shared.time_limit import TimeLimit
from shared.tokens import Tokens, read_secret

log = logging.getLogger(__name__)

START_WITHIN = 30.0  # seconds
ASK_EVERY = 1.0


@functools.cache
def settings() -> Settings:
    """The settings of this process. Raises `InvalidSetting`."""
    return Settings.from_environment()


@functools.cache
def tokens() -> Tokens:
    """The API tokens of this process. Raises `InvalidSetting`."""
    secret = settings().api_token_secret
    return Tokens(settings().api_tokens, None if secret is None else lambda: read_secret(secret))


def require_tokens(tokens: Tokens) -> None:
    """Read the tokens now, if they are in a secret. Raises `InvalidSetting`."""
    try:
        tokens.refresh()
    except StorageUnavailable as error:
        raise InvalidSetting("SHARE_API_TOKEN_SECRET", f"cannot be used: {' '.join(error.reason.split())}") from error


@functools.cache
def shares(limit: TimeLimit | None = None) -> Shares:
    """The files of this process. Raises `InvalidSetting` where the storage cannot be used at all."""
    return build_shares(settings(), limit)


@functools.cache
def proven_shares(limit: TimeLimit | None = None) -> Shares:
    """As `shares`, for functions that count or change: storage has shown that it honours conditional writes.

    Raises `InvalidSetting` where it does not, and `StorageUnavailable` where it gives no answer; then call it again.
    """
    # A directory compares under a lock of its own.
    if settings().bucket is not None:
        try:
            require_conditions(shares(limit).store)
        except StorageUnavailable as error:
            if error.lasting:
                raise _unusable(error) from error
            raise
    return shares(limit)


def when_it_answers(
    provide: Callable[[], Shares], within: float = START_WITHIN, ask_every: float = ASK_EVERY
) -> Shares:
    """What `provide` gives once storage answers, since services start in any order. Raises `InvalidSetting`."""
    deadline = time.monotonic() + within
    while True:
        try:
            return provide()
        except StorageUnavailable as error:
            if time.monotonic() + ask_every >= deadline:
                raise _unusable(error) from error
            log.warning("storage does not answer yet: %s", error.reason)
            time.sleep(ask_every)


def _unusable(error: StorageUnavailable) -> InvalidSetting:
    return InvalidSetting("SHARE_STORAGE", f"cannot be used: {' '.join(error.reason.split())}")


def build_shares(settings: Settings, limit: TimeLimit | None = None) -> Shares:
    """The use cases over the storage that the settings name."""
    return Shares(
        open_store(settings, limit),
        max_file_size=settings.max_file_size,
        lifetimes=Lifetimes(settings.default_expires_in, settings.max_expires_in),
        secret=settings.secret,
    )


def open_store(settings: Settings, limit: TimeLimit | None = None) -> ObjectStore:
    """Directory or bucket; boto3 is imported only for a bucket. Raises `InvalidSetting`."""
    try:
        if settings.bucket is not None:
            from shared.storage.s3.store import open_s3

            return open_s3(*settings.bucket, limit)
        from shared.storage.directory.store import DirectoryStore

        return DirectoryStore(Path(settings.storage), min_free_space=settings.min_free_space)
    except StorageUnavailable as error:
        raise _unusable(error) from error
