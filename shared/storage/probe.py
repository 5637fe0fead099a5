"""Whether a store honours the conditions of `put`, on which every count and every limit rests.

Some S3 servers ignore `If-Match` and `If-None-Match`. Two processes that count at once then overwrite each other, and
no error shows it. A few writes under a key that nothing else uses do.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from shared.errors import StorageFull, StorageUnavailable
from shared.storage.contract import (
    ABSENT,
    AlreadyExists,
    Ambiguous,
    Changed,
    Condition,
    Matches,
    NotFound,
    NotSent,
    ObjectStore,
    TooSoon,
)
from shared.storage.keys import PROBES, probe_key, probes_prefix

log = logging.getLogger(__name__)

# Cloudflare R2 takes one write of a key each second.
_TRIES = 5
_PAUSE = 1.0  # seconds
# An etag of the usual form, of no bytes that are written here.
_WRONG = Matches('"00000000000000000000000000000000"')


def require_conditions(store: ObjectStore) -> None:
    """Write and remove a key of our own, in five requests.

    Raises `StorageUnavailable`, for good where the store does not honour conditions. A store that recreates a deleted
    key on `If-Match` passes, since a deleted record stays in its place for a while. So does one that is full: it takes
    no write that could be lost, and what it holds can still be read and deleted.
    """
    key = probe_key(str(uuid.uuid4()), datetime.now(UTC))
    try:
        with _answered():
            etag = store.put(key, b"one", ABSENT)
            _require_refusal(store, key, ABSENT, "If-None-Match: *")
            _require_refusal(store, key, _WRONG, "If-Match")
            store.delete(key)
            if _is_refused(store, key, Matches(etag)):
                return
            log.info("the S3 server writes a key that is gone on If-Match")
            store.delete(key)
    except StorageFull:
        log.warning("storage is full, so whether it honours conditional writes could not be checked")


def discard_old(store: ObjectStore, before: datetime) -> int:
    """Remove what a process left that ended in the middle of its probe, and say how many keys there were."""
    old = [key for key in store.list(PROBES) if key < probes_prefix(before)]
    store.delete(*old)
    return len(old)


def _require_refusal(store: ObjectStore, key: str, when: Condition, header: str) -> None:
    if not _is_refused(store, key, when):
        store.delete(key)
        raise StorageUnavailable(
            f"its S3 server ignores {header} on PutObject, without which downloads cannot be counted exactly",
            lasting=True,
        )


def _is_refused(store: ObjectStore, key: str, when: Condition) -> bool:
    for _ in range(_TRIES):
        try:
            store.put(key, b"two", when)
        except TooSoon:
            # Says nothing about the condition.
            time.sleep(_PAUSE)
        except (AlreadyExists, Changed, NotFound):
            return True
        else:
            return False
    raise StorageUnavailable("its S3 server takes too few writes of one key")


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Report what proves nothing either way as storage that does not answer."""
    try:
        yield
    except NotSent as error:
        raise StorageUnavailable(error.reason) from error
    except (Ambiguous, AlreadyExists, Changed) as error:
        raise StorageUnavailable(
            f"no answer to a conditional write ({error.__cause__ or type(error).__name__})"
        ) from error
