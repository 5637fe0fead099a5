"""P16: sweeping many due files on S3."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import cast

from benchmarks.distant_s3 import BUCKET, DistantS3
from benchmarks.harness import Goal, Result, Setup, WrongAnswer
from benchmarks.stores import MemoryStore
from shared.sharing import Shares
from shared.storage.contract import ObjectStore
from shared.storage.keys import blob_key
from shared.storage.records import READY, Record
from shared.storage.s3.store import open_s3
from shared.sweeping import Sweep

DUE = 20_000


def sweeping(setup: Setup) -> Result:
    """P16: one sweep per round: its duration, processor time and requests, each for 20,000 due files."""
    count = setup.sized(DUE, 100)
    names = {"20,000 due files": "s", "processor time of that": "s", "requests of that": ""}
    result = Result({name: [] for name in names}, names)
    for _ in range(setup.rounds):
        distant = DistantS3()
        now = datetime.now(UTC)
        fill(distant.store, count, now)
        with distant.connected():
            shares = Shares(open_s3(BUCKET, ""), max_file_size=1, clock=lambda now=now: now)  # type: ignore[misc]
            began, processor = time.perf_counter(), time.process_time()
            swept = Sweep(shares).run()
            figures = time.perf_counter() - began, time.process_time() - processor, distant.requests
        if (swept.removed, swept.failed) != (count, 0) or any(distant.store.list("files/")):
            raise WrongAnswer(f"{swept} of {count}")
        for name, figure in zip(names, figures, strict=True):
            result.figures[name].append(figure * DUE / count)
    result.goals = [Goal("P16", "sweep on S3", "20,000 due files", most=900, unit="s")]
    if count != DUE:
        result.notes.append(f"Measured with {count:,} files, and multiplied.")
    return result


def fill(store: MemoryStore, count: int, now: datetime) -> None:
    """Store this many files that expired a day ago."""
    shares = Shares(cast("ObjectStore", store), max_file_size=1, clock=lambda: now - timedelta(days=2))
    over = now - timedelta(days=1)
    for _ in range(count):
        file_id = str(uuid.uuid4())
        shares.expiries.add(file_id, over)
        store.put(blob_key(file_id), b"x")
        shares.records.create(
            Record(file_id, READY, "file.bin", "text/plain", 1, "0" * 64, shares.now(), expires_at=over)
        )
