"""Puts settings, tokens, storage and use cases together."""

from __future__ import annotations

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


class Service:
    """Settings, tokens and use cases, shared by the endpoints of one process."""

    def __init__(
        self, settings: Settings, tokens: Tokens, shares: Shares, *, prove: Callable[[Shares], None] | None = None
    ) -> None:
        self.settings = settings
        self.tokens = tokens
        self._shares = shares
        self._prove = prove

    @classmethod
    def open(cls, settings: Settings, limit: TimeLimit | None = None, *, reads_only: bool = False) -> Service:
        """Create the service for these settings. Raises `InvalidSetting` if the storage is unusable.

        Unless the service `reads_only`, storage must prove that it honours conditional writes.
        """
        secret = settings.api_token_secret
        tokens = Tokens(settings.api_tokens, None if secret is None else lambda: read_secret(secret))
        # A directory needs no proof: it compares under a lock.
        prove = None if reads_only or settings.bucket is None else prove_conditions
        return cls(settings, tokens, build_shares(settings, limit), prove=prove)

    @property
    def shares(self) -> Shares:
        """The use cases, after storage has proven that it honours conditional writes.

        Raises `InvalidSetting` if it does not, and `StorageUnavailable` if it does not answer; then try again.
        """
        if self._prove is not None:
            self._prove(self._shares)
            self._prove = None
        return self._shares


def prove_conditions(shares: Shares) -> None:
    """Raises `InvalidSetting` if storage ignores conditional writes, and `StorageUnavailable` if it does not answer."""
    try:
        require_conditions(shares.store)
    except StorageUnavailable as error:
        if error.lasting:
            raise _unusable(error) from error
        raise


def require_tokens(tokens: Tokens) -> None:
    """Read the tokens now if they are in a secret. Raises `InvalidSetting`."""
    try:
        tokens.refresh()
    except StorageUnavailable as error:
        raise InvalidSetting("SHARE_API_TOKEN_SECRET", f"cannot be used: {' '.join(error.reason.split())}") from error


def wait_for_storage(service: Service, within: float = START_WITHIN, ask_every: float = ASK_EVERY) -> None:
    """Wait until storage answers and is proven, because services start in any order. Raises `InvalidSetting`."""
    deadline = time.monotonic() + within
    while True:
        try:
            _ = service.shares
            return
        except StorageUnavailable as error:
            if time.monotonic() + ask_every >= deadline:
                raise _unusable(error) from error
            log.warning("storage does not answer yet: %s", error.reason)
            time.sleep(ask_every)


def _unusable(error: StorageUnavailable) -> InvalidSetting:
    return InvalidSetting("SHARE_STORAGE", f"cannot be used: {' '.join(error.reason.split())}")


def build_shares(settings: Settings, limit: TimeLimit | None = None) -> Shares:
    """The use cases with the storage from the settings."""
    return Shares(
        open_store(settings, limit),
        max_file_size=settings.max_file_size,
        lifetimes=Lifetimes(settings.default_expires_in, settings.max_expires_in),
        secret=settings.secret,
    )


def open_store(settings: Settings, limit: TimeLimit | None = None) -> ObjectStore:
    """Open the directory or bucket; botocore is imported only for a bucket. Raises `InvalidSetting`."""
    try:
        if settings.bucket is not None:
            from shared.storage.s3.store import open_s3

            return open_s3(*settings.bucket, limit)
        from shared.storage.directory.store import DirectoryStore

        return DirectoryStore(Path(settings.storage), min_free_space=settings.min_free_space)
    except StorageUnavailable as error:
        raise _unusable(error) from error
