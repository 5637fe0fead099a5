"""Health: whether storage answers, without details about it."""

from __future__ import annotations

import time

import pytest

from functions.health import ASK_EVERY
from shared.errors import StorageUnavailable
from tests.api.client import EMULATED, Api, problem


@pytest.mark.parametrize("path", ["/health", "/health/"])
def test_a_service_whose_storage_answers_is_well(api: Api, path: str) -> None:
    response = api.request("GET", path)
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}
    assert api.request("HEAD", path).status_code == 200


@pytest.mark.not_emulated("replaces code in the process of the test")
def test_a_service_whose_storage_does_not_answer_is_unwell(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise StorageUnavailable("s3cret reason")

    monkeypatch.setattr("shared.sharing.Shares.check", fail)
    response = api.request("GET", "/health")
    problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert "s3cret" not in response.text


@pytest.mark.not_emulated("replaces code in the process of the test")
def test_storage_that_answers_is_asked_once_a_second_and_storage_that_does_not_each_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, well = 0, False

    def check(*_arguments: object) -> None:
        nonlocal asked
        asked += 1
        if not well:
            raise StorageUnavailable("reason")

    monkeypatch.setattr("shared.sharing.Shares.check", check)
    assert [api.request("GET", "/health").status_code for _ in range(3)] == [503] * 3
    assert asked == 3
    well = True
    began = time.monotonic()
    assert {api.request("GET", "/health").status_code for _ in range(20)} == {200}
    assert asked - 3 <= 1 + (time.monotonic() - began) / ASK_EVERY


@pytest.mark.parametrize("api", ["s3", "functions", EMULATED], indirect=True)
def test_a_bucket_that_does_not_exist_is_no_storage(api: Api) -> None:
    api.configure("SHARE_STORAGE", "s3://no-such-bucket")
    problem(api.request("GET", "/health"), 503)
