"""Access tokens, configured or in a secret: rotated without a restart, and valid for a while if it is unreadable."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping

import boto3.session
import pytest

from functions.app import ROUTERS
from shared import bootstrap
from shared.bootstrap import Service
from shared.errors import InvalidSetting, StorageUnavailable
from shared.http.app import build_app
from shared.settings import Settings
from shared.tokens import KEEP_FOR, READ_AGAIN_AFTER, READ_EVERY, Tokens, read_secret
from tests.api.client import Api, Objects, WholeApp
from tests.environment import service
from tests.servers import REGION, S3Server


class Secret:
    """A secret that can be readable or not, and counts its reads."""

    def __init__(self, text: str) -> None:
        self.text: str | None = text
        self.now = 1_000_000.0
        self.asked = 0

    def read(self) -> str:
        self.asked += 1
        if self.text is None:
            raise StorageUnavailable("AccessDeniedException")
        return self.text

    def tokens(self, *values: str) -> Tokens:
        return Tokens(values, self.read, lambda: self.now)


@pytest.fixture
def secret() -> Secret:
    return Secret("one, two")


def test_without_tokens_none_is_required() -> None:
    tokens = Tokens()
    assert not tokens.required
    assert not tokens.stale
    tokens.refresh()
    assert not tokens.accept("one")


def test_given_tokens_and_those_in_the_secret_count(secret: Secret) -> None:
    tokens = secret.tokens("given")
    assert tokens.required
    assert [tokens.accept(token) for token in ("given", "one", "two", "one, two", "", "ön")] == [True] * 3 + [False] * 3
    assert secret.asked == 1


def test_a_secret_is_read_anew_after_five_minutes(secret: Secret) -> None:
    tokens = secret.tokens()
    tokens.refresh()
    secret.text = "three"
    secret.now += READ_EVERY - 1
    assert tokens.accept("one")
    secret.now += 1
    assert tokens.stale
    assert (tokens.accept("one"), tokens.accept("three")) == (False, True)
    assert secret.asked == 2


def test_a_secret_that_cannot_be_read_anew_counts_for_an_hour(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    tokens = secret.tokens()
    tokens.refresh()
    secret.text = None
    secret.now += READ_EVERY
    assert tokens.accept("one")
    assert "AccessDeniedException" in caplog.text
    secret.now += KEEP_FOR - READ_EVERY - 1
    assert tokens.accept("one")
    secret.now += 1
    with pytest.raises(StorageUnavailable):
        tokens.accept("one")


def test_a_secret_that_was_never_read_lets_nobody_in(secret: Secret) -> None:
    secret.text = None
    tokens = secret.tokens()
    assert tokens.required
    with pytest.raises(StorageUnavailable):
        tokens.accept("one")
    secret.text = "one"
    secret.now += READ_AGAIN_AFTER
    assert tokens.accept("one")


def test_an_outage_is_not_asked_about_with_every_request(secret: Secret) -> None:
    tokens = secret.tokens()
    tokens.refresh()
    secret.text = None
    secret.now += READ_EVERY
    for _ in range(10):
        assert tokens.accept("two")
    assert secret.asked == 2
    secret.now += READ_AGAIN_AFTER
    assert tokens.accept("two")
    assert secret.asked == 3


def test_a_clock_that_was_set_back_keeps_no_old_token_alive(secret: Secret) -> None:
    tokens = secret.tokens()
    tokens.refresh()
    secret.now -= 10 * KEEP_FOR
    secret.text = "three"
    assert not tokens.accept("one")


def test_an_empty_secret_lets_nobody_in(secret: Secret) -> None:
    secret.text = " , "
    tokens = secret.tokens()
    assert tokens.required
    assert not any(tokens.accept(token) for token in ("", " ", ","))


# In Secrets Manager


@pytest.fixture
def account(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    """The environment for moto's Secrets Manager, with a secret in it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("secretsmanager", region_name=REGION)
    client.create_secret(Name="tokens", SecretString="one,two")
    client.create_secret(Name="bytes", SecretBinary=b"one")
    yield s3_server.environment()
    for name in ("tokens", "bytes"):
        client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_a_secret_is_read_from_secrets_manager(account: Mapping[str, str]) -> None:
    assert read_secret("tokens") == "one,two"


@pytest.mark.parametrize("name", ["missing", "bytes"])
def test_a_secret_without_text_is_unavailable(account: Mapping[str, str], name: str) -> None:
    with pytest.raises(StorageUnavailable, match="the secret with the access tokens"):
        read_secret(name)


def test_a_server_does_not_start_without_its_tokens(account: Mapping[str, str]) -> None:
    bootstrap.require_tokens(Tokens())
    bootstrap.require_tokens(Tokens((), lambda: read_secret("tokens")))
    with pytest.raises(InvalidSetting, match=r"^SHARE_API_TOKEN_SECRET cannot be used: ") as refusal:
        bootstrap.require_tokens(Tokens((), lambda: read_secret("missing")))
    assert "\n" not in str(refusal.value)


# In front of the API


def test_tokens_that_cannot_be_read_are_a_503_and_never_an_open_door(
    in_directory: Objects, configure: Callable[[str, str], None], loop: asyncio.AbstractEventLoop, secret: Secret
) -> None:
    secret.text = None
    tokens = secret.tokens()
    app = build_app(*ROUTERS, service=Service(Settings(), tokens, service().shares))
    api = Api(WholeApp(app, loop), "http://share.test", in_directory, configure)
    bearer = {"Authorization": "Bearer one"}
    upload = "/file/upload?filename=a"
    for method, path in (("PUT", upload), ("GET", "/file/metadata")):
        refused = api.request(method, path, bearer)
        assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
        assert "Retry-After" in refused.headers
        assert api.request(method, path).status_code in (401, 503)
    assert in_directory.keys() == []
    # Requests that need no token still work.
    assert api.request("GET", "/health").status_code == 200
    secret.text = "one"
    secret.now += READ_AGAIN_AFTER
    assert api.request("PUT", upload, content=b"a").status_code == 401
    assert api.request("PUT", upload, bearer, b"a").status_code == 201
