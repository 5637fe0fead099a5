"""Many clients race for a file, on processes that share only their storage."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.wire.server import WITHIN, Server

CLIENTS = 100
CAP = 5
ROUNDS = 3
DATA = b"only for the first five"


def share(server: Server, options: str = "") -> str:
    """Upload a file with these options. Returns its ID."""
    with contextlib.closing(server.client()) as client:
        client.request("PUT", f"/file/upload/a.txt{options}", DATA)
        response = client.getresponse()
        assert response.status == 201
        file_id: str = json.loads(response.read())["file_id"]
        return file_id


def download(server: Server, file_id: str) -> tuple[int, bytes]:
    """Status and body of a download, after retries if the server asks for them."""
    deadline = time.monotonic() + WITHIN
    while True:
        with contextlib.closing(server.client()) as client:
            client.request("GET", f"/file/download/{file_id}")
            response = client.getresponse()
            body = response.read()
        if response.status != 503 or time.monotonic() > deadline:
            return response.status, body
        time.sleep(float(response.headers["retry-after"]))


def race(servers: list[Server], file_id: str) -> list[tuple[int, bytes]]:
    """The results of all clients, which start together and are spread over the servers."""
    start = threading.Barrier(CLIENTS)

    def client(server: Server) -> tuple[int, bytes]:
        start.wait(WITHIN)
        return download(server, file_id)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(client, itertools.islice(itertools.cycle(servers), CLIENTS)))


def assert_cap_is_kept(servers: list[Server]) -> None:
    for _ in range(ROUNDS):
        file_id = share(servers[0], f"?max_downloads={CAP}")
        answers = race(servers, file_id)
        assert Counter(status for status, _ in answers) == {200: CAP, 410: CLIENTS - CAP}
        assert {body for status, body in answers if status == 200} == {DATA}
        assert [server.metadata(file_id)["download_count"] for server in servers] == [CAP] * len(servers)


def assert_all_are_counted(servers: list[Server]) -> None:
    file_id = share(servers[0])
    for rounds in range(1, ROUNDS + 1):
        assert race(servers, file_id) == [(200, DATA)] * CLIENTS
        assert [server.metadata(file_id)["download_count"] for server in servers] == [rounds * CLIENTS] * len(servers)


WORKERS = pytest.mark.parametrize("workers", [1, 4], indirect=True)


@WORKERS
def test_the_workers_of_one_machine_keep_a_cap_together(workers: list[Server]) -> None:
    assert_cap_is_kept(workers)


def test_machines_with_one_bucket_keep_a_cap_together(machines: list[Server]) -> None:
    assert_cap_is_kept(machines)


@WORKERS
def test_the_workers_of_one_machine_count_all(workers: list[Server]) -> None:
    assert_all_are_counted(workers)


def test_machines_with_one_bucket_count_all(machines: list[Server]) -> None:
    assert_all_are_counted(machines)
