"""Where settings, storage and use cases are put together: once per process, on first use."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.errors import InvalidSetting, StorageUnavailable
from shared.options import Lifetimes
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.objects import ObjectStore
from shared.tokens import Tokens

Observe = Callable[[str, float], None]


class Observer:
    """Passes on what happens far below to whoever listens, which is one at a time, or else to nobody."""

    def __init__(self) -> None:
        self._observe: Observe | None = None

    @contextlib.contextmanager
    def listening(self, observe: Observe) -> Iterator[None]:
        self._observe = observe
        try:
            yield
        finally:
            self._observe = None

    def count(self, name: str) -> None:
        # Storage's threads may outlive an invocation, and so whoever listened to it.
        observe = self._observe
        if observe is not None:
            observe(name, 1)


@functools.cache
def settings() -> Settings:
    """The settings of this process. Raises `InvalidSetting`."""
    return Settings.from_environment()


@functools.cache
def observer() -> Observer:
    """What the files of this process report to."""
    return Observer()


@functools.cache
def tokens() -> Tokens:
    """The API tokens of this process. Raises `InvalidSetting`."""
    return Tokens(settings().api_tokens, settings().api_token_secret)


@functools.cache
def shares() -> Shares:
    """The files of this process. Raises `InvalidSetting` where the storage cannot be used at all."""
    return build_shares(settings(), observer())


def build_shares(chosen: Settings, observer: Observer | None = None) -> Shares:
    """The use cases over the storage that the settings name."""
    count = (observer or Observer()).count
    return Shares(
        open_store(chosen),
        max_file_size=chosen.max_file_size,
        lifetimes=Lifetimes(chosen.default_expires_in, chosen.max_expires_in),
        secret=chosen.secret,
        on_conflict=lambda: count("CounterConflicts"),
        on_retry=lambda: count("Retries"),
    )


def open_store(chosen: Settings) -> ObjectStore:
    """Directory or bucket; boto3 is imported only for a bucket, and the X-Ray SDK only where tracing is on."""
    store = _untraced(chosen)
    if not chosen.tracing:
        return store
    from aws_xray_sdk.core import xray_recorder  # type: ignore[import-untyped]

    from shared.storage.traced import TracedStore

    return TracedStore(store, xray_recorder)


def _untraced(chosen: Settings) -> ObjectStore:
    try:
        if chosen.bucket is not None:
            from shared.storage.s3 import open_s3

            return open_s3(*chosen.bucket)
        from shared.storage.local import LocalStore

        return LocalStore(Path(chosen.storage), min_free_space=chosen.min_free_space)
    except StorageUnavailable as error:
        raise InvalidSetting("SHARE_STORAGE", f"cannot be used: {error.reason}") from error
