"""Records: read strictly, kept complete, and changed exactly once whatever storage answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from msgspec import structs

from shared.errors import DamagedFile, UnknownFile
from shared.options import Encryption
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import record_key
from shared.storage.records import CODEC, DELETED, UPLOADING, Record, Records, rfc3339
from tests.interposed import InterposedStore
from tests.storage.samples import FILE_ID, LAST_ID, NOW, OTHER_ID, downloaded, record


@pytest.fixture
def records(directory: DirectoryStore) -> Records:
    return Records(directory, lambda: NOW)


# Reading and writing

EVERY_FIELD = structs.replace(
    record(),
    state=DELETED,
    expires_at=NOW + timedelta(days=1),
    max_downloads=3,
    download_count=2,
    used_up_at=NOW + timedelta(hours=1),
    password_hash="scrypt$…",
    cells=16,
    first_cell=16,
    upload_id="2~an-upload",
    announced_size=5,
    sealed=False,
    raw_until=NOW + timedelta(hours=2),
    raw_removed_since=NOW + timedelta(hours=3),
    deleted_at=NOW + timedelta(hours=4),
    encryption=Encryption("c2sp-chunked-v1-aes128gcm", "Zm9v-_"),
    inbox_id=LAST_ID,
    sender="Åsa",
    reserved_size=12,
    shared=True,
    revision=7,
    writes=(("a", 1.5), ("b", 2.0)),
    unknown={"later": {"nested": [1, None, "é"]}},
)


UNFINISHED = structs.replace(record(), state=UPLOADING, sha256=None)


@pytest.mark.parametrize("one", [record(), EVERY_FIELD, UNFINISHED], ids=lambda one: one.state)
def test_a_record_is_read_back_as_it_was_written(one: Record) -> None:
    assert CODEC.decode(FILE_ID, CODEC.encode(one)) == one


# Without the fields that later releases added.
OLDER = structs.replace(EVERY_FIELD, encryption=None, inbox_id=None, sender=None, reserved_size=None, shared=False)


def test_no_field_is_left_out_above() -> None:
    plain = record()
    assert all(
        getattr(EVERY_FIELD, field.name) != getattr(plain, field.name)
        for field in structs.fields(Record)
        if not field.required
    )


def test_a_record_that_was_created_is_found(records: Records) -> None:
    created = records.create(record())
    assert records.get(FILE_ID) == created
    assert structs.replace(created.record, revision=0, writes=()) == record()


def test_a_file_without_a_record_is_unknown(records: Records) -> None:
    with pytest.raises(UnknownFile) as unknown:
        records.get(FILE_ID)
    assert unknown.value.file_id == FILE_ID


EAST = timezone(timedelta(hours=5, minutes=30))


def test_times_are_in_utc_and_kept_exactly() -> None:
    exact = structs.replace(record(), created_at=NOW.replace(microsecond=123_456))
    assert json.loads(CODEC.encode(exact))["created_at"] == "2026-11-25T08:30:00.123456Z"
    assert CODEC.decode(FILE_ID, CODEC.encode(exact)) == exact
    with pytest.raises(ValueError, match="UTC"):
        structs.replace(record(), created_at=NOW.astimezone(EAST))


def test_times_are_shown_in_utc_to_the_millisecond() -> None:
    assert rfc3339(datetime(2026, 1, 2, tzinfo=EAST)) == "2026-01-01T18:30:00.000Z"


def test_what_a_newer_version_has_stored_survives_a_rewrite(directory: DirectoryStore, records: Records) -> None:
    newer = json.loads(CODEC.encode(record())) | {"later": {"nested": [1, None, "é"]}, "also": True}
    directory.put(record_key(FILE_ID), json.dumps(newer).encode())
    records.update(FILE_ID, downloaded)
    rewritten = json.loads(directory.read(record_key(FILE_ID))[0])
    assert (rewritten["later"], rewritten["also"], rewritten["download_count"]) == (newer["later"], True, 1)


# As earlier releases stored them.
STORED_WITH_SPACES = (
    '{"later": {"nested": [1, null, "é"]}, "file_id": "0d5a9c7e-3b0f-4c2a-9f55-6a1f0c8e7b21", "state": "deleted", '
    '"original_name": "é😀.txt", "content_type": "text/plain", "file_size": 10, '
    '"sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882", '
    '"created_at": "2026-11-25T08:30:00.123Z", "expires_at": "2026-11-26T08:30:00.123Z", "max_downloads": 3, '
    '"download_count": 2, "used_up_at": "2026-11-25T09:30:00.123Z", "password_hash": "scrypt$…", "cells": 16, '
    '"first_cell": 16, "upload_id": "2~an-upload", "announced_size": 5, "sealed": false, '
    '"raw_until": "2026-11-25T10:30:00.123Z", "raw_removed_since": "2026-11-25T11:30:00.123Z", '
    '"deleted_at": "2026-11-25T12:30:00.123Z", "revision": 7, "writes": [["a", 1.5], ["b", 2]]}'
)
STORED_BEFORE_DIRECT_UPLOADS_AND_CELLS = (
    '{"file_id": "0d5a9c7e-3b0f-4c2a-9f55-6a1f0c8e7b21", "state": "ready", "original_name": "é😀.txt", '
    '"content_type": "text/plain", "file_size": 10, '
    '"sha256": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882", '
    '"created_at": "2026-11-25T08:30:00.123Z", "expires_at": null, "max_downloads": null, "download_count": 0, '
    '"used_up_at": null, "password_hash": null, "revision": 0, "writes": []}'
)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (STORED_WITH_SPACES, OLDER),
        (STORED_BEFORE_DIRECT_UPLOADS_AND_CELLS, record()),
    ],
)
def test_records_of_older_releases_are_read(text: str, meaning: Record) -> None:
    assert CODEC.decode(FILE_ID, text.encode()) == meaning


def test_ids_are_sorted_and_continue_after_any_id(records: Records) -> None:
    for file_id in (LAST_ID, FILE_ID, OTHER_ID):
        records.create(record(file_id))
    assert list(records.ids()) == [FILE_ID, OTHER_ID, LAST_ID]
    assert list(records.ids(FILE_ID)) == [OTHER_ID, LAST_ID]
    assert list(records.ids(OTHER_ID.replace("7", "8"))) == [LAST_ID]
    assert list(records.ids(LAST_ID)) == []


def test_many_records_come_in_the_order_asked_for_without_those_that_are_gone(records: Records) -> None:
    for file_id in (FILE_ID, LAST_ID):
        records.create(record(file_id))
    assert [record.file_id for record in records.get_many([LAST_ID, OTHER_ID, FILE_ID])] == [LAST_ID, FILE_ID]


# Contents of storage that are not records

GOOD = CODEC.encode(record())


def changed(**values: object) -> bytes:
    """A valid record except for these values."""
    return json.dumps(json.loads(GOOD) | values, ensure_ascii=False, separators=(",", ":")).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(GOOD).items() if key != name}).encode()


def with_text(name: str, text: bytes) -> bytes:
    """A valid record except for one value, which is in the file literally."""
    return changed(**{name: "placeholder"}).replace(b'"placeholder"', text)


HOSTILE = {
    "empty": b"",
    "zeros": bytes(100),
    "brace": b"{",
    "cut short": GOOD[:-1],
    "more behind": GOOD + b"{}",
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "no fields": b"{}",
    "a field missing": without("file_size"),
    "no writes": without("writes"),
    "another file's": CODEC.encode(record(OTHER_ID)),
    "ID not text": changed(file_id=7),
    "state not ours": changed(state="visible"),
    "name not text": changed(original_name=None),
    "size as text": changed(file_size="10"),
    "size as a fraction": changed(file_size=10.5),
    "size as a truth": changed(file_size=True),
    "size below zero": changed(file_size=-1),
    "too many cells": changed(cells=65),
    "content type of two lines": changed(content_type="text/plain\nSet-Cookie: a=b"),
    "content type ending in a line break": changed(content_type="text/plain\n"),
    "SHA-256 cut short": changed(sha256="84d8"),
    "cap of zero": changed(max_downloads=0),
    "count below zero": changed(download_count=-1),
    "writes not a list": changed(writes={}),
    "writes not pairs": changed(writes=[["a"]]),
    "write without a time": changed(writes=[["a", None]]),
    "write at no number": changed(writes=[["a", "1"]]),
    "NaN": with_text("file_size", b"NaN"),
    "NaN in a list": with_text("writes", b'[["a", NaN]]'),
    "Infinity where it is unknown": with_text("later", b"Infinity"),
    "a float too large": with_text("later", b"1e999"),
    "an integer too large for a float": with_text("writes", b'[["a", 1' + b"0" * 400 + b"]]"),
    "5,000 digits": with_text("file_size", b"9" * 5_000),
    "a key twice": GOOD[:-1] + b', "file_size": 11}',
    "a key twice where it is unknown": with_text("later", b'{"a": 1, "a": 2}'),
    "3,000 nested": b"[" * 3_000,
    "3,000 nested and closed": b"[" * 3_000 + b"]" * 3_000,
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "not UTF-8": GOOD.replace("é".encode(), b"\xe9"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "lone surrogate": with_text("original_name", b'"\\ud800.txt"'),
    "lone surrogate where it is unknown": with_text("later", b'["\\udfff"]'),
    "time without a zone": changed(created_at="2026-11-25T08:30:00"),
    "no time": changed(created_at="soon"),
    "time of another zone": changed(created_at="2026-11-25T08:30:00+05:30"),
    "time as a number": changed(created_at=1795595400),
    "time before all time": changed(created_at="0001-01-01T00:00:00+12:00"),
    "time after all time": changed(expires_at="9999-12-31T23:59:59-12:00"),
}

EVERY_HOSTILE = pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())


@EVERY_HOSTILE
def test_what_is_not_a_record_is_damage(directory: DirectoryStore, records: Records, data: bytes) -> None:
    directory.put(record_key(FILE_ID), data)
    with pytest.raises(DamagedFile) as damage:
        records.get(FILE_ID)
    assert damage.value.file_id == FILE_ID


@EVERY_HOSTILE
def test_damage_is_left_out_of_many_with_one_line_in_the_log(
    directory: DirectoryStore, records: Records, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    records.create(record(OTHER_ID))
    records.create(record(LAST_ID))
    directory.put(record_key(FILE_ID), data)
    stored = list(records.get_many([OTHER_ID, FILE_ID, LAST_ID]))
    assert [one.file_id for one in stored] == [OTHER_ID, LAST_ID]
    lines = [line.getMessage() for line in caplog.records if line.levelno == logging.ERROR]
    assert len(lines) == 1
    assert FILE_ID in lines[0]
    assert "\n" not in lines[0]


def test_a_damaged_record_is_not_overwritten(directory: DirectoryStore, records: Records) -> None:
    directory.put(record_key(FILE_ID), b"{")
    with pytest.raises(DamagedFile):
        records.update(FILE_ID, downloaded)
    assert directory.read(record_key(FILE_ID))[0] == b"{"


# Changes without faults


def test_an_update_stores_the_changed_record(records: Records) -> None:
    records.create(record())
    updated = records.update(FILE_ID, downloaded)
    assert updated.record.download_count == 1
    assert records.get(FILE_ID) == updated


def test_every_write_is_one_revision_more_and_remembered_where_it_may_get_no_answer(directory: DirectoryStore) -> None:
    records = Records(InterposedStore(directory), lambda: NOW)
    stored = [records.create(record()), *(records.update(FILE_ID, downloaded) for _ in range(3))]
    assert [one.record.revision for one in stored] == [1, 2, 3, 4]
    assert len({write_id for write_id, _ in stored[-1].record.writes}) == 4


def test_a_directory_always_answers_so_a_record_keeps_only_its_last_write(records: Records) -> None:
    """Every download reads the record: with the 256 writes that a busy file kept, one worker was 1.14 times as slow."""
    records.create(record())
    first, second = (records.update(FILE_ID, downloaded).record for _ in range(2))
    assert [len(first.writes), len(second.writes)] == [1, 1]
    assert first.writes != second.writes


def test_a_change_that_returns_its_argument_writes_nothing(directory: DirectoryStore, records: Records) -> None:
    created = records.create(record())
    assert records.update(FILE_ID, lambda old: old) == created
    assert directory.read(record_key(FILE_ID))[1] == created.etag


def test_a_change_may_refuse(directory: DirectoryStore, records: Records) -> None:
    def refuse(old: Record) -> Record:
        raise UnknownFile(old.file_id)

    created = records.create(record())
    with pytest.raises(UnknownFile):
        records.update(FILE_ID, refuse)
    assert records.get(FILE_ID) == created


@pytest.mark.parametrize("change", [downloaded, lambda old: old], ids=["a change", "no change"])
def test_a_file_that_was_never_made_is_not_made_by_an_update(
    directory: DirectoryStore, records: Records, change: Callable[[Record], Record]
) -> None:
    with pytest.raises(UnknownFile):
        records.update(FILE_ID, change)
    assert list(directory.list("metadata/")) == []
