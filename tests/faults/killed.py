"""Kills a process at every step that it takes in a data directory: `python -m tests.faults.killed DIR [N]`.

A step is a system call that changes something. For each use case and each step, a child process works on a fresh copy
of one directory, and is killed by SIGKILL before or after the step. Then another process checks the result, sweeps, and
checks again. Prints the number of kills for each use case; with N, it tries only every N-th step.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from msgspec import structs

from shared.direct_uploads import DirectUploads
from shared.errors import Expired, InboxFull, UnknownFile, UsedUp
from shared.http.streams import Inline
from shared.inbox_options import InboxOptions
from shared.inboxes import Inbox, Inboxes
from shared.listing import list_files
from shared.options import Options
from shared.places import AHEAD_SHARE, Delivery, Places
from shared.scrub import scrub
from shared.sharing import Record, Shares
from shared.storage import multipart
from shared.storage.directory.store import DirectoryStore
from shared.storage.records import CELLS
from shared.sweeping import Sweep
from shared.uploads import Upload
from tests.clock import Clock
from tests.staged import staged

STEPS = (
    "open",
    "write",
    "pwrite",
    "copy_file_range",
    "fsync",
    "replace",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "link",
)
OPEN = os.open
# By these hours, sweeps have removed everything that has expired or has no record.
SWEEPS = (7 * 24 + 2, 7 * 24 + 27, 7 * 24 + 52, 7 * 24 + 77)
DATA = b"0123456789" * 10
# The minimum size here of a part that others follow.
PART_SIZE = 60
SHORTER = DATA[: PART_SIZE - 1]
NOW = datetime.now(UTC)


def shares_in(root: Path, hours: float = 0, clock: Clock | None = None) -> Shares:
    return Shares(DirectoryStore(root), max_file_size=10_000, clock=clock or Clock(NOW + timedelta(hours=hours)))


def upload(shares: Shares, most: int | None = len(DATA), **options: Any) -> Record:
    incoming = Upload(shares, most=most)
    incoming.write(DATA)
    record = incoming.finish("a.bin", "text/plain", Options(**options))
    shares.signing.delete_token(record.file_id)
    return record


def upload_in_turn(shares: Shares) -> list[Record]:
    """Upload a file, one after which IDs are reserved ahead, and one that uses such an ID."""
    return [upload(shares) for _ in range(3)]


def download(shares: Shares, file_id: str) -> bytes:
    stored = shares.find(file_id)
    data = shares.read(stored, 0, stored.record.file_size)
    if not shares.count(stored).granted:
        raise UsedUp(file_id)
    return data


def begin_direct(shares: Shares) -> Record:
    return DirectUploads(shares).start("a.bin", "text/plain", Options(expires_in=10**7), len(DATA))


def send_part(shares: Shares, begun: Record, number: int, data: bytes) -> None:
    assert begun.upload_id is not None
    part = DirectUploads(shares).begin_part(begun.file_id, begun.upload_id, number)
    part.write(data[:30])
    part.write(data[30:])
    part.finish()


def stored_parts(shares: Shares, begun: Record) -> dict[int, tuple[int, str]]:
    """Size and ETag by part number."""
    assert begun.upload_id is not None
    stored = DirectUploads(shares).parts(begun.file_id, begun.upload_id)
    return {part.number: (part.size, part.etag) for part in stored}


def complete(shares: Shares, begun: Record) -> Record:
    assert begun.upload_id is not None
    try:
        part_list = [(number, etag) for number, (_, etag) in stored_parts(shares, begun).items()]
    except UnknownFile:
        # It was completed before, and then the part list has no effect.
        part_list = [(1, "any")]
    return DirectUploads(shares).complete(begun.file_id, begun.upload_id, part_list)[0]


def abort(shares: Shares, begun: Record) -> None:
    assert begun.upload_id is not None
    DirectUploads(shares).abort(begun.file_id, begun.upload_id)


class Steps:
    """Counts the steps of this process, and kills it at one of them."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._number = number
        self._after = after
        self._count = 0

    def install(self) -> None:
        for name in STEPS:
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if function is OPEN and not arguments[1] & os.O_CREAT:
                return function(*arguments, **options)
            position, self._count = self._count, self._count + 1
            if position == self._number and not self._after:
                die()
            try:
                return function(*arguments, **options)
            finally:
                if position == self._number:
                    die()

        return step


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed processes do not go on")


def run_killed(act: Callable[[], object], number: int, *, after: bool) -> bool:
    """Run it in a child process. Returns whether it finished before the step at which it was to be killed."""
    child = os.fork()
    if child == 0:
        Steps(number, after=after).install()
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFEXITED(status)


UseCase = tuple[Callable[[Path], Any], Callable[[Path, Any], object], Callable[[Shares, Any, bool], None]]


def visible(shares: Shares) -> dict[str, Record]:
    return {record.file_id: record for record in list_files(shares, "", 1000, private=True).files}


def is_whole(shares: Shares, record: Record) -> bool:
    with contextlib.closing(shares.open(shares.find(record.file_id), 0, record.file_size)) as payload:
        return b"".join(iter(lambda: payload.read(64), b"")) == DATA


def nothing(_root: Path) -> None:
    """An empty directory, which does not even have a signing key."""


def a_file(root: Path) -> Record:
    return upload(shares_in(root), expires_in=10**6)


def a_hot_file(root: Path) -> Record:
    shares = shares_in(root)
    file_id = upload(shares, expires_in=10**6).file_id
    return shares.records.update(file_id, lambda record: structs.replace(record, cells=CELLS)).record


def a_capped_file(root: Path) -> Record:
    return upload(shares_in(root), max_downloads=1)


def things_to_sweep(root: Path) -> Record:
    shares = shares_in(root)
    upload(shares, expires_in=1)
    spent = upload(shares, max_downloads=1)
    download(shares, spent.file_id)
    orphan = Upload(shares)
    orphan.write(DATA)
    orphan._blob.commit()
    Sweep(shares).run()
    return upload(shares)


def a_direct_upload(root: Path) -> Record:
    return begin_direct(shares_in(root))


def a_direct_upload_with_parts(root: Path) -> Record:
    shares = shares_in(root)
    begun = begin_direct(shares)
    for number, data in enumerate((DATA[:PART_SIZE], DATA[PART_SIZE:]), 1):
        send_part(shares, begun, number, data)
    return begun


def an_inbox(root: Path) -> Inbox:
    return Inboxes(shares_in(root)).create(InboxOptions(max_files=1, expires_in=10**7, file_expires_in=10**6))


def a_large_inbox(root: Path) -> Inbox:
    return Inboxes(shares_in(root)).create(
        InboxOptions(max_files=1 + 2 * AHEAD_SHARE, expires_in=10**7, file_expires_in=10**6)
    )


def an_inbox_with_a_file(root: Path) -> tuple[Inbox, Record]:
    inbox = an_inbox(root)
    return inbox, send_in(shares_in(root), inbox)


def send_in(shares: Shares, inbox: Inbox) -> Record:
    incoming = Upload(shares, Delivery(inbox.inbox_id, None, len(DATA), len(DATA)))
    incoming.write(DATA)
    return incoming.finish("a.bin", "text/plain", Options())


def send_ahead_in(shares: Shares, inbox: Inbox) -> None:
    """Begin an upload that reserves places ahead and never ends, and send a file into one of them."""
    Places(shares).reserve(str(uuid.uuid4()), Delivery(inbox.inbox_id, None, 1, 1), ahead=2)
    assert send_in(shares, inbox).file_id in Inboxes(shares).find(inbox.inbox_id).ahead


def begin_in(shares: Shares, inbox: Inbox) -> Record:
    delivery = Delivery(inbox.inbox_id, None, len(DATA), len(DATA))
    return DirectUploads(shares).start("a.bin", "text/plain", Options(), len(DATA), delivery)


def begun_in(shares: Shares, inbox: Inbox, _done: bool) -> None:
    assert visible(shares) == {}
    # It was not completed within an hour.
    assert not is_full(shares, inbox)


def received(shares: Shares, inbox: Inbox, done: bool) -> None:
    records = visible(shares)
    assert len(records) in ((1,) if done else (0, 1))
    assert all(is_whole(shares, record) for record in records.values())
    assert is_full(shares, inbox) == bool(records)


def received_ahead(shares: Shares, inbox: Inbox, done: bool) -> None:
    records = visible(shares)
    assert len(records) in ((1,) if done else (0, 1))
    assert all(is_whole(shares, record) for record in records.values())
    later = Inboxes(Shares(shares.store, max_file_size=10_000, clock=lambda: NOW + timedelta(hours=1)))
    assert later.left(later.find(inbox.inbox_id)) == (
        inbox.max_files - len(records),
        inbox.max_bytes - 100 * len(records),
    )


def removed(shares: Shares, prepared: tuple[Inbox, Record], done: bool) -> None:
    inbox, record = prepared
    deleted(shares, record, done)
    # A file that came in counts for good.
    assert is_full(shares, inbox)


def is_full(shares: Shares, inbox: Inbox) -> bool:
    """Whether an inbox has no place left, once reservations that a crash left have lapsed."""
    later = Shares(shares.store, max_file_size=shares.max_file_size, clock=lambda: NOW + timedelta(hours=1))
    try:
        Places(later).reserve(str(uuid.uuid4()), Delivery(inbox.inbox_id, None, 1, 1)).release()
    except InboxFull:
        return True
    return False


def uploaded(shares: Shares, _prepared: Any, done: bool) -> None:
    records = visible(shares)
    assert len(records) in ((1,) if done else (0, 1))
    assert all(is_whole(shares, record) for record in records.values())


def uploaded_in_turn(shares: Shares, _prepared: Any, done: bool) -> None:
    records = visible(shares)
    assert len(records) == 3 or not done
    assert all(is_whole(shares, record) for record in records.values())


def downloaded(shares: Shares, prepared: Record, done: bool) -> None:
    record = visible(shares)[prepared.file_id]
    assert record.download_count in ((1,) if done else (0, 1))
    assert is_whole(shares, record)


def spent(shares: Shares, prepared: Record, done: bool) -> None:
    downloaded(shares, prepared, done)
    if visible(shares)[prepared.file_id].download_count:
        try:
            download(shares, prepared.file_id)
        except UsedUp:
            return
        raise AssertionError("one download more than the cap allows")


def changed(shares: Shares, prepared: Record, done: bool) -> None:
    record = visible(shares)[prepared.file_id]
    new = (NOW + timedelta(seconds=950_000), 7)
    old = (prepared.expires_at, None)
    assert (record.expires_at, record.max_downloads) in ((new,) if done else (new, old))


def deleted(shares: Shares, prepared: Record, done: bool) -> None:
    records = visible(shares)
    assert not (done and records)
    assert all(is_whole(shares, record) for record in records.values())
    if not records:
        try:
            shares.find(prepared.file_id)
        except (UnknownFile, Expired):
            return
        raise AssertionError("listed nowhere, and yet it can be found")


def swept(shares: Shares, prepared: Record, _done: bool) -> None:
    assert is_whole(shares, visible(shares)[prepared.file_id])


def begun(shares: Shares, _prepared: Any, _done: bool) -> None:
    assert visible(shares) == {}


def sent(shares: Shares, prepared: Record, done: bool) -> None:
    assert visible(shares) == {}
    sizes = {number: size for number, (size, _) in stored_parts(shares, prepared).items()}
    assert sizes in (({1: len(DATA)},) if done else ({}, {1: len(DATA)}))


def sent_again(shares: Shares, prepared: Record, done: bool) -> None:
    assert visible(shares) == {}
    sizes = {number: size for number, (size, _) in stored_parts(shares, prepared).items()}
    rest = len(DATA) - PART_SIZE
    new, old = {1: len(SHORTER), 2: rest}, {1: PART_SIZE, 2: rest}
    assert sizes in ((new,) if done else (old, new))


def completed(shares: Shares, prepared: Record, done: bool) -> None:
    records = visible(shares)
    assert records.keys() in (({prepared.file_id},) if done else (set(), {prepared.file_id}))
    # Repeated, it completes, but only once.
    for _ in range(2):
        record = complete(shares, prepared)
        assert (record.file_size, record.download_count, record.sealed) == (len(DATA), 0, True)
    assert visible(shares).keys() == {prepared.file_id}
    assert is_whole(shares, record)
    assert download(shares, prepared.file_id) == DATA
    assert visible(shares)[prepared.file_id].download_count == 1


def left_completing(shares: Shares, prepared: Record, done: bool) -> None:
    records = visible(shares)
    assert records.keys() in (({prepared.file_id},) if done else (set(), {prepared.file_id}))
    assert all(is_whole(shares, record) for record in records.values())


def aborted(shares: Shares, prepared: Record, done: bool) -> None:
    assert visible(shares) == {}
    try:
        sizes = {number: size for number, (size, _) in stored_parts(shares, prepared).items()}
    except UnknownFile:
        return
    # The abort has not started.
    assert sizes == {1: PART_SIZE, 2: len(DATA) - PART_SIZE}
    assert not done


CHANGES = Options(expires_in=950_000, max_downloads=7)
USE_CASES: dict[str, UseCase] = {
    "upload": (nothing, lambda root, _: upload(shares_in(root), expires_in=10**6), uploaded),
    "uploads in turn": (nothing, lambda root, _: upload_in_turn(shares_in(root)), uploaded_in_turn),
    "download": (a_file, lambda root, file: download(shares_in(root), file.file_id), downloaded),
    "download of a hot file": (a_hot_file, lambda root, file: download(shares_in(root), file.file_id), downloaded),
    "last download": (a_capped_file, lambda root, file: download(shares_in(root), file.file_id), spent),
    "change": (
        a_file,
        lambda root, file: shares_in(root).change(file.file_id, CHANGES, frozenset({"expires_in", "max_downloads"})),
        changed,
    ),
    "delete": (a_file, lambda root, file: shares_in(root).delete(file.file_id), deleted),
    "send to an inbox": (an_inbox, lambda root, inbox: send_in(shares_in(root), inbox), received),
    "send to an inbox again": (
        a_large_inbox,
        lambda root, inbox: send_ahead_in(shares_in(root), inbox),
        received_ahead,
    ),
    "delete from an inbox": (
        an_inbox_with_a_file,
        lambda root, prepared: shares_in(root).delete(prepared[1].file_id),
        removed,
    ),
    "begin in an inbox": (an_inbox, lambda root, inbox: begin_in(shares_in(root), inbox), begun_in),
    "begin": (nothing, lambda root, _: begin_direct(shares_in(root)), begun),
    "send a part": (a_direct_upload, lambda root, file: send_part(shares_in(root), file, 1, DATA), sent),
    "send a part again": (
        a_direct_upload_with_parts,
        lambda root, file: send_part(shares_in(root), file, 1, SHORTER),
        sent_again,
    ),
    "complete": (a_direct_upload_with_parts, lambda root, file: complete(shares_in(root), file), completed),
    "complete and leave": (
        a_direct_upload_with_parts,
        lambda root, file: complete(shares_in(root), file),
        left_completing,
    ),
    "abort": (a_direct_upload_with_parts, lambda root, file: abort(shares_in(root), file), aborted),
    "sweep": (things_to_sweep, lambda root, _: Sweep(shares_in(root, 49)).run(), swept),
}


def sweep(root: Path, *hours: float) -> Shares:
    """Sweep in one process at all these hours. Returns its use cases.

    Without threads, because starting them takes most of the time here.
    """
    clock = Clock(NOW)
    shares = shares_in(root, clock=clock)
    for hour in hours:
        clock.now = NOW + timedelta(hours=hour)
        assert Sweep(shares, Inline()).run().failed == 0
    return shares


def settle(root: Path) -> None:
    """Sweep with later clocks. After that, only what visible files need may remain."""
    shares = sweep(root, *SWEEPS)
    damage: list[str] = []
    assert scrub(shares, damage.append), damage
    kept = visible(shares).keys()
    for folder in ("files", "metadata"):
        assert {path.name.partition(".")[0] for path in (root / folder).rglob("*") if path.is_file()} == kept
    assert staged(root) == []
    assert not (root / "raw").exists() or list((root / "raw").iterdir()) == []


def killed_everywhere(place: Path, use_case: UseCase, stride: int) -> int:
    """Returns the number of kills."""
    prepare, act, check = use_case
    origin = place / "origin"
    origin.mkdir(parents=True)
    prepared = prepare(origin)
    for tried, (number, after) in enumerate(itertools.product(range(0, 1000, stride), (False, True))):
        root = place / f"{number}-{after}"
        shutil.copytree(origin, root)
        done = run_killed(lambda root=root: act(root, prepared), number, after=after)  # type: ignore[misc]
        check(shares_in(root), prepared, done)
        settle(root)
        shutil.rmtree(root)
        if done:
            return tried
    raise AssertionError("it never came to an end")


def main() -> None:
    place, stride = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    # These tests do not simulate power cuts, so fsync would only take time.
    setattr(os, "fsync", lambda _file: None)  # noqa: B010
    multipart.MIN_PART_SIZE = PART_SIZE
    print(json.dumps({name: killed_everywhere(place / name, case, stride) for name, case in USE_CASES.items()}))


if __name__ == "__main__":
    main()
