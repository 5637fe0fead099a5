"""The settings of the service. Only this module reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import InvalidSetting
from shared.options import MAX_EXPIRES_IN

MIB = 1024 * 1024
GIB = 1024 * MIB
# Larger than any file, and exact as a number in JavaScript.
MAX_SIZE = 2**50
# A Lambda function can answer at most 6 MB, and base64 and headers leave this much for the file.
LAMBDA_MAX_INLINE = 4_500_000
LAMBDA_INLINE_LIMIT = 4 * MIB
# Each file in a list takes one read from S3, and all reads must fit into the time limit of a function.
LAMBDA_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MIN_SECRET_LENGTH = 16
MAX_TITLE_LENGTH = 60

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]*", re.ASCII)
# Clients can send only what RFC 6750 §2.1 allows in a bearer token.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")


@dataclass(frozen=True)
class Settings:
    """Sizes are in bytes, times in seconds. docs/settings.md explains each variable."""

    storage: str = "./data"
    api_tokens: tuple[str, ...] = ()
    api_token_secret: str | None = None
    public_url: str | None = None
    max_file_size: int = 10 * GIB
    default_expires_in: int | None = None
    max_expires_in: int | None = None
    inline_limit: int | None = None
    page_size: int = MAX_PAGE_SIZE
    min_free_space: int = 512 * MIB
    cors_origins: tuple[str, ...] = ()
    secret: str | None = None
    title: str | None = None
    accent: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; an empty value counts as unset. Raises `InvalidSetting`, which names the variable."""
        storage = _storage(environment.get("SHARE_STORAGE") or cls.storage)
        on_lambda = "AWS_LAMBDA_FUNCTION_NAME" in environment
        inline_limit = _number(environment, "SHARE_INLINE_LIMIT", 0, LAMBDA_MAX_INLINE if on_lambda else MAX_SIZE)
        if inline_limit is None and on_lambda:
            inline_limit = LAMBDA_INLINE_LIMIT
        longest = _number(environment, "SHARE_MAX_EXPIRES_IN", 1, MAX_EXPIRES_IN)
        default = _number(environment, "SHARE_DEFAULT_EXPIRES_IN", 1, MAX_EXPIRES_IN)
        if default is not None and longest is not None and default > longest:
            raise InvalidSetting("SHARE_DEFAULT_EXPIRES_IN", "must not exceed SHARE_MAX_EXPIRES_IN")
        return cls(
            storage=storage,
            api_tokens=_list(environment, "SHARE_API_TOKEN", _TOKEN, "tokens of letters, digits and -._~+/"),
            api_token_secret=environment.get("SHARE_API_TOKEN_SECRET") or None,
            public_url=_public_url(environment.get("SHARE_PUBLIC_URL") or None),
            max_file_size=_number(environment, "SHARE_MAX_FILE_SIZE", 1, MAX_SIZE) or cls.max_file_size,
            default_expires_in=default,
            max_expires_in=longest,
            inline_limit=inline_limit if storage.startswith("s3://") else None,
            page_size=LAMBDA_PAGE_SIZE if on_lambda else cls.page_size,
            min_free_space=_number(environment, "SHARE_MIN_FREE_SPACE", 0, MAX_SIZE, cls.min_free_space) or 0,
            cors_origins=_list(environment, "SHARE_CORS_ORIGINS", _ORIGIN, "origins such as https://example.org"),
            secret=_secret(environment.get("SHARE_SECRET") or None),
            title=_title(environment.get("SHARE_TITLE") or None),
            accent=_accent(environment.get("SHARE_ACCENT") or None),
        )

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix if storage is S3, else None."""
        if not self.storage.startswith("s3://"):
            return None
        bucket, _, prefix = self.storage.removeprefix("s3://").partition("/")
        return bucket, prefix.strip("/")


def lambda_handler_name(environment: Mapping[str, str] = os.environ) -> str | None:
    """The handler that this process runs on Lambda, as module and name; None anywhere else."""
    return environment.get("_HANDLER")


def _storage(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator:
        return value
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or not _PREFIX.fullmatch(prefix):
        raise InvalidSetting("SHARE_STORAGE", "must be a directory or s3://bucket/prefix")
    return value


def _public_url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        usable = usable and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidSetting("SHARE_PUBLIC_URL", "must be a URL such as https://files.example.org")
    return value.rstrip("/")


def _list(environment: Mapping[str, str], name: str, item: re.Pattern[str], kind: str) -> tuple[str, ...]:
    text = environment.get(name)
    values = tuple(value.strip() for value in text.split(",")) if text else ()
    if not all(map(item.fullmatch, values)):
        raise InvalidSetting(name, f"must be {kind}, separated by commas")
    return values


def _secret(value: str | None) -> str | None:
    if value is not None and len(value) < MIN_SECRET_LENGTH:
        raise InvalidSetting("SHARE_SECRET", f"must have at least {MIN_SECRET_LENGTH} characters")
    return value


def _title(value: str | None) -> str | None:
    if value is not None and (len(value) > MAX_TITLE_LENGTH or not value.isprintable() or not value.strip()):
        raise InvalidSetting("SHARE_TITLE", f"must be text of at most {MAX_TITLE_LENGTH} characters")
    return value


def _accent(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
        raise InvalidSetting("SHARE_ACCENT", "must be a colour such as #3b45d6")
    return value and value.lower()


def _number(environment: Mapping[str, str], name: str, least: int, most: int, default: int | None = None) -> int | None:
    text = environment.get(name) or ""
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise InvalidSetting(name, f"must be a whole number from {least} to {most}")
    return int(text)
