"""Settings: every variable, its default, and a wrong value, whose error names the variable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared import bootstrap
from shared.errors import InvalidSetting
from shared.options import Lifetimes
from shared.settings import GIB, MIB, Settings

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "share", "SHARE_STORAGE": "s3://bucket"}


def test_nothing_has_to_be_set() -> None:
    assert Settings.from_environment({}) == Settings(
        storage="./data",
        api_tokens=(),
        api_token_secret=None,
        public_url=None,
        max_file_size=10 * GIB,
        default_expires_in=None,
        max_expires_in=None,
        inline_limit=None,
        min_free_space=512 * MIB,
        cors_origins=(),
        secret=None,
        title=None,
        accent=None,
    )


# Every variable with a value, and the resulting setting.
VARIABLES: dict[str, tuple[str, Settings]] = {
    "SHARE_STORAGE": ("s3://bucket/some/prefix", Settings(storage="s3://bucket/some/prefix")),
    "SHARE_API_TOKEN": ("one, two", Settings(api_tokens=("one", "two"))),
    "SHARE_API_TOKEN_SECRET": ("share/token", Settings(api_token_secret="share/token")),
    "SHARE_PUBLIC_URL": ("https://files.example.org", Settings(public_url="https://files.example.org")),
    "SHARE_MAX_FILE_SIZE": ("1", Settings(max_file_size=1)),
    "SHARE_DEFAULT_EXPIRES_IN": ("2", Settings(default_expires_in=2)),
    "SHARE_MAX_EXPIRES_IN": ("3", Settings(max_expires_in=3)),
    "SHARE_MIN_FREE_SPACE": ("0", Settings(min_free_space=0)),
    "SHARE_CORS_ORIGINS": (
        "https://a.example, http://[::1]:81",
        Settings(cors_origins=("https://a.example", "http://[::1]:81")),
    ),
    "SHARE_SECRET": ("x" * 16, Settings(secret="x" * 16)),
    "SHARE_TITLE": ("Müller & Co", Settings(title="Müller & Co")),
    "SHARE_ACCENT": ("#0A7D5A", Settings(accent="#0a7d5a")),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_is_read_into_its_setting(name: str) -> None:
    text, settings = VARIABLES[name]
    assert Settings.from_environment({name: text}) == settings


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_environment(dict.fromkeys([*VARIABLES, "SHARE_INLINE_LIMIT"], "")) == Settings()


def test_files_cannot_live_longer_by_default_than_they_may() -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environment({"SHARE_DEFAULT_EXPIRES_IN": "2", "SHARE_MAX_EXPIRES_IN": "1"})
    assert refusal.value.name == "SHARE_DEFAULT_EXPIRES_IN"


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARE_MAX_FILE_SIZE", "7")
    assert Settings.from_environment().max_file_size == 7


STORAGES = {
    "relative directory": ("./data", None),
    "absolute directory": ("/var/lib/share", None),
    "directory with a colon": ("c:data", None),
    "bucket": ("s3://bucket", ("bucket", "")),
    "bucket with a slash": ("s3://bucket/", ("bucket", "")),
    "bucket and prefix": ("s3://my.bucket-1/a/b", ("my.bucket-1", "a/b")),
    "slashes around the prefix": ("s3://bucket//a/b/", ("bucket", "a/b")),
}


@pytest.mark.parametrize(("value", "bucket"), STORAGES.values(), ids=STORAGES.keys())
def test_storage_is_a_directory_or_a_bucket(value: str, bucket: tuple[str, str] | None) -> None:
    settings = Settings.from_environment({"SHARE_STORAGE": value})
    assert settings.storage == value
    assert settings.bucket == bucket


def test_a_slash_at_the_end_of_the_public_address_is_left_out() -> None:
    assert Settings.from_environment({"SHARE_PUBLIC_URL": "http://[::1]:8080/a/"}).public_url == "http://[::1]:8080/a"


INLINE_LIMITS = {
    "on Lambda": (LAMBDA, 4 * MIB),
    "chosen": ({**LAMBDA, "SHARE_INLINE_LIMIT": "5"}, 5),
    "nothing inline": ({**LAMBDA, "SHARE_INLINE_LIMIT": "0"}, 0),
    "bucket elsewhere": ({"SHARE_STORAGE": "s3://bucket"}, None),
    "directory": ({"SHARE_INLINE_LIMIT": "5"}, None),
    "directory on Lambda": ({"AWS_LAMBDA_FUNCTION_NAME": "share"}, None),
}


@pytest.mark.parametrize(("environment", "limit"), INLINE_LIMITS.values(), ids=INLINE_LIMITS.keys())
def test_answers_are_limited_on_lambda_and_where_a_bucket_could_send_them(
    environment: dict[str, str], limit: int | None
) -> None:
    assert Settings.from_environment(environment).inline_limit == limit


NO_NUMBERS = ["-1", "+1", "1.5", "1e3", "0x10", "1_000", " 1", "1\n", "٣", "ten", "9" * 5000]
WRONG = {
    "SHARE_STORAGE": ["s3://", "s3:///prefix", "s3://b", "s3://Bucket", "s3://bucket/ä", "gs://bucket", "file:///data"],
    "SHARE_PUBLIC_URL": [
        "files.example.org",
        "/files",
        "ftp://files.example.org",
        "javascript:alert(1)",
        "https://",
        "https://user@files.example.org",
        "https://files.example.org?x=1",
        "https://files.example.org#top",
        "https://files.example.org:0",
        "https://files.example.org:port",
        "https://[::1",
        "https://files.example.org/a b",
        "https://files.example.org/\r\nX-Injected: 1",
        "https://fïles.example.org",
    ],
    "SHARE_MAX_FILE_SIZE": ["0", str(2**50 + 1), *NO_NUMBERS],
    # After a century, dates would overflow, and then every upload would fail.
    "SHARE_DEFAULT_EXPIRES_IN": ["0", "3162240001", "1000000000000", *NO_NUMBERS],
    "SHARE_MAX_EXPIRES_IN": ["0", "3162240001", "1000000000000", *NO_NUMBERS],
    "SHARE_INLINE_LIMIT": [str(2**50 + 1), *NO_NUMBERS],
    "SHARE_MIN_FREE_SPACE": [str(2**50 + 1), *NO_NUMBERS],
    "SHARE_API_TOKEN": ["one two", "one,", ",", "schlüssel", "a\nb", "a=b"],
    "SHARE_TITLE": ["x" * 61, "two\nlines", " ", "\u202eright to left"],
    "SHARE_ACCENT": ["blue", "#fff", "#3b45d6ff", "3b45d6", "#3b45dg", "#3b45d6;}"],
    "SHARE_CORS_ORIGINS": ["*", "null", "a.example", "https://a.example/", "https://a.example,", "ftp://a.example"],
    "SHARE_SECRET": ["x" * 15],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environment({name: value})
    assert refusal.value.name == name
    assert str(refusal.value).startswith(f"{name} must ")


def test_an_inline_answer_has_to_fit_into_one_of_lambda() -> None:
    assert Settings.from_environment({**LAMBDA, "SHARE_INLINE_LIMIT": "4500000"}).inline_limit == 4_500_000
    with pytest.raises(InvalidSetting) as refusal:
        Settings.from_environment({**LAMBDA, "SHARE_INLINE_LIMIT": "4500001"})
    assert refusal.value.name == "SHARE_INLINE_LIMIT"


def test_a_century_is_allowed_and_works_for_an_upload() -> None:
    longest = Settings.from_environment({"SHARE_MAX_EXPIRES_IN": "3162240000"}).max_expires_in
    now = datetime(2026, 11, 28, tzinfo=UTC)
    assert Lifetimes(longest=longest).expiry(now, None) == now + timedelta(days=36600)


def test_a_storage_that_cannot_be_used_is_a_wrong_setting(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("settings") / "file"
    file.write_bytes(b"")
    with pytest.raises(InvalidSetting) as refusal:
        bootstrap.open_store(Settings(storage=str(file / "data")))
    assert refusal.value.name == "SHARE_STORAGE"
