"""The stores on which the contract is tested, and a recorder for their requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from botocore.awsrequest import AWSPreparedRequest

from shared.storage.contract import ObjectStore

BUCKET = "contract"

# Differences between a server and the contract; the affected tests do not run there.
LEFT_OUT = {
    (
        "seaweedfs",
        "test_a_listing_goes_on_behind_any_key",
    ): "goes on in a tree's order, a/b behind a and not a-b",
    ("seaweedfs", "test_of_a_part_sent_twice_the_later_one_counts"): "keeps and lists both, if their bytes differ",
    ("moto", "test_a_source_that_changes_while_it_is_copied_is_noticed"): "ignores CopySourceIfMatch",
    ("moto", "test_a_signed_url_expires"): "checks no signature",
    ("moto", "test_a_signed_url_is_good_for_what_was_signed_only"): "checks no signature",
    ("moto", "test_a_signed_url_for_a_part_is_good_for_its_size_only"): "checks no signature",
}


@dataclass(frozen=True)
class Backend:
    """An empty store, and direct access to its data."""

    store: ObjectStore
    unfinished: Callable[[], list[str]]
    """What storage keeps of unfinished writes."""


class Requests:
    """Records requests to S3. Each one is passed to `before` with its number."""

    def __init__(self) -> None:
        self.sent: list[AWSPreparedRequest] = []
        self.before: Callable[[int, AWSPreparedRequest], object] = lambda _number, _request: None
        self._count = 0
        self._lock = threading.Lock()

    def note(self, request: AWSPreparedRequest) -> None:
        with self._lock:
            number = self._count
            self._count += 1
        self.before(number, request)
        self.sent.append(request)

    def forget(self) -> None:
        self.sent.clear()
        self._count = 0

    def parts(self) -> int:
        """The number of parts that were sent or copied."""
        return sum(1 for request in self.sent if request.method == "PUT" and "partNumber=" in request.url)


@dataclass(frozen=True)
class Sleepless:
    """Replaces the module `time`."""

    pauses: list[float]

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
