"""The stores that the contract is tried on, and what is seen of their requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from botocore.awsrequest import AWSPreparedRequest

from shared.storage.contract import ObjectStore

BUCKET = "contract"

# What a server does otherwise than S3, and than the contract has it: such a test is not run there.
LEFT_OUT = {
    (
        "seaweedfs",
        "test_a_listing_goes_on_behind_any_key",
    ): "goes on in a tree's order, a/b behind a and not a-b",
    ("seaweedfs", "test_of_a_part_sent_twice_the_later_one_counts"): "keeps and lists both, if their bytes differ",
    ("moto", "test_a_source_that_changes_while_it_is_copied_is_noticed"): "ignores CopySourceIfMatch",
    ("moto", "test_a_signed_url_expires"): "checks no signature",
    ("moto", "test_a_signed_url_is_good_for_what_was_signed_only"): "checks no signature",
}


@dataclass(frozen=True)
class Backend:
    """A store that is empty, and a look behind it."""

    store: ObjectStore
    unfinished: Callable[[], list[str]]
    """Whatever storage keeps of writes that are not finished."""


class Requests:
    """What is sent to S3, each request shown to `before` with how many there were."""

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
        """How many parts were sent or copied."""
        return sum(1 for request in self.sent if request.method == "PUT" and "partNumber=" in request.url)


@dataclass(frozen=True)
class Sleepless:
    """Stands in for the module `time`."""

    pauses: list[float]

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
