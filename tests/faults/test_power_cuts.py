"""Whatever unsynced data a power cut loses, acknowledged changes survive, and the sweep removes the rest.

The tests cut the power after each call that changes the directory. The next start finds a state in which each unsynced
name and content is there or not. It must show the old state or the new one, and the new one once the call has returned.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared import sweeping
from shared.errors import ShareError
from shared.inbox_options import InboxOptions
from shared.inboxes import Inboxes
from shared.sharing import Record, Shares
from shared.storage import expiries, multipart
from shared.storage.contract import Info
from shared.storage.directory import multipart as multipart_in_directory
from shared.storage.directory import spares, store, writer
from tests.faults import killed
from tests.faults.power import Recorder, Tree, states
from tests.faults.power import write as write_tree
from tests.properties.effort import EFFORT

# The number of states to try after one call. If there are more, they are selected at random.
LIMIT = 25 * EFFORT
# By these hours, uploads with an expiry have expired and were swept.
LONG_AFTER = (281, 306)


@pytest.fixture
def place(memory: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def _small_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "MIN_PART_SIZE", killed.PART_SIZE)
    # The same IDs, and so the same states, in each run.
    source = random.Random(0)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=source.getrandbits(128), version=4))
    # The names of many spare files would only multiply the states.
    monkeypatch.setattr(spares, "FILES", ("file-00",))
    monkeypatch.setattr(spares, "FOLDERS", ("folder-0",))
    monkeypatch.setattr(spares, "_ALL", frozenset({"file-00", "folder-0"}))
    monkeypatch.setattr(spares, "SPARE_SIZE", 1024)
    # Each check writes the state anew, with other times and inode numbers, and ETags depend on these.
    for module in (multipart_in_directory, store, writer):
        monkeypatch.setattr(module, "info_of", lambda status: Info(status.st_size, f"{status.st_size:x}"))


def power_cuts(
    recorder: Recorder, place: Path, acknowledged: Sequence[int], check: Callable[[Path, int], None], limit: int
) -> int:
    """Check what a power cut after each step leaves, up to a limit for each. Returns the number of states.

    `acknowledged` has the number of steps after which each call returned. `check` receives the number of returned
    calls.
    """
    tried: set[int] = set()
    root = place / "left"
    for done in range(len(recorder.steps) + 1):
        if done:
            recorder.steps[done - 1]()
        returned = sum(steps <= done for steps in acknowledged)
        for tree in states(recorder.disk, limit, seed=done):
            key = hash((_frozen(tree), returned))
            if key in tried:
                continue
            tried.add(key)
            write_tree(tree, root)
            try:
                check(root, returned)
            except BaseException as error:
                error.add_note(f"after {done} of {len(recorder.steps)} steps: {_outline(tree)}")
                raise
            shutil.rmtree(root)
    return len(tried)


def single_power_cuts(
    recorder: Recorder, place: Path, prepared: Any, check: Callable[[Shares, Any, bool], None]
) -> int:
    def look(root: Path, returned: int) -> None:
        check(killed.shares_in(root), prepared, returned == 1)
        settle(root, place / "origin", returned)

    return power_cuts(recorder, place, [len(recorder.steps)], look, LIMIT)


def settle(root: Path, origin: Path, returned: int) -> None:
    """Let time pass until unneeded data and then expired files are removed. A signing key that was used must stay."""
    killed.settle(root)
    files = killed.visible(killed.shares_in(root))
    killed.sweep(root, *LONG_AFTER)
    left = {path.stem for path in (root / "files").rglob("*.pickle")}
    now = killed.NOW + timedelta(hours=LONG_AFTER[-1])
    assert left == {file_id for file_id, record in files.items() if not record.is_expired(now)}
    if returned and (origin / "secret").exists():
        assert (root / "secret").read_bytes() == (origin / "secret").read_bytes()


def _frozen(tree: Tree) -> frozenset[Any]:
    return frozenset((name, _frozen(node) if isinstance(node, dict) else node) for name, node in tree.items())


def _outline(tree: Tree) -> Any:
    return {name: _outline(node) if isinstance(node, dict) else len(node.data) for name, node in tree.items()}


@pytest.mark.parametrize("name", killed.USE_CASES)
def test_a_power_cut_leaves_the_old_state_or_the_new(name: str, place: Path) -> None:
    prepare, act, check = killed.USE_CASES[name]
    origin = place / "origin"
    origin.mkdir()
    prepared = prepare(origin)
    with Recorder(origin) as recorder:
        act(origin, prepared)
    assert single_power_cuts(recorder, place, prepared, check) > len(recorder.steps)


@pytest.mark.parametrize("name", ["download", "last download", "delete", "sweep"])
def test_a_power_cut_on_a_full_disk_leaves_the_old_state_or_the_new(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares, "FILES", ("file-00", "file-01", "file-02", "file-03", "file-04"))
    monkeypatch.setattr(spares, "_ALL", frozenset({*spares.FILES, *spares.FOLDERS}))
    prepare, act, check = killed.USE_CASES[name]

    def act_on_a_full_disk(root: Path, prepared: Any) -> None:
        with pytest.MonkeyPatch.context() as full:
            full.setattr(os, "open", without_room(os.open, creates=lambda flags: flags & os.O_CREAT))
            full.setattr(os, "mkdir", without_room(os.mkdir, creates=lambda _mode: True))
            act(root, prepared)

    monkeypatch.setitem(killed.USE_CASES, name, (prepare, act_on_a_full_disk, check))
    test_a_power_cut_leaves_the_old_state_or_the_new(name, place)


def without_room(call: Callable[..., Any], *, creates: Callable[[int], int]) -> Callable[..., Any]:
    """The call without free inodes. `creates` says by its flags or mode whether it creates a file or folder."""

    def refused(path: str, flags: int, *rest: Any, dir_fd: int | None = None) -> Any:
        if creates(flags) and not os.access(path, os.F_OK, dir_fd=dir_fd):
            raise OSError(errno.ENOSPC, "no inode is left")
        return call(path, flags, *rest, dir_fd=dir_fd)

    return refused


@pytest.mark.parametrize("stays", [False, True], ids=["started anew for each call", "two that stay"])
def test_a_power_cut_in_a_long_history_loses_nothing_acknowledged(place: Path, stays: bool) -> None:
    origin = place / "origin"
    origin.mkdir()
    with Recorder(origin) as recorder:
        # Each of them remembers which folders it has made durable.
        processes = itertools.cycle([killed.shares_in(origin), killed.shares_in(origin)])
        history, acknowledged = [shown(killed.shares_in(origin))], []
        for act in life():
            act(next(processes) if stays else killed.shares_in(origin))
            acknowledged.append(len(recorder.steps))
            history.append(shown(killed.shares_in(origin)))

    def look(root: Path, returned: int) -> None:
        shares = killed.shares_in(root)
        assert shown(shares) in history[returned : returned + 2]
        assert all(killed.is_whole(shares, record) for record in killed.visible(shares).values())
        settle(root, origin, returned)

    assert power_cuts(recorder, place, acknowledged, look, LIMIT // 8) > 5 * len(history)


def life() -> Iterator[Callable[[Shares], object]]:
    """The life of three files, one call after another."""
    files: list[Record] = []
    yield lambda shares: files.append(killed.upload(shares, expires_in=10**6))
    yield lambda shares: files.append(killed.upload(shares, max_downloads=2))
    plain, capped = (record.file_id for record in files)
    for file_id in (plain, capped, plain, capped):
        yield lambda shares, file_id=file_id: killed.download(shares, file_id)  # type: ignore[misc]
    yield lambda shares: shares.change(plain, killed.CHANGES, frozenset({"expires_in", "max_downloads"}))
    yield lambda shares: killed.download(shares, plain)
    yield lambda shares: shares.delete(plain)
    yield lambda shares: files.append(killed.begin_direct(shares))
    direct = files[-1]
    yield lambda shares: killed.send_part(shares, direct, 1, killed.DATA[: killed.PART_SIZE])
    yield lambda shares: killed.send_part(shares, direct, 2, killed.DATA[killed.PART_SIZE :])
    yield lambda shares: killed.complete(shares, direct)
    yield lambda shares: killed.download(shares, direct.file_id)


def shown(shares: Shares) -> dict[str, tuple[Any, ...]]:
    """What a client can see of each file."""
    return {
        file_id: (record.file_size, record.download_count, record.max_downloads, record.expires_at)
        for file_id, record in killed.visible(shares).items()
    }


@pytest.fixture
def one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are in the folders of the first one, whose names are durable then, so there are no other syncs."""
    new, derived = uuid.uuid4, expiries.several
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(f"00{str(new())[2:]}"))
    for module in (expiries, sweeping):
        monkeypatch.setattr(module, "several", lambda name: [f"00{file_id[2:]}" for file_id in derived(name)])


@pytest.mark.usefixtures("one_folder")
@pytest.mark.parametrize("number", [None, *range(5)])
def test_no_sync_of_an_upload_can_be_left_out(number: int | None, place: Path) -> None:
    leave_out_a_sync_of_an_upload(place, number, of=5, earlier=1, most=None)


@pytest.mark.usefixtures("one_folder")
@pytest.mark.parametrize("number", [None, *range(4)])
def test_no_sync_of_an_upload_with_an_id_ahead_can_be_left_out(number: int | None, place: Path) -> None:
    leave_out_a_sync_of_an_upload(place, number, of=4, earlier=2, most=len(killed.DATA))


def leave_out_a_sync_of_an_upload(place: Path, number: int | None, *, of: int, earlier: int, most: int | None) -> None:
    """With all syncs, nothing is lost; without this one, something is."""
    origin = place / "origin"
    origin.mkdir()
    shares = killed.shares_in(origin)
    for _ in range(earlier):
        killed.upload(shares, most)
    with Recorder(origin) as recorder:
        killed.upload(shares, most)
    assert len(syncs_of(recorder)) == of

    def check(shares: Shares, _prepared: Any, done: bool) -> None:
        records = killed.visible(shares)
        assert len(records) in ((earlier + 1,) if done else (earlier, earlier + 1))
        assert all(killed.is_whole(shares, record) for record in records.values())

    if number is None:
        assert single_power_cuts(recorder, place, None, check) > of
        return
    leave_out_sync(recorder, number, of=of)
    with pytest.raises((AssertionError, ShareError)):
        single_power_cuts(recorder, place, None, check)


@pytest.mark.parametrize("number", range(6))
def test_no_sync_of_an_upload_into_an_inbox_can_be_left_out(number: int, place: Path) -> None:
    origin = place / "origin"
    origin.mkdir()
    shares = killed.shares_in(origin)
    inbox = Inboxes(shares).create(InboxOptions(max_files=2, expires_in=10**7))
    # After this, the entry of the inbox is there.
    first = killed.send_in(shares, inbox)
    with Recorder(origin) as recorder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(first.file_id[:4] + "0000" + first.file_id[8:]))
        killed.send_in(shares, inbox)
    leave_out_sync(recorder, number, of=6)

    def check(shares: Shares, _prepared: Any, done: bool) -> None:
        records = killed.visible(shares)
        assert len(records) in ((2,) if done else (1, 2))
        assert all(killed.is_whole(shares, record) for record in records.values())
        assert killed.is_full(shares, inbox) == (len(records) == 2)

    with pytest.raises((AssertionError, ShareError)):
        single_power_cuts(recorder, place, None, check)


@pytest.mark.parametrize("number", range(4))
def test_no_sync_of_an_upload_into_a_place_ahead_can_be_left_out(number: int, place: Path) -> None:
    origin = place / "origin"
    origin.mkdir()
    shares = killed.shares_in(origin)
    inbox = Inboxes(shares).create(InboxOptions(expires_in=10**7))
    first = killed.send_in(shares, inbox)
    numbers = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(f"{first.file_id[:4]}{next(numbers):04x}{first.file_id[8:]}"))
        killed.send_in(shares, inbox)
    with Recorder(origin) as recorder:
        assert killed.send_in(shares, inbox).file_id in Inboxes(shares).find(inbox.inbox_id).ahead
    leave_out_sync(recorder, number, of=4)

    def check(shares: Shares, _prepared: Any, done: bool) -> None:
        records = killed.visible(shares)
        assert len(records) in ((3,) if done else (2, 3))
        assert all(killed.is_whole(shares, record) for record in records.values())

    with pytest.raises((AssertionError, ShareError)):
        single_power_cuts(recorder, place, None, check)


def syncs_of(recorder: Recorder) -> list[int]:
    """The steps that are syncs."""
    return [at for at, step in enumerate(recorder.steps) if getattr(step, "__name__", "") == "sync"]


def leave_out_sync(recorder: Recorder, number: int, *, of: int) -> None:
    syncs = syncs_of(recorder)
    assert len(syncs) == of
    recorder.steps[syncs[number]] = lambda: None
