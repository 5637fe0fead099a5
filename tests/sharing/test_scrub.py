"""Scrub: what it finds, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from shared.errors import DamagedFile, StorageUnavailable
from shared.options import Options
from shared.scrub import main, scrub
from shared.sharing import Shares, Stored
from shared.storage.blobs import HEAD_SIZE
from shared.storage.keys import blob_key, record_key
from shared.uploads import Upload
from tests.clock import DAY, Clock
from tests.interposed import InterposedStore, Killed, dies_after
from tests.sharing.shares import contents, download, shares_over, upload

DATA = b"0123456789"

Damage = Callable[[Path, Path], object]
"""Damages the blob and the record of a file."""


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, Damage] = {
    "truncated by one byte": lambda blob, _: rewrite(blob, lambda data: data[:-1]),
    "truncated in its head": lambda blob, _: rewrite(blob, lambda data: data[:5]),
    "empty": lambda blob, _: blob.write_bytes(b""),
    "one byte longer": lambda blob, _: rewrite(blob, lambda data: data + b"."),
    "altered": lambda blob, _: rewrite(blob, lambda data: data.replace(b"5", b"6")),
    "zeroed": lambda blob, _: rewrite(blob, lambda data: bytes(len(data))),
    "of another protocol": lambda blob, _: rewrite(blob, lambda data: b"\x80\x05" + data[2:]),
    "of another length": lambda blob, _: rewrite(blob, lambda data: data[:3] + b"\x09" + data[4:]),
    "without its STOP": lambda blob, _: rewrite(blob, lambda data: data[:-1] + b"0"),
    "missing": lambda blob, _: blob.unlink(),
    "with a record that is none": lambda _, record: record.write_bytes(b"{"),
    "with an empty record": lambda _, record: record.write_bytes(b""),
    "with another file's record": lambda _, record: rewrite(record, lambda data: data.replace(b'id":"', b'id":"0')),
}


def report_of(shares: Shares) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return scrub(shares, lines.append), lines


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_file_of_any_size_is_whole(shares: Shares, size: int) -> None:
    upload(shares, bytes(size))
    assert report_of(shares) == (True, ["1 intact, 0 damaged"])


def test_nothing_stored_is_nothing_damaged(shares: Shares) -> None:
    assert report_of(shares) == (True, ["0 intact, 0 damaged"])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_reported_among_whole_ones(shares: Shares, root: Path, damage: Damage) -> None:
    damaged, *_ = sorted(upload(shares, DATA).file_id for _ in range(3))
    damage(root / blob_key(damaged), root / record_key(damaged))
    whole, lines = report_of(shares)
    assert not whole
    assert [damaged in line for line in lines] == [True, False]
    assert lines[-1] == "2 intact, 1 damaged"


def test_the_report_says_what_is_wrong(shares: Shares, root: Path) -> None:
    blob = root / blob_key(upload(shares, DATA).file_id)
    rewrite(blob, lambda data: data[:HEAD_SIZE] + b"X" + data[HEAD_SIZE + 1 :])
    assert "SHA-256" in report_of(shares)[1][0]
    rewrite(blob, lambda data: data[:-2])
    assert "20 bytes instead of 22" in report_of(shares)[1][0]
    blob.unlink()
    assert "missing" in report_of(shares)[1][0]


def test_expired_and_used_up_files_are_checked_too(shares: Shares, clock: Clock, root: Path) -> None:
    expired = upload(shares, expires_in=60).file_id
    used_up = upload(shares, max_downloads=1).file_id
    download(shares, used_up)
    clock.forward(DAY)
    assert report_of(shares) == (True, ["2 intact, 0 damaged"])
    for file_id in (expired, used_up):
        (root / blob_key(file_id)).unlink()
    assert report_of(shares)[1][-1] == "0 intact, 2 damaged"


def test_a_file_that_is_being_deleted_is_no_damage(shares: Shares, store: InterposedStore, clock: Clock) -> None:
    file_id = upload(shares).file_id
    # Its record says so, and its blob still exists.
    store.around = dies_after(len(store.changes) + 2)
    with pytest.raises(Killed):
        shares.delete(file_id)
    assert report_of(shares_over(store.store, clock)) == (True, ["0 intact, 0 damaged"])


def test_scrub_changes_nothing(shares: Shares, store: InterposedStore, root: Path) -> None:
    for damage in DAMAGES.values():
        file_id = upload(shares, DATA, expires_in=60).file_id
        damage(root / blob_key(file_id), root / record_key(file_id))
    running = Upload(shares)
    before = contents(root)
    store.changes.clear()
    scrub(shares, lambda _line: None)
    assert store.changes == []
    assert contents(root) == before
    running.finish("a", "text/plain", Options())


def test_the_command_says_by_its_status_whether_all_is_whole(
    shares: Shares, root: Path, configure: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure("SHARE_STORAGE", str(root))
    file_id = upload(shares, DATA).file_id
    assert main() == 0
    assert capsys.readouterr().out == "1 intact, 0 damaged\n"
    (root / blob_key(file_id)).unlink()
    assert main() == 1
    assert capsys.readouterr().out.splitlines() == [
        f"file {file_id} is damaged: the blob is missing",
        "0 intact, 1 damaged",
    ]


def test_the_command_says_that_it_could_not_check(
    configure: Callable[[str, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    configure("SHARE_STORAGE", str(tmp_path / "file"))
    assert main() == 2
    assert "SHARE_STORAGE" in capsys.readouterr().err


def test_a_file_deleted_while_it_is_checked_is_no_damage(
    shares: Shares, store: InterposedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(shares)
    get = shares.records.get

    def get_and_delete(file_id: str) -> Stored:
        monkeypatch.undo()
        contents = get(file_id)
        shares.delete(file_id)
        return contents

    monkeypatch.setattr(shares.records, "get", get_and_delete)
    lines: list[str] = []
    assert scrub(shares, lines.append), lines


def test_a_password_hash_that_is_none_is_damage(shares: Shares) -> None:
    file_id = upload(shares, password="swordfish").file_id
    damaged = shares.records.update(file_id, lambda record: structs.replace(record, password_hash="bogus"))
    with pytest.raises(DamagedFile):
        shares.authorise(damaged, "swordfish")


def test_an_outage_is_not_reported_as_damage(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(shares)

    def unavailable(*_arguments: object) -> None:
        raise StorageUnavailable("it does not answer")

    monkeypatch.setattr("shared.scrub.verify", unavailable)
    reported: list[str] = []
    with pytest.raises(StorageUnavailable):
        scrub(shares, reported.append)
    assert reported == []
