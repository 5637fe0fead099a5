"""Where settings, storage and use cases are put together: once per process, on first use."""

from __future__ import annotations

import functools
from pathlib import Path

from shared.errors import InvalidSetting, StorageUnavailable
from shared.options import Lifetimes
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.objects import ObjectStore
from shared.tokens import Tokens


@functools.cache
def settings() -> Settings:
    """The settings of this process. Raises `InvalidSetting`."""
    return Settings.from_environment()


@functools.cache
def tokens() -> Tokens:
    """The API tokens of this process. Raises `InvalidSetting`."""
    return Tokens(settings().api_tokens, settings().api_token_secret)


@functools.cache
def shares() -> Shares:
    """The files of this process. Raises `InvalidSetting` where the storage cannot be used at all."""
    return build_shares(settings())


def build_shares(chosen: Settings) -> Shares:
    """The use cases over the storage that the settings name."""
    return Shares(
        open_store(chosen),
        max_file_size=chosen.max_file_size,
        lifetimes=Lifetimes(chosen.default_expires_in, chosen.max_expires_in),
        secret=chosen.secret,
    )


def open_store(chosen: Settings) -> ObjectStore:
    """Directory or bucket; boto3 is imported only for a bucket."""
    try:
        if chosen.bucket is not None:
            from shared.storage.s3 import open_s3

            return open_s3(*chosen.bucket)
        from shared.storage.local import LocalStore

        return LocalStore(Path(chosen.storage), min_free_space=chosen.min_free_space)
    except StorageUnavailable as error:
        raise InvalidSetting("SHARE_STORAGE", f"cannot be used: {error.reason}") from error
