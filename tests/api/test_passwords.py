"""File passwords: requested by HTTP Basic before any byte, stored as slow hashes, and checked a few at a time."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import unicodedata
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, Self

import httpx
import pytest

from shared.errors import TooManyAttempts
from shared.passwords import AT_ONCE, IN_LINE, WAITING, Passwords
from tests.api.client import (
    CHALLENGES,
    DIGITS,
    Api,
    blob_key,
    challenge,
    file_part,
    form,
    problem,
    record_key,
    stored,
    text_part,
)
from tests.wire.server import WITHIN

PASSWORD = "correct horse: battery"
PLACES = AT_ONCE + WAITING


def share(api: Api, password: str = PASSWORD, **options: str) -> dict[str, Any]:
    parts = [text_part(name, value.encode()) for name, value in {"password": password, **options}.items()]
    response = api.post(form(*parts, file_part(DIGITS)))
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def basic(password: str, user: str = "") -> dict[str, str]:
    """The headers of HTTP Basic authentication (RFC 7617) in UTF-8."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def assert_asked(response: httpx.Response) -> None:
    """Check that the answer asks for a password."""
    assert problem(response, 401)["type"].endswith("password-required")
    assert challenge(response).startswith("Basic realm=")
    assert 'charset="UTF-8"' in challenge(response)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


REFUSED: dict[str, dict[str, str]] = {
    "none": {},
    "empty": basic(""),
    "wrong": basic("wrong"),
    "in other case": basic(PASSWORD.upper()),
    "with a blank": basic(f"{PASSWORD} "),
    "as the user name": basic("", PASSWORD),
    "another scheme": {"authorization": f"Bearer {PASSWORD}"},
    "another scheme, encoded": {"authorization": f"Digest {encoded(PASSWORD.encode())}"},
    "scheme alone": {"authorization": "Basic"},
    "no base64": {"authorization": "Basic !!!"},
    "no UTF-8": {"authorization": f"Basic {encoded(b'u:' + bytes([255]))}"},
    "no colon": {"authorization": f"Basic {encoded(b'correct')}"},
    "header of the upload": {"x-password": PASSWORD},
}


@CHALLENGES
@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
def test_without_the_password_no_byte_is_sent_or_counted(api: Api, headers: dict[str, str]) -> None:
    file_id = share(api)["file_id"]
    for further in ({}, {"range": "bytes=0-3"}, {"range": "bytes=4-"}, {"if_none_match": "*"}, {"if_match": '"x"'}):
        assert_asked(api.download(file_id, **headers, **further))
    head = api.download(file_id, "HEAD", **headers)
    assert head.status_code == 401
    assert challenge(head).startswith("Basic ")
    assert "etag" not in head.headers
    assert api.count(file_id) == 0


@CHALLENGES
def test_two_authorization_headers_are_no_password(api: Api) -> None:
    file_id = share(api)["file_id"]
    value = basic(PASSWORD)["authorization"]
    headers = httpx.Headers([("authorization", value), ("authorization", value)])
    assert_asked(api.request("GET", f"/file/download/{file_id}", headers))


def test_credentials_that_are_not_ascii_are_wrong_and_no_fault(api: Api) -> None:
    headers = httpx.Headers([(b"authorization", b"Basic \xe9")])
    assert_asked(api.request("GET", f"/file/download/{share(api)['file_id']}", headers))
    assert api.request("GET", f"/file/download/{api.upload()['file_id']}", headers).status_code == 200


@CHALLENGES
@pytest.mark.parametrize("name", ["password", "token", "access_token"])
def test_a_password_is_never_read_from_a_url(api: Api, name: str) -> None:
    file_id = share(api)["file_id"]
    assert_asked(api.request("GET", f"/file/download/{file_id}", params={name: PASSWORD}))


@pytest.mark.parametrize("user", ["", "anyone", "Ünal"])
def test_the_password_opens_the_file_for_any_user(api: Api, user: str) -> None:
    file_id = share(api)["file_id"]
    whole = api.download(file_id, **basic(PASSWORD, user))
    assert whole.status_code == 200
    assert whole.content == DIGITS
    assert api.download(file_id, range="bytes=4-", **basic(PASSWORD, user)).content == DIGITS[4:]
    assert api.download(file_id, "HEAD", **basic(PASSWORD, user)).status_code == 200
    assert api.count(file_id) == 1


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
def test_the_scheme_is_read_leniently(api: Api, scheme: str) -> None:
    file_id = share(api)["file_id"]
    credentials = basic(PASSWORD)["authorization"].removeprefix("Basic ")
    assert api.download(file_id, authorization=f"{scheme} {credentials}").status_code == 200


PASSWORDS = {
    "one character": "x",
    "256 characters": "ä" * 256,
    "colons": ":a:b:",
    "blanks": "  in between  ",
    "astral": "p😀ss",
    "line break": "a\nb",
}


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
def test_any_text_can_be_a_password(api: Api, password: str) -> None:
    file_id = share(api, password)["file_id"]
    assert api.download(file_id, **basic(password)).status_code == 200
    assert_asked(api.download(file_id, **basic(password + "x")))


@pytest.mark.not_emulated("AWS does not document how its gateway decodes such a header")
def test_a_password_in_the_header_of_a_put_is_utf8(api: Api) -> None:
    headers = httpx.Headers([(b"x-password", "pä😀".encode())])
    response = api.request("PUT", "/file/upload/digits.txt", headers, DIGITS)
    assert response.status_code == 201
    assert api.download(response.json()["file_id"], **basic("pä😀")).status_code == 200


@pytest.mark.parametrize(("stored_form", "typed_form"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_one_password_from_two_keyboards_is_one(api: Api, stored_form: Any, typed_form: Any) -> None:
    file_id = share(api, unicodedata.normalize(stored_form, "Ångström"))["file_id"]
    password = unicodedata.normalize(typed_form, "Ångström")
    assert api.download(file_id, **basic(password)).status_code == 200


def test_wrong_passwords_leave_the_cap_alone(api: Api) -> None:
    file_id = share(api, max_downloads="1")["file_id"]
    for _ in range(3):
        assert_asked(api.download(file_id, **basic("wrong")))
    assert api.download(file_id, **basic(PASSWORD)).status_code == 200
    assert_asked(api.download(file_id, **basic("wrong")))


@CHALLENGES
def test_a_ticket_does_not_stand_for_the_password(api: Api) -> None:
    file_id = share(api, max_downloads="1")["file_id"]
    ticket = api.download(file_id, **basic(PASSWORD)).headers["etag"]
    assert_asked(api.download(file_id, range="bytes=4-", if_range=ticket))
    assert api.download(file_id, range="bytes=4-", if_range=ticket, **basic(PASSWORD)).status_code == 206


def test_without_the_password_nobody_learns_that_the_blob_is_missing(api: Api) -> None:
    file_id = share(api)["file_id"]
    api.objects.delete(blob_key(file_id))
    assert_asked(api.download(file_id))


def test_metadata_is_open_and_shows_neither_password_nor_hash(api: Api) -> None:
    uploaded = share(api)
    file_id = uploaded["file_id"]
    kept = json.loads(api.objects.read(record_key(file_id)))["password_hash"]
    shown = api.metadata(file_id)
    assert shown["password_protected"] is True
    assert shown["original_name"] == "digits.txt"
    listed = api.listing()[file_id]
    for text in map(json.dumps, (uploaded, shown, listed)):
        assert PASSWORD not in text
        assert not any(part in text for part in kept.split("$") if len(part) > 8)


def test_a_password_lies_in_no_object_in_clear(api: Api) -> None:
    share(api)
    keys = stored(api)
    assert len(keys) == 2, "blob and record"
    assert not any(PASSWORD.encode() in api.objects.read(key) for key in keys)


def change(api: Api, shared: dict[str, Any], password: str | None) -> dict[str, Any]:
    headers = {"content-type": "application/json", "x-delete-token": shared["delete_token"]}
    body = json.dumps({"password": password}).encode()
    response = api.request("PATCH", f"/file/{shared['file_id']}", headers, body)
    assert response.status_code == 200, response.text
    assert password is None or password not in response.text
    shown: dict[str, Any] = response.json()
    return shown


def test_a_password_can_be_removed(api: Api) -> None:
    shared = share(api)
    assert change(api, shared, None)["password_protected"] is False
    assert api.download(shared["file_id"]).status_code == 200


@CHALLENGES
def test_a_password_can_be_set_and_changed_later(api: Api) -> None:
    uploaded = api.upload()
    for password in (PASSWORD, "another"):
        assert change(api, uploaded, password)["password_protected"] is True
        assert api.download(uploaded["file_id"], **basic(password)).status_code == 200
    assert_asked(api.download(uploaded["file_id"], **basic(PASSWORD)))


def test_a_hash_is_salted_scrypt_at_the_recommended_cost() -> None:
    passwords = Passwords()
    first, second = passwords.hash(PASSWORD), passwords.hash(PASSWORD)
    assert first != second
    kind, cost, salt, derived = first.removeprefix("$").split("$")
    assert (kind, cost) == ("scrypt", "ln=14,r=8,p=5")
    raw = [base64.b64decode(text + "=" * (-len(text) % 4)) for text in (salt, derived)]
    assert len(raw[0]) == 16
    assert raw[1] == hashlib.scrypt(PASSWORD.encode(), salt=raw[0], n=2**14, r=8, p=5, maxmem=2**26, dklen=32)
    assert passwords.matches(PASSWORD, first)
    assert not passwords.matches("wrong", first)


def test_a_hash_of_another_cost_is_checked_at_that_cost() -> None:
    derived = hashlib.scrypt(PASSWORD.encode(), salt=b"salt", n=2, r=1, p=1, dklen=32)
    salt, key = (encoded(data).rstrip("=") for data in (b"salt", derived))
    assert Passwords().matches(PASSWORD, f"$scrypt$ln=1,r=1,p=1${salt}${key}")
    assert not Passwords().matches(PASSWORD, f"$scrypt$ln=2,r=1,p=1${salt}${key}")


class Gate:
    """Replaces scrypt, and blocks all callers until its context ends."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.most_at_once = 0
        self._inside = 0
        self._guard = threading.Lock()
        self._opened = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._opened.set()

    def __call__(self, data: bytes, *, dklen: int, **_rest: Any) -> bytes:
        with self._guard:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
        self.entered.release()
        assert self._opened.wait(WITHIN)
        with self._guard:
            self._inside -= 1
        return bytes(dklen)


# In the form that `hash` returns; `Gate` returns zeros.
HASH = f"$scrypt$ln=14,r=8,p=5${'A' * 22}${'A' * 43}"


def crowd(passwords: Passwords, pool: ThreadPoolExecutor, password_hash: str = HASH) -> list[Future[bool]]:
    """One more attempt at a file than there are places. Returns once one is refused, so the others all have a place."""
    attempts = [pool.submit(passwords.matches, "guess", password_hash) for _ in range(PLACES + 1)]
    (refused,) = wait(attempts, WITHIN, FIRST_EXCEPTION).done
    assert isinstance(refused.exception(), TooManyAttempts)
    return attempts


def test_guessing_at_one_file_locks_nobody_out_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, gate = Passwords(), Gate()
    monkeypatch.setattr(hashlib, "scrypt", gate)
    with ThreadPoolExecutor(PLACES + 2) as pool, gate:
        crowd(passwords, pool)
        other = pool.submit(passwords.matches, PASSWORD, HASH.replace("AAAA", "BBBB", 1))
    assert other.exception() is None


def test_guessing_at_many_files_leaves_threads_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, gate = Passwords(), Gate()
    monkeypatch.setattr(hashlib, "scrypt", gate)
    with ThreadPoolExecutor(IN_LINE + 1) as pool, gate:
        hashes = [HASH.replace("AAAA", f"{number:04}", 1) for number in range(IN_LINE + 1)]
        attempts = [pool.submit(passwords.matches, "guess", each) for each in hashes]
        (refused,) = wait(attempts, WITHIN, FIRST_EXCEPTION).done
        assert isinstance(refused.exception(), TooManyAttempts)


def test_few_passwords_are_checked_at_once_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, gate = Passwords(), Gate()
    monkeypatch.setattr(hashlib, "scrypt", gate)
    with ThreadPoolExecutor(PLACES + 1) as pool, gate:
        attempts = crowd(passwords, pool)
        for _ in range(AT_ONCE):
            assert gate.entered.acquire(timeout=WITHIN)
    assert sum(attempt.exception() is None for attempt in attempts) == PLACES
    assert gate.most_at_once == AT_ONCE
    assert passwords.matches("guess", HASH)


def test_guessing_keeps_nobody_from_setting_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, gate = Passwords(), Gate()
    monkeypatch.setattr(hashlib, "scrypt", gate)
    with ThreadPoolExecutor(PLACES + 2) as pool, gate:
        crowd(passwords, pool)
        setting = pool.submit(passwords.hash, "mine")
        for _ in range(AT_ONCE + 1):
            assert gate.entered.acquire(timeout=WITHIN)
    assert setting.result().startswith("$scrypt$")


@pytest.mark.parametrize("text", ["", "bogus", "$scrypt$ln=14$a$b", HASH + "$", HASH.replace("14", "9" * 9)])
def test_what_is_no_hash_of_ours_is_not_computed(text: str) -> None:
    with pytest.raises(ValueError, match="not a password hash"):
        Passwords().matches("guess", text)


def test_a_check_that_fails_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_data: Any, **_rest: Any) -> bytes:
        raise MemoryError

    passwords = Passwords()
    monkeypatch.setattr(hashlib, "scrypt", fail)
    for _ in range(AT_ONCE + WAITING + 1):
        with pytest.raises(MemoryError):
            passwords.hash("guess")


@pytest.mark.not_emulated("replaces code in the process of the test")
def test_while_too_many_passwords_are_checked_a_client_is_sent_away(api: Api) -> None:
    file_id, unprotected = share(api)["file_id"], api.upload()["file_id"]
    services = api.services()
    attempts = (PLACES + 1) * len(services)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(attempts) as pool, Gate() as gate:
        patch.setattr(hashlib, "scrypt", gate)
        for service in services:
            password_hash = service.shares.find(file_id).record.password_hash or ""
            crowd(service.shares.passwords, pool, password_hash)
        response = api.download(file_id, **basic(PASSWORD))
        assert problem(response, 429)["type"].endswith("too-many-attempts")
        assert int(response.headers["retry-after"]) > 0
        assert api.download(unprotected).status_code == 200
        assert_asked(api.download(file_id))
    assert api.count(file_id) == 0
    assert set(api.listing()) == {file_id, unprotected}
    assert api.download(file_id, **basic(PASSWORD)).status_code == 200
