"""Every use case, with each of its storage calls failing in every possible way.

In each case, the client learns the outcome, or that it is unknown. Counts are exact as far as the outcome is known, and
leftovers are swept.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import httpx
import pytest

from shared.errors import ShareError, StorageFull, StorageUnavailable
from shared.storage.contract import Ambiguous, Changed
from shared.sweeping import Sweep
from tests.api.client import DIGITS, file_part, form, problem, text_part
from tests.faults.faulty import Faulty
from tests.interposed import Around, Call, undisturbed

# Kinds of faults


def unavailable(_call: Call, _proceed: Callable[[], Any]) -> NoReturn:
    raise StorageUnavailable("said so")


def answer_lost(call: Call, proceed: Callable[[], Any]) -> NoReturn:
    proceed()
    if call.verb == "put if":
        raise Ambiguous(call.key)
    raise StorageUnavailable("no answer came")


def never_sent(call: Call, _proceed: Callable[[], Any]) -> NoReturn:
    if call.verb == "put if":
        raise Ambiguous(call.key)
    raise StorageUnavailable("nothing was sent")


def full(_call: Call, _proceed: Callable[[], Any]) -> NoReturn:
    raise StorageFull


def conflict(call: Call, _proceed: Callable[[], Any]) -> NoReturn:
    # S3 answers 409 if another write is in progress.
    raise Changed(call.key)


ANY_VERB = None
WAYS: dict[str, tuple[Around, frozenset[str] | None]] = {
    "unavailable": (unavailable, ANY_VERB),
    "answer lost": (answer_lost, ANY_VERB),
    "never sent": (never_sent, frozenset({"put if"})),
    "full": (full, frozenset({"put", "put if", "writer", "write", "commit", "commit part"})),
    "conflict": (conflict, frozenset({"put if"})),
}


@dataclass
class Fault:
    """Makes one call fail, or that call and all later ones."""

    number: int
    way: str
    lasting: bool = False
    struck: Call | None = None
    reached: bool = False
    """Whether call `number` was made."""

    def __call__(self, call: Call, proceed: Callable[[], Any]) -> Any:
        around, verbs = WAYS[self.way]
        self.reached = self.reached or call.number == self.number
        due = call.number >= self.number if self.lasting else call.number == self.number
        if not due or (verbs is not None and call.verb not in verbs):
            return proceed()
        self.struck = self.struck or call
        return around(call, proceed)


def every_fault(act: Callable[[Fault], None]) -> int:
    """Run `act` once for every call and every kind of fault. Returns the number of faults that occurred."""
    tried = 0
    for way, lasting in itertools.product(WAYS, (False, True)):
        for number in itertools.count():
            fault = Fault(number, way, lasting)
            act(fault)
            tried += fault.struck is not None
            if not fault.reached:
                break
    return tried


def share(faulty: Faulty, *options: bytes) -> dict[str, Any]:
    answer = faulty.api.post(form(*options, file_part(DIGITS)))
    assert answer.status_code == 201
    file: dict[str, Any] = answer.json()
    return file


def is_clear(response: httpx.Response) -> None:
    """Check that it is a storage fault that does not reveal its cause."""
    assert response.status_code in (500, 503, 507), response.text
    members = problem(response, response.status_code)
    assert "said so" not in response.text
    assert "files/" not in response.text
    if response.status_code == 503:
        assert int(response.headers["retry-after"]) > 0
    assert response.status_code != 500 or members["title"] != "Internal Server Error", members


def test_uploads(faulty: Faulty) -> None:
    acknowledged: set[str] = set()
    refused = 0

    def upload(fault: Fault) -> None:
        nonlocal refused
        before = faulty.api.listing().keys()
        faulty.store.begin(fault)
        answer = faulty.api.post(form(text_part("expires_in", b"1000000"), file_part(DIGITS)))
        faulty.store.begin(undisturbed)
        new = faulty.api.listing().keys() - before
        if answer.status_code == 201:
            assert new == {answer.json()["file_id"]}
            acknowledged.update(new)
            return
        is_clear(answer)
        refused += 1
        # If the answer to the record's put was lost, the record can exist. Then the file is complete.
        for file_id in new:
            assert fault.way in ("answer lost", "never sent")
            assert faulty.api.download(file_id).content == DIGITS
            acknowledged.add(file_id)

    assert every_fault(upload) > 40
    assert refused
    assert faulty.api.listing().keys() == acknowledged
    faulty.settle()
    assert faulty.kept() == acknowledged
    # The expiry entries of failed uploads are removed when they are due.
    for wait in (timedelta(seconds=1_000_000, hours=2), timedelta(hours=25)):
        faulty.clock.now += wait
        Sweep(faulty.shares()).run()
    assert faulty.entries() == set()


@pytest.mark.parametrize("cap", [None, b"100000"])
def test_downloads(faulty: Faulty, cap: bytes | None) -> None:
    file_id = share(faulty, *([] if cap is None else [text_part("max_downloads", cap)]))["file_id"]
    count = 0

    def download(fault: Fault) -> None:
        nonlocal count
        faulty.store.begin(fault)
        answer = faulty.api.download(file_id)
        faulty.store.begin(undisturbed)
        now = faulty.api.count(file_id)
        if answer.status_code == 200:
            assert answer.content == DIGITS
            assert now == count + 1
        else:
            is_clear(answer)
            assert DIGITS not in answer.content
            # A failed download may count only if its count was stored before the first bytes could not be read, or
            # might be stored.
            late = fault.way == "answer lost" or (fault.struck is not None and fault.struck.verb == "read on")
            assert now == count or (now == count + 1 and late)
        count = now

    assert every_fault(download) > 20
    faulty.settle()
    assert faulty.kept() == {file_id}
    assert faulty.api.count(file_id) == count


def test_the_last_download_of_a_cap(faulty: Faulty) -> None:
    def spend(fault: Fault) -> None:
        file_id = share(faulty, text_part("max_downloads", b"1"))["file_id"]
        faulty.store.begin(fault)
        answers = [faulty.api.download(file_id)]
        faulty.store.begin(undisturbed)
        answers += [faulty.api.download(file_id), faulty.api.download(file_id)]
        assert [answer.status_code for answer in answers].count(200) <= 1
        assert answers[2].status_code == 410
        assert faulty.api.count(file_id) == 1
        for answer in answers:
            if answer.status_code not in (200, 410):
                is_clear(answer)

    assert every_fault(spend) > 20
    faulty.settle()
    assert faulty.kept() == set()


def test_changes(faulty: Faulty) -> None:
    file = share(faulty)
    owner = {"X-Delete-Token": file["delete_token"], "Content-Type": "application/json"}
    path = f"/file/{file['file_id']}"
    caps = itertools.count(1000)
    before: tuple[object, ...] = (None, None)

    def change(fault: Fault) -> None:
        nonlocal before
        cap = next(caps)
        body = f'{{"max_downloads": {cap}, "expires_in": {10**6 + cap}}}'.encode()
        faulty.store.begin(fault)
        answer = faulty.api.request("PATCH", path, owner, body)
        faulty.store.begin(undisturbed)
        shown = faulty.api.metadata(file["file_id"])
        after = (shown["max_downloads"], shown["expires_at"])
        if answer.status_code == 200:
            assert (answer.json()["max_downloads"], answer.json()["expires_at"]) == after
            assert after[0] == cap
        else:
            is_clear(answer)
            assert after == before or (after[0] == cap and fault.way == "answer lost")
        before = after

    assert every_fault(change) > 15
    faulty.settle()
    assert faulty.kept() == {file["file_id"]}


def test_deletions(faulty: Faulty) -> None:
    def delete(fault: Fault) -> None:
        file = share(faulty, text_part("expires_in", b"1000000"))
        owner = {"X-Delete-Token": file["delete_token"]}
        faulty.store.begin(fault)
        answer = faulty.api.request("DELETE", f"/file/{file['file_id']}", owner)
        faulty.store.begin(undisturbed)
        if answer.status_code != 204:
            is_clear(answer)
            # It can be repeated until it succeeds or the file is unknown.
            again = faulty.api.request("DELETE", f"/file/{file['file_id']}", owner)
            assert again.status_code in (204, 404)
        problem(faulty.api.download(file["file_id"]), 404)

    assert every_fault(delete) > 20
    assert faulty.api.listing() == {}
    faulty.settle()
    assert faulty.kept() == set()
    for wait in (timedelta(seconds=1_000_000, hours=2), timedelta(hours=25)):
        faulty.clock.now += wait
        Sweep(faulty.shares()).run()
    assert faulty.entries() == set()


def test_direct_uploads(faulty: Faulty) -> None:
    address, headers = "/file/s3/multipart", {"Content-Type": "application/json"}
    completed_ids: set[str] = set()

    def ask(method: str, path: str, content: bytes = b"") -> httpx.Response:
        return faulty.api.request(method, path, headers, content)

    def upload(fault: Fault) -> None:
        before = faulty.api.listing().keys()
        faulty.store.begin(fault)
        begun = ask("POST", address, b'{"filename": "big.bin", "metadata": {"expires_in": 1000000}}')
        if begun.status_code != 200:
            faulty.store.begin(undisturbed)
            is_clear(begun)
            assert faulty.api.listing().keys() == before
            return
        started = begun.json()
        upload, key = f"{address}/{started['uploadId']}", f"?key={started['key']}"

        def rest() -> httpx.Response:
            part = ask("PUT", f"{upload}/1{key}", DIGITS)
            if part.status_code != 200:
                return part
            parts = {"parts": [{"PartNumber": 1, "ETag": part.headers["etag"]}]}
            return ask("POST", f"{upload}/complete{key}", json.dumps(parts).encode())

        answer = rest()
        faulty.store.begin(undisturbed)
        if answer.status_code != 200:
            is_clear(answer)
            # It can be further than the answer says, and can be continued in both cases.
            answer = ask("POST", f"{upload}/complete{key}", b'{"parts": [{"PartNumber": 1, "ETag": "any"}]}')
            if answer.status_code != 200:
                problem(answer, 422)
                assert faulty.api.listing().keys() == before
                answer = rest()
        assert answer.status_code == 200, answer.text
        assert faulty.api.listing().keys() - before == {started["file_id"]}
        assert faulty.api.download(started["file_id"]).content == DIGITS
        completed_ids.add(started["file_id"])

    assert every_fault(upload) > 60
    for wait in (timedelta(days=8), timedelta(hours=25), timedelta(hours=25)):
        faulty.clock.now += wait
        assert Sweep(faulty.shares()).run().failed == 0
    assert faulty.kept() == completed_ids
    assert list(faulty.store.store.list("raw/")) == []
    for wait in (timedelta(days=8), timedelta(hours=25), timedelta(hours=25)):
        faulty.clock.now += wait
        Sweep(faulty.shares()).run()
    assert (faulty.kept(), faulty.entries()) == (set(), set())


def test_lists_and_looks(faulty: Faulty) -> None:
    file_id = share(faulty)["file_id"]

    def look(fault: Fault) -> None:
        for path in ("/file/metadata/", f"/file/metadata/{file_id}", "/health"):
            faulty.store.begin(fault)
            fault.struck = None
            answer = faulty.api.request("GET", path)
            if fault.struck is None:
                assert answer.status_code == 200
            else:
                is_clear(answer)
        page = faulty.api.request("GET", f"/download/{file_id}")
        assert page.status_code in (200, 503)

    assert every_fault(look) > 3
    assert faulty.api.count(file_id) == 0


def test_sweeps(faulty: Faulty) -> None:
    kept = share(faulty, text_part("expires_in", b"100000000"))["file_id"]

    def sweep(fault: Fault) -> None:
        share(faulty, text_part("expires_in", b"60"))
        orphan = faulty.store.store.writer("files/00/00000000-0000-4000-8000-000000000000.pickle")
        orphan.write(b"no record")
        orphan.commit()
        faulty.store.store.put("expiries/2030-05-01T00/00000000-0000-4000-8000-000000000000", b"")
        faulty.clock.now += timedelta(hours=25)
        faulty.store.begin(fault)
        try:
            Sweep(faulty.shares(faulty.store)).run()
        except ShareError:
            assert fault.struck is not None
        faulty.store.begin(undisturbed)
        assert faulty.api.listing().keys() == {kept}
        # Later sweeps remove the rest, so that the next fault finds the same amount of work.
        for _ in range(2):
            faulty.clock.now += timedelta(hours=49)
            assert Sweep(faulty.shares()).run().failed == 0

    assert every_fault(sweep) > 50
    for _ in range(4):
        faulty.clock.now += timedelta(hours=25)
        assert Sweep(faulty.shares()).run().failed == 0
    assert faulty.kept() == {kept}


def test_nothing_that_is_slow_is_a_fault(faulty: Faulty) -> None:
    def slow(_call: Call, proceed: Callable[[], Any]) -> Any:
        time.sleep(0.002)
        return proceed()

    faulty.store.begin(slow)
    file = share(faulty)
    assert faulty.api.download(file["file_id"]).content == DIGITS
    assert faulty.api.count(file["file_id"]) == 1
    owner = {"X-Delete-Token": file["delete_token"]}
    assert faulty.api.request("DELETE", f"/file/{file['file_id']}", owner).status_code == 204
