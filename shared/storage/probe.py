"""Tests whether a store honours the conditions of `put`, on which all counts and limits rely.

Some S3 servers ignore `If-Match` and `If-None-Match`. Two processes that count at the same time would then overwrite
each other without any error. A few writes to an unused key reveal this.
"""

from __future__ import annotations

import logging
import time
import uuid
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

# Cloudflare R2 accepts one write per key and second.
_TRIES = 5
_PAUSE = 1.0  # seconds
# An etag of the usual form that matches no bytes written here.
_WRONG = Matches('"00000000000000000000000000000000"')


def require_conditions(store: ObjectStore) -> None:
    """Write and remove a temporary key, in five requests.

    Raises `StorageUnavailable`, which is lasting if the store ignores conditions. A store that recreates a deleted key
    on `If-Match` passes, because deleted records stay in place for a while. A full store passes, too: it accepts no
    write that could be lost, and its files can still be downloaded and deleted.
    """
    key = probe_key(str(uuid.uuid4()), datetime.now(UTC))
    try:
        etag = store.put(key, b"one", ABSENT)
        _require_refusal(store, key, ABSENT, "If-None-Match: *")
        _require_refusal(store, key, _WRONG, "If-Match")
        store.delete(key)
        if not _is_refused(store, key, Matches(etag)):
            log.info("the S3 server recreates deleted keys on If-Match")
            store.delete(key)
    except StorageFull:
        log.warning("storage is full, so conditional writes could not be tested")
    except NotSent as error:
        raise StorageUnavailable(error.reason) from error
    except (Ambiguous, AlreadyExists, Changed) as error:
        reason = error.__cause__ or type(error).__name__
        raise StorageUnavailable(f"no answer to a conditional write ({reason})") from error


def discard_old(store: ObjectStore, before: datetime) -> int:
    """Remove keys of processes that ended during their probe, and return how many there were."""
    old = [key for key in store.list(PROBES) if key < probes_prefix(before)]
    store.delete(*old)
    return len(old)


def _require_refusal(store: ObjectStore, key: str, when: Condition, header: str) -> None:
    if not _is_refused(store, key, when):
        store.delete(key)
        raise StorageUnavailable(
            f"its S3 server ignores {header} on PutObject, which exact download counts require",
            lasting=True,
        )


def _is_refused(store: ObjectStore, key: str, when: Condition) -> bool:
    for _ in range(_TRIES):
        try:
            store.put(key, b"two", when)
        except TooSoon:
            # This does not depend on the condition.
            time.sleep(_PAUSE)
        except (AlreadyExists, Changed, NotFound):
            return True
        else:
            return False
    raise StorageUnavailable("its S3 server accepts too few writes per key")
