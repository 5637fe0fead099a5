"""JSON bodies: parsed off the event loop, and refused if parsing would cost more time than their length justifies."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.api.client import Api, problem

# A Lambda function serves one request at a time, and has no threads for slow work.
on_a_server = pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)


def complete(api: Api, body: bytes) -> Any:
    started = api.request(
        "POST", "/file/s3/multipart", {"content-type": "application/json"}, b'{"filename": "a"}'
    ).json()
    path = f"/file/s3/multipart/{started['uploadId']}/complete"
    return api.request("POST", path, {"content-type": "application/json"}, body, params={"key": started["key"]})


@on_a_server
def test_json_is_parsed_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    loads = json.loads

    def recorded(text: Any, **options: Any) -> Any:
        if b'"parts"' in bytes(text if isinstance(text, bytes | bytearray) else text.encode()):
            threads.append(threading.current_thread().name)
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", recorded)
    refused = complete(api, b'{"parts": []}')
    assert [name.startswith("storage") for name in threads] == [True]
    problem(refused, 422)


MANY = {"lists": b"[]", "objects": b"{}", "numbers": b"1"}


@pytest.mark.parametrize("value", MANY.values(), ids=MANY.keys())
def test_json_of_a_great_many_tiny_values_is_refused_unparsed(api: Api, value: bytes) -> None:
    # Parsing these would block the process for a third of a second, in any thread.
    problem(complete(api, b'{"parts": [' + value + (b"," + value) * 120_000 + b"]}"), 413)


def test_a_list_of_as_many_parts_as_there_may_be_is_read(api: Api) -> None:
    parts = [{"PartNumber": number, "ETag": f'"{number:032x}"', "Size": 5} for number in range(1, 10_001)]
    # The error is that they are not stored, so the list was read.
    refused = problem(complete(api, json.dumps({"parts": parts}).encode()), 422)
    assert refused["errors"][0]["field"] == "parts"
