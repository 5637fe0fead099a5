"""Sealing on a server over S3: as soon as a direct upload is complete, beside the requests.

On AWS an event of the bucket starts the same work. Whatever is not sealed when the process ends, or fails, is left to
the sweep.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from shared.direct_uploads import DirectUploads
from shared.sharing import Shares

log = logging.getLogger(__name__)

# Storage copies the bytes itself, in many requests at once for a large file.
AT_ONCE = 2


class Sealing:
    """Seals a few completed uploads at a time; the others wait. Its methods are called from one thread."""

    def __init__(self, shares: Callable[[], Shares]) -> None:
        self._shares = shares
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def add(self, file_id: str) -> None:
        """Have a file sealed soon. Returns at once."""
        self._waiting.put(file_id)
        if len(self._threads) < AT_ONCE:
            # A daemon, since sealing can be interrupted anywhere and a process that ends must not wait for it.
            thread = threading.Thread(target=self._run, name="seal", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Take no more."""
        for _ in self._threads:
            self._waiting.put(None)

    def _run(self) -> None:
        while (file_id := self._waiting.get()) is not None:
            try:
                DirectUploads(self._shares()).seal(file_id)
            except Exception:
                log.exception("file %s could not be sealed and is left to the sweep", file_id)
