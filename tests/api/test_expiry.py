"""Expiry: a file is available until the exact instant, and then gone on every route, whatever the clock does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

from functions.app import ROUTERS
from shared.bootstrap import Service
from shared.http.app import build_app
from shared.options import Lifetimes
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.tokens import Tokens
from tests.api.client import DIGITS, Api, DirectoryObjects, WholeApp, file_part, form, problem, text_part
from tests.api.test_direct_upload import DirectUpload
from tests.clock import Clock

NOON = datetime(2026, 3, 29, 12, 0, 0, 250_000, tzinfo=UTC)
HOUR = 3600
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def timed(tmp_path: Path, loop: asyncio.AbstractEventLoop, clock: Clock) -> Api:
    """The whole application with a directory and a clock that tests control."""

    def never(_name: str, _value: str) -> NoReturn:
        raise AssertionError("these settings are fixed")

    store = DirectoryStore(tmp_path / "data", min_free_space=0)
    shares = Shares(store, max_file_size=1000, lifetimes=Lifetimes(), clock=clock)
    app = build_app(*ROUTERS, service=Service(Settings(), Tokens(), shares))
    return Api(WholeApp(app, loop), "http://share.test:8080", DirectoryObjects(tmp_path / "data"), never)


def share(api: Api, **options: int) -> dict[str, Any]:
    parts = [text_part(name, str(value).encode()) for name, value in options.items()]
    response = api.post(form(*parts, file_part(DIGITS)))
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def change(api: Api, shared: dict[str, Any], **options: int | None) -> httpx.Response:
    headers = {"content-type": "application/json", "x-delete-token": shared["delete_token"]}
    return api.request("PATCH", f"/file/{shared['file_id']}", headers, json.dumps(options).encode())


def assert_expired(response: httpx.Response) -> None:
    assert problem(response, 410)["type"].endswith("expired")


def test_a_file_is_there_until_a_second_before(timed: Api, clock: Clock) -> None:
    file_id = share(timed, expires_in=HOUR)["file_id"]
    clock.now = NOON + timedelta(seconds=HOUR) - SECOND
    assert timed.download(file_id).content == DIGITS
    assert timed.download(file_id, range="bytes=4-").status_code == 206
    assert timed.download(file_id, "HEAD").status_code == 200
    assert timed.metadata(file_id)["download_count"] == 1
    assert set(timed.listing()) == {file_id}


def test_an_upload_in_parts_expires_after_a_week(timed: Api, clock: Clock) -> None:
    upload = DirectUpload(timed)
    url, part = upload.url(2), upload.send(1, DIGITS)
    clock.now = NOON + timedelta(days=7) - SECOND
    assert upload.parts() == [{**part, "Size": len(DIGITS)}]
    clock.now = NOON + timedelta(days=7)
    for answer in (upload.ask("GET"), upload.ask("GET", "/2"), upload.put(url, DIGITS), upload.complete([part])):
        problem(answer, 404)


GONE = {"exactly": timedelta(0), "a second later": SECOND, "a year later": timedelta(days=365)}


@pytest.mark.parametrize("later", GONE.values(), ids=GONE.keys())
def test_a_file_is_gone_everywhere_from_the_instant_on(timed: Api, clock: Clock, later: timedelta) -> None:
    shared = share(timed, expires_in=HOUR)
    file_id = shared["file_id"]
    clock.now = NOON + timedelta(seconds=HOUR) + later
    for headers in ({}, {"range": "bytes=0-3"}, {"range": "bytes=4-"}, {"if_none_match": "*"}, {"if_match": '"x"'}):
        assert_expired(timed.download(file_id, **headers))
    assert_expired(timed.request("GET", f"/file/metadata/{file_id}"))
    for endpoint in ("download", "metadata"):
        assert timed.request("HEAD", f"/file/{endpoint}/{file_id}").status_code == 410
    assert_expired(change(timed, shared, expires_in=HOUR))
    assert_expired(timed.request("DELETE", f"/file/{file_id}", {"x-delete-token": shared["delete_token"]}))
    assert timed.listing() == {}


def test_an_expired_files_page_says_so(timed: Api, clock: Clock) -> None:
    file_id = share(timed, expires_in=HOUR)["file_id"]
    clock.now = NOON + timedelta(seconds=HOUR)
    response = timed.request("GET", f"/download/{file_id}")
    assert (response.status_code, response.headers["content-type"]) == (410, "text/html; charset=utf-8")
    assert "expired" in response.text


def test_an_expired_file_hides_its_password(timed: Api, clock: Clock) -> None:
    response = timed.post(form(text_part("password", b"p"), text_part("expires_in", b"60"), file_part(DIGITS)))
    clock.now = NOON + timedelta(seconds=60)
    assert_expired(timed.download(response.json()["file_id"]))


def test_a_file_without_expiry_stays(timed: Api, clock: Clock) -> None:
    file_id = timed.upload()["file_id"]
    clock.now = NOON + timedelta(days=36_500)
    assert timed.download(file_id).status_code == 200
    assert timed.metadata(file_id)["expires_at"] is None


def test_an_expired_file_stays_out_of_a_list_of_others(timed: Api, clock: Clock) -> None:
    stays = share(timed, expires_in=HOUR + 1)["file_id"]
    for _ in range(3):
        share(timed, expires_in=HOUR)
    clock.now = NOON + timedelta(seconds=HOUR)
    page = timed.request("GET", "/file/metadata/", params={"limit": "1"})
    assert set(page.json()) == {stays}
    assert "link" not in page.headers


def test_a_ticket_ends_with_its_file(timed: Api, clock: Clock) -> None:
    file_id = share(timed, expires_in=60, max_downloads=2)["file_id"]
    ticket = timed.download(file_id).headers["etag"]
    clock.now = NOON + timedelta(seconds=60)
    assert_expired(timed.download(file_id, range="bytes=4-", if_range=ticket))


def test_a_ticket_is_worth_nothing_a_day_after(timed: Api, clock: Clock) -> None:
    file_id = share(timed, max_downloads=2)["file_id"]
    ticket = timed.download(file_id).headers["etag"]
    clock.now = NOON + timedelta(days=1)
    assert timed.download(file_id, range="bytes=4-", if_range=ticket).status_code == 206
    assert timed.count(file_id) == 1
    clock.now = NOON + timedelta(days=1) + SECOND
    assert timed.download(file_id, range="bytes=4-", if_range=ticket).status_code == 200
    assert timed.count(file_id) == 2


def test_expiry_and_creation_are_exactly_as_far_apart_as_was_asked(timed: Api) -> None:
    answer = share(timed, expires_in=HOUR)
    assert answer["created_at"] == "2026-03-29T12:00:00.250Z"
    assert answer["expires_at"] == "2026-03-29T13:00:00.250Z"


def test_a_changed_lifetime_counts_from_the_change(timed: Api, clock: Clock) -> None:
    shared = share(timed, expires_in=60)
    clock.now = NOON + timedelta(seconds=30)
    assert change(timed, shared, expires_in=60).json()["expires_at"] == "2026-03-29T12:01:30.250Z"
    clock.now = NOON + timedelta(seconds=90) - SECOND
    assert timed.download(shared["file_id"]).status_code == 200
    clock.now = NOON + timedelta(seconds=90)
    assert_expired(timed.download(shared["file_id"]))


def test_a_lifetime_that_is_removed_ends_nothing(timed: Api, clock: Clock) -> None:
    shared = share(timed, expires_in=60)
    assert change(timed, shared, expires_in=None).json()["expires_at"] is None
    clock.now = NOON + timedelta(days=365)
    assert timed.download(shared["file_id"]).status_code == 200


def test_a_clock_that_is_set_back_hides_nothing(timed: Api, clock: Clock) -> None:
    file_id = share(timed, expires_in=60, max_downloads=2)["file_id"]
    clock.now = NOON - timedelta(hours=2)
    assert timed.download(file_id).content == DIGITS
    assert timed.count(file_id) == 1
    assert set(timed.listing()) == {file_id}


def test_a_ticket_is_worth_as_much_where_the_clock_is_behind(timed: Api, clock: Clock) -> None:
    file_id = share(timed, max_downloads=1)["file_id"]
    ticket = timed.download(file_id).headers["etag"]
    clock.now = NOON - SECOND
    assert timed.download(file_id, range="bytes=4-", if_range=ticket).status_code == 206


@pytest.fixture(params=["Pacific/Auckland", "America/Los_Angeles"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone of the process."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_the_zone_of_the_server_has_no_influence(timed: Api, clock: Clock) -> None:
    answer = share(timed, expires_in=HOUR)
    file_id = answer["file_id"]
    assert answer["created_at"] == "2026-03-29T12:00:00.250Z"
    assert answer["expires_at"] == "2026-03-29T13:00:00.250Z"
    # A few seconds earlier, so that it is never later than the server's Date.
    assert timed.download(file_id, "HEAD").headers["last-modified"] == "Sun, 29 Mar 2026 11:59:55 GMT"
    keys = timed.objects.keys()
    assert f"expiries/2026-03-29T13/{file_id}" in keys
    clock.now = NOON + timedelta(seconds=HOUR) - SECOND
    assert timed.download(file_id).status_code == 200
    clock.now = NOON + timedelta(seconds=HOUR)
    assert_expired(timed.download(file_id))


def test_a_file_outlives_a_move_of_its_server(timed: Api, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = share(timed, expires_in=HOUR)["file_id"]
    for zone in ("Pacific/Auckland", "America/Los_Angeles"):
        with monkeypatch.context() as environment:
            environment.setenv("TZ", zone)
            time.tzset()
            clock.now = NOON + timedelta(seconds=HOUR) - SECOND
            assert timed.download(file_id).status_code == 200
            clock.now = NOON + timedelta(seconds=HOUR)
            assert_expired(timed.download(file_id))
    time.tzset()
