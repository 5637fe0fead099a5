"""Delete tokens, resume tickets, and the single secret that signs them."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.sharing import Shares
from shared.signing import Signing, stored_secret
from shared.storage.contract import AlreadyExists, Ambiguous
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import SECRET_KEY
from tests.clock import DAY, HOUR, Clock
from tests.interposed import InterposedStore, after, before, on_puts, once_after
from tests.sharing.shares import shares_over
from tests.wire.server import WITHIN

ROOT = Path(__file__).parent.parent.parent
SECRET = "correct horse battery staple"
ONE = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"
TWO = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f11"

GARBAGE = [
    "",
    ".",
    "..",
    ONE,
    f"{ONE}.",
    f"{ONE}..",
    f"{ONE}.AAAAAA.AAAA",
    "A" * 5000,
    "tökén",
    "🎟" * 40,
    "\ud800",
    "\0",
    "a\r\nb",
    "====",
]


@pytest.fixture
def signing(clock: Clock) -> Signing:
    return Signing(lambda: SECRET, clock)


# The secret


def test_racing_threads_find_one_secret(store: InterposedStore) -> None:
    threads = 8
    start = threading.Barrier(threads)

    def find(_: int) -> str:
        start.wait(timeout=WITHIN)
        return stored_secret(store)

    with ThreadPoolExecutor(threads) as pool:
        secrets = set(pool.map(find, range(threads)))
    assert secrets == {store.read(SECRET_KEY)[0].decode()}


def test_racing_processes_find_one_secret(root: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from shared.signing import stored_secret; from shared.storage.directory.store import DirectoryStore\n"
        "store = DirectoryStore(Path(sys.argv[1])); print(flush=True); sys.stdin.read()\n"
        "print(stored_secret(store))"
    )
    command = [sys.executable, "-c", script, str(root)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        # All are ready. They start when their input ends.
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        secrets = {process.communicate(timeout=WITHIN)[0] for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert secrets == {(root / SECRET_KEY).read_text() + "\n"}


def test_the_loser_takes_the_winners_secret(store: InterposedStore) -> None:
    winners: list[str] = []
    store.around = once_after(0, lambda: winners.append(stored_secret(store.store)))
    assert [stored_secret(store)] == winners


def test_a_secret_whose_answer_was_lost_is_found(store: InterposedStore) -> None:
    store.around = on_puts({1: after(Ambiguous(SECRET_KEY))})
    assert stored_secret(store) == store.read(SECRET_KEY)[0].decode()
    assert store.puts == 1


def test_a_secret_that_can_neither_be_read_nor_made_is_a_fault_of_storage(store: InterposedStore) -> None:
    store.around = on_puts(otherwise=before(AlreadyExists(SECRET_KEY)))
    with pytest.raises(StorageUnavailable):
        stored_secret(store)


def test_the_stored_secret_is_long_and_for_its_owner_only(root: Path) -> None:
    secret = stored_secret(DirectoryStore(root))
    assert len(secret) >= 43
    assert stat.S_IMODE((root / SECRET_KEY).stat().st_mode) == 0o600


@pytest.mark.parametrize("contents", [b"", b"short", b"\xff" * 40])
def test_a_damaged_secret_signs_nothing(store: InterposedStore, contents: bytes) -> None:
    """With an empty key, anyone could create delete tokens."""
    store.put(SECRET_KEY, contents)
    with pytest.raises(StorageUnavailable, match="damaged"):
        stored_secret(store)


def test_each_storage_gets_a_secret_of_its_own(tmp_path: Path) -> None:
    assert stored_secret(DirectoryStore(tmp_path / "one")) != stored_secret(DirectoryStore(tmp_path / "two"))


def test_a_given_secret_wins_and_storage_keeps_none(store: InterposedStore, clock: Clock, signing: Signing) -> None:
    shares = shares_over(store, clock, secret=SECRET)
    assert shares.signing.delete_token(ONE) == signing.delete_token(ONE)
    assert store.changes == []
    store.put(SECRET_KEY, b"another secret, which was there before")
    assert shares_over(store, clock, secret=SECRET).signing.is_delete_token(ONE, signing.delete_token(ONE))
    assert not shares_over(store, clock).signing.is_delete_token(ONE, signing.delete_token(ONE))


def test_the_secret_is_made_only_when_it_is_needed_and_read_once(shares: Shares, store: InterposedStore) -> None:
    assert store.count("read") == 0
    token = shares.signing.delete_token(ONE)
    reads = store.count("read")
    assert shares.signing.is_delete_token(ONE, token)
    assert shares.signing.is_ticket(ONE, shares.signing.ticket(ONE))
    assert store.count("read") == reads


# Delete tokens


def test_a_delete_token_is_the_same_in_every_process_and_at_any_time(store: InterposedStore, clock: Clock) -> None:
    token = shares_over(store, clock).signing.delete_token(ONE)
    clock.forward(1000 * DAY)
    later = shares_over(store, clock).signing
    assert later.delete_token(ONE) == token
    assert later.is_delete_token(ONE, token)


def test_tokens_from_before_an_upgrade_stay_valid(signing: Signing) -> None:
    """A change of how keys are derived would break the links of all owners. These two were made before one."""
    assert signing.delete_token(ONE) == "GJGyTxWZ4PjADKLIpqk7a1VSlxPh8EC0oErLyFDD5LI"
    assert signing.owner_token(ONE) == "DOfd4aW3NGuAy4NabmkaJQjVzPN_1ipOyig5RVzBtQk"


def test_a_delete_token_is_for_one_file(signing: Signing) -> None:
    assert not signing.is_delete_token(TWO, signing.delete_token(ONE))
    assert ONE not in signing.delete_token(ONE)


def test_a_delete_token_of_another_secret_is_refused(signing: Signing, clock: Clock) -> None:
    forged = Signing(lambda: SECRET + "!", clock).delete_token(ONE)
    assert not signing.is_delete_token(ONE, forged)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_no_delete_token(signing: Signing, garbage: str) -> None:
    assert not signing.is_delete_token(ONE, garbage)


def test_a_ticket_is_no_delete_token(signing: Signing) -> None:
    ticket = signing.ticket(ONE)
    assert not signing.is_delete_token(ONE, ticket)
    assert not signing.is_delete_token(ONE, ticket.rpartition(".")[2])


# Tickets


def test_a_ticket_holds_for_a_day_by_the_clock_that_was_passed(signing: Signing, clock: Clock) -> None:
    ticket = signing.ticket(ONE)
    assert signing.is_ticket(ONE, ticket)
    clock.forward(DAY)
    assert signing.is_ticket(ONE, ticket)
    clock.forward(timedelta(seconds=1))
    assert not signing.is_ticket(ONE, ticket)


def test_a_password_pass_holds_for_a_minute(signing: Signing, clock: Clock) -> None:
    value = signing.password_pass(ONE, "a hash")
    clock.forward(timedelta(seconds=60))
    assert signing.is_password_pass(ONE, "a hash", value)
    clock.forward(timedelta(seconds=1))
    assert not signing.is_password_pass(ONE, "a hash", value)


def test_a_password_pass_is_for_one_file_and_one_password(signing: Signing) -> None:
    value = signing.password_pass(ONE, "a hash")
    assert not signing.is_password_pass(TWO, "a hash", value)
    assert not signing.is_password_pass(ONE, "another hash", value)
    assert not signing.is_ticket(ONE, value)
    assert not signing.is_password_pass(ONE, "a hash", signing.ticket(ONE))


def test_a_ticket_is_for_one_file(signing: Signing) -> None:
    ticket = signing.ticket(ONE)
    assert not signing.is_ticket(TWO, ticket)
    assert not signing.is_ticket(TWO, ticket.replace(ONE, TWO))


def test_a_ticket_cannot_be_made_younger(signing: Signing, clock: Clock) -> None:
    old = signing.ticket(ONE)
    clock.forward(DAY + HOUR)
    file_id, _, signature = old.split(".")
    young = signing.ticket(ONE).split(".")[1]
    assert not signing.is_ticket(ONE, f"{file_id}.{young}.{signature}")


def test_a_ticket_of_another_secret_is_refused(signing: Signing, clock: Clock) -> None:
    assert not signing.is_ticket(ONE, Signing(lambda: SECRET + "!", clock).ticket(ONE))


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_no_ticket(signing: Signing, garbage: str) -> None:
    assert not signing.is_ticket(ONE, garbage)


def test_a_delete_token_is_no_ticket(signing: Signing) -> None:
    token = signing.delete_token(ONE)
    assert not signing.is_ticket(ONE, f"{ONE}.{token}")
    assert not signing.is_ticket(ONE, token)


def test_a_ticket_may_stand_in_an_etag(signing: Signing) -> None:
    ticket = signing.ticket(ONE)
    assert ticket.startswith(ONE)
    assert all("!" <= character <= "~" and character != '"' for character in ticket)
