"""A raw copy that was promised to a client stays, in any order of the client's redirect and the sweep."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import ShareError, WrongPassword
from shared.options import Options
from shared.redirects import KEEP_RAW_FOR
from shared.sharing import Shares
from shared.storage.contract import NotFound, ObjectStore
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import raw_entry_key, raw_key
from shared.sweeping import Sweep
from tests.clock import Clock
from tests.interposed import InterposedStore, once_after
from tests.sharing.shares import redirect, shares_over, upload

# More changes than either of them makes before the other acts; the loop ends with the first run that has fewer.
MOST_STEPS = 30


class KeyLinks:
    """Links that contain the key of the promised copy."""

    def download(
        self, key: str, expires_in: int, *, disposition: str, content_type: str, range: str | None = None
    ) -> str:
        return f"http://storage.test/{key}"

    def upload_part(self, key: str, expires_in: int, *, upload_id: str, number: int, size: int | None = None) -> str:
        raise NotImplementedError


class LinkingStore(InterposedStore):
    """A directory with links, which only buckets have otherwise."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self.links = KeyLinks()


class Impatient(Shares):
    """Does not wait for other processes, which cannot continue in a test with one thread."""

    def wait_for_nobody(self) -> None:
        moments = itertools.count()
        self.records._sleep = lambda _seconds: None
        self.records._monotonic = lambda: float(next(moments))


def redirected(shares: Shares, file_id: str, entry: range | None = None) -> str | None:
    """The key to which a client is redirected; None if it is asked to come back."""
    try:
        url = redirect(shares, shares.find(file_id), entry=entry)
    except ShareError:
        return None
    return url.removeprefix("http://storage.test/")


def is_there(store: InterposedStore, key: str) -> bool:
    try:
        store.stat(key)
    except NotFound:
        return False
    return True


def meet(folder: Path, first: str, entry: range | None, step: int, promises: list[str]) -> bool:
    """Let a sweep and a redirect interrupt each other after `step` changes. Returns whether the first made so many.

    Adds the keys of promised copies to `promises`.
    """
    store, clock = LinkingStore(DirectoryStore(folder)), Clock()
    shares, others = (Impatient(each, max_file_size=1000, clock=clock) for each in (store, LinkingStore(store.store)))
    shares.wait_for_nobody()
    others.wait_for_nobody()
    file_id = upload(shares).file_id
    assert redirected(shares, file_id, entry) is not None
    # The copy is due for removal.
    clock.forward(KEEP_RAW_FOR + timedelta(hours=2))
    promised: list[str | None] = []
    store.changes.clear()
    if first == "sweep":
        store.around = once_after(step, lambda: promised.append(redirected(others, file_id, entry)))
        assert Sweep(shares).run().failed == 0
    else:
        store.around = once_after(step, lambda: Sweep(others).run())
        promised.append(redirected(shares, file_id, entry))
    for key in filter(None, promised):
        assert is_there(store, key), step
        promises.append(key)
    return len(store.changes) > step


@pytest.mark.parametrize("entry", [None, range(1, 3)], ids=["whole", "entry"])
@pytest.mark.parametrize("first", ["sweep", "redirect"])
def test_a_copy_that_was_promised_is_there(tmp_path: Path, first: str, entry: range | None) -> None:
    promises: list[str] = []
    steps = next(step for step in range(MOST_STEPS) if not meet(tmp_path / str(step), first, entry, step, promises))
    assert steps > 2
    # A client is asked to come back only while the sweep is removing the copy.
    assert len(promises) >= 2


def test_a_copy_that_nobody_was_promised_goes(tmp_path: Path) -> None:
    store, clock = LinkingStore(DirectoryStore(tmp_path)), Clock()
    shares = shares_over(store, clock)
    file_id, entry = upload(shares).file_id, range(1, 3)
    copies = [raw_key(file_id), raw_entry_key(file_id, entry)]
    assert [redirected(shares, file_id), redirected(shares, file_id, entry)] == copies
    clock.forward(KEEP_RAW_FOR + timedelta(hours=2))
    Sweep(shares).run()
    assert not any(is_there(store, key) for key in copies)
    assert [redirected(shares, file_id), redirected(shares, file_id, entry)] == copies


@pytest.mark.parametrize("counted", [True, False])
def test_nobody_is_sent_to_a_file_once_another_password_holds(tmp_path: Path, counted: bool) -> None:
    shares = shares_over(LinkingStore(DirectoryStore(tmp_path)), Clock())
    seen = shares.find(upload(shares, password="old").file_id)
    shares.change(seen.record.file_id, Options(password="new"), frozenset({"password"}))

    with pytest.raises(WrongPassword):
        redirect(shares, seen, counted=counted)
