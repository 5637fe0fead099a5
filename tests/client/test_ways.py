"""Broken transfers where the bytes go past the API: straight to S3, and straight from it."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.client.conftest import Client, make_client
from tests.client.proxy import Answer, Cut, Proxy, Seen
from tests.client.test_transfers import DATA, PART, SIZE
from tests.conftest import BUCKET
from tests.emulated.deployment import ARTIFACT
from tests.emulated.emulator import emulating
from tests.servers import S3Server
from tests.wire.server import Server, until

PARTS = -(-SIZE // PART)
HALF = SIZE // 2


class Halfway:
    """Holds a download once half of it is through."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._released = threading.Event()

    def __call__(self, seen: Seen, chunks: Iterator[bytes]) -> Iterator[bytes]:
        passed = 0
        for chunk in chunks:
            yield chunk
            passed += len(chunk)
            if passed >= HALF and not self.reached.is_set():
                self.reached.set()
                self._released.wait(60)
                raise Cut

    def release(self) -> None:
        self._released.set()


@dataclasses.dataclass(frozen=True)
class Way:
    """A client whose requests to the API pass `api`, and whose downloads from S3, if any, pass `s3`."""

    client: Client
    api: Proxy
    s3: Proxy

    def through_s3(self, seen: Seen) -> Answer | None:
        """Have the redirect of a download lead past the proxy."""
        if not seen.is_download:
            return None
        with self.api.request(seen.method, seen.target, seen.headers, b"") as response:
            if response.status != 307:
                return None
            location = urlsplit(response.headers["Location"])
        ours = urlsplit(self.s3.address)
        return 307, {"Location": urlunsplit(location._replace(netloc=ours.netloc))}, b""


@pytest.fixture(params=["s3", "emulated"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    if request.param == "emulated":
        with emulating(tmp_path, ARTIFACT, "--open") as emulator:
            said = re.search(r"^Bucket: \S+ on (\S+)$", emulator.log.read_text(), re.MULTILINE)
            assert said is not None
            with Proxy(port(emulator.url), direct=False) as api, Proxy(port(said[1]), direct=False) as s3:
                way = Way(make_client(tmp_path, api.address), api, s3)
                api.before = way.through_s3
                yield way
        return
    s3_server: S3Server = request.getfixturevalue("s3_server")
    variables = {**s3_server.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/client/{tmp_path.name}"}
    with (
        Server(tmp_path / "data", **variables) as server,
        Proxy(server.port, direct=False) as api,
        Proxy(port(s3_server.endpoint), direct=False) as s3,
    ):
        yield Way(make_client(tmp_path, api.address), api, s3)


def port(url: str) -> int:
    found = urlsplit(url).port
    assert found is not None
    return found


def asks_for_part(seen: Seen) -> bool:
    return seen.method == "GET" and re.match(r"/file/s3/multipart/[^/?]+/\d+\?", seen.target) is not None


def test_a_transfer_goes_on_where_it_was_killed(way: Way) -> None:
    client = way.client
    (client.here / "large.bin").write_bytes(DATA)
    before, released = way.api.before, threading.Event()
    slots = threading.Semaphore(2)

    def two_parts(seen: Seen) -> Answer | None:
        if asks_for_part(seen) and not slots.acquire(blocking=False):
            released.wait(60)
            raise Cut
        return before(seen)

    way.api.before = two_parts
    process = client.start("up", "large.bin")
    until(lambda: len(client.kept("unfinished")) == 1)
    begun = json.loads(client.kept("unfinished")[0].read_text())
    listing = f"/file/s3/multipart/{begun['uploadId']}?key={begun['key']}"

    def stored() -> int:
        with way.api.request("GET", listing, {"host": way.api.address.partition("//")[2]}, b"") as response:
            return len(json.loads(response.read()))

    until(lambda: stored() == 2)
    process.kill()
    process.communicate()
    released.set()
    way.api.before = before
    way.api.seen.clear()
    sent = client.json("up", "large.bin")
    assert sent["file_id"] == begun["key"].rpartition("/")[2]
    assert sum(map(asks_for_part, way.api.seen)) == PARTS - 2

    way.api.through = way.s3.through = hold = Halfway()
    process = client.start("down", sent["file_id"], "-o", "copy.bin")
    part = client.here / "copy.bin.part"
    until(lambda: hold.reached.is_set() and part.exists() and part.stat().st_size >= HALF - PART)
    process.kill()
    process.communicate()
    hold.release()
    there = part.stat().st_size
    way.api.seen.clear()
    way.s3.seen.clear()
    fetched = client.json("down", sent["file_id"], "-o", "copy.bin")
    assert fetched["resumed_at"] == there > 0
    assert sum(seen.sent for seen in (*way.api.seen, *way.s3.seen) if "range" in seen.headers) == SIZE - there
    assert (client.here / "copy.bin").read_bytes() == DATA
    assert client.json("info", sent["file_id"])["download_count"] == 1
