"""The emulator as a whole: real processes with AWS's runtime client, behind the gateway, on moto."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3.session
import httpx
import pytest

from local import artifact
from local.emulate import platform, running
from local.gateway import Gateway
from local.runtime import Runtime
from tests.api.client import BucketObjects
from tests.emulated.deployment import ARTIFACT, ROOT
from tests.emulated.emulator import Emulator, alive, command_line
from tests.emulated.emulator import emulating as emulator_process
from tests.gateway import DOMAIN
from tests.wire.server import WITHIN, until

TOKEN = "token-of-the-tests"
OWNER = {"Authorization": f"Bearer {TOKEN}"}

# As `make emulate` starts it.
emulating = functools.partial(emulator_process, forking=False)

pytestmark = [
    # One emulator for the whole module, so in one pytest process.
    pytest.mark.xdist_group("emulator"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulating(tmp_path_factory.mktemp("emulator"), ARTIFACT, "--token", TOKEN) as emulator:
        yield emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[httpx.Client]:
    with emulator.client() as client:
        yield client


def upload(client: httpx.Client, data: bytes) -> dict[str, Any]:
    response = client.post("/file/upload/", files={"file": ("é.bin", data, "application/x-own")}, headers=OWNER)
    assert response.status_code == 201, response.text
    uploaded: dict[str, Any] = response.json()
    return uploaded


def test_a_file_goes_through_its_whole_life(client: httpx.Client) -> None:
    data = bytes(range(256)) * 4096
    uploaded = upload(client, data)
    file_id = uploaded["file_id"]
    assert uploaded["download_link"] == f"{client.base_url}/file/download/{file_id}"

    assert client.get("/file/metadata/").status_code == 401
    assert client.get("/file/metadata/", headers=OWNER).json()[file_id]["original_name"] == "é.bin"

    head = client.head(f"/file/download/{file_id}/")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")
    response = client.get(uploaded["download_link"])
    assert response.content == data
    assert response.headers["content-type"] == "application/x-own"
    assert client.get(f"/file/download/{file_id}", headers={"Range": "bytes=3-5"}).content == data[3:6]

    metadata = client.get(f"/file/metadata/{file_id}").json()
    assert (metadata["file_size"], metadata["download_count"]) == (len(data), 1)
    assert client.patch(f"/file/{file_id}", json={"max_downloads": 1}, headers=OWNER).status_code == 200
    assert client.get(f"/file/download/{file_id}").status_code == 410
    assert client.delete(f"/file/{file_id}", headers=OWNER).status_code == 204
    assert client.get(f"/file/metadata/{file_id}").status_code == 404


def test_what_no_route_is_for_goes_to_the_whole_app(client: httpx.Client) -> None:
    for path in ("/no/such/page", "/file/download/%ff"):
        response = client.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert client.get("/openapi.json").status_code == 200
    assert client.put("/health").status_code == 405


# HTTP APIs have no routes that end in a slash: https://github.com/aws/serverless-application-model/issues/1949
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_path_of_the_session_answers_with_and_without_its_slash(client: httpx.Client, slash: str) -> None:
    sent = {"file": ("a.txt", b"0123456789", "text/plain")}
    assert client.post(f"/file/upload{slash}", files=sent).status_code == 401
    uploaded = client.post(f"/file/upload{slash}", files=sent, headers=OWNER)
    assert uploaded.status_code == 201, uploaded.text
    file_id = uploaded.json()["file_id"]
    assert client.get(f"/file/download/{file_id}{slash}").content == b"0123456789"
    assert client.get(f"/file/metadata{slash}").status_code == 401
    listing = client.get(f"/file/metadata{slash}", headers=OWNER).json()
    alone = client.get(f"/file/metadata/{file_id}{slash}").json()
    assert listing[file_id]["download_count"] == alone["download_count"] == 1
    assert client.get(f"/health{slash}").status_code == 200


NAMES = ["100% really?.txt", "a%41.txt", "a+b c#d.txt", "🎉.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_in_the_query_comes_back(client: httpx.Client, name: str) -> None:
    # As the page and the client send it. In a path, the gateway would alter some of these names, and refuse others.
    query = {"filename": name, "content_type": "text/plain"}
    headers = {**OWNER, "Content-Type": "application/octet-stream"}
    response = client.put("/file/upload", params=query, content=b"caf\xe9\n", headers=headers)
    assert response.status_code == 201, response.text
    assert (response.json()["original_name"], response.json()["content_type"]) == (name, "text/plain")
    assert client.get(response.json()["download_link"]).content == b"caf\xe9\n"


def test_bytes_sent_as_text_that_they_are_not_are_refused(client: httpx.Client) -> None:
    headers = {**OWNER, "Content-Type": "text/plain"}
    response = client.put("/file/upload?filename=a.txt", content=b"caf\xe9\n", headers=headers)
    assert response.status_code == 400
    assert "application/octet-stream" in response.json()["detail"]


def test_the_log_has_no_lines_without_a_correlation_id(emulator: Emulator, client: httpx.Client) -> None:
    # With the template's LogFormat, Lambda also logs the messages of libraries. botocore logs where it found
    # credentials.
    assert client.get("/health").status_code == 200

    def logged() -> list[dict[str, Any]]:
        # The last line may not be complete yet.
        whole_lines = emulator.log.read_text().splitlines(keepends=True)[:-1]
        lines = [json.loads(line) for line in whole_lines if line.startswith("{")]
        return [line for line in lines if "level" in line]

    until(lambda: logged() != [])
    assert [line for line in logged() if "correlation_id" not in line] == []


def test_more_than_lambda_takes_is_refused_by_the_gateway(client: httpx.Client) -> None:
    response = client.put("/file/upload/big.bin", content=bytes(5_000_000), headers=OWNER)
    assert (response.status_code, response.json()) == (413, {"message": "Request Too Long"})


def test_parallel_downloads_by_several_processes_are_counted_exactly() -> None:
    """The gateway has as much time here as several processes need to start on a busy machine."""
    template = artifact.load(ARTIFACT)

    async def run(runtime: Runtime) -> None:
        gateway = Gateway(template.routes, runtime.invoke, DOMAIN, timeout=10 * WITHIN)
        transport = httpx.ASGITransport(gateway)
        async with httpx.AsyncClient(transport=transport, base_url=f"https://{DOMAIN}") as client:
            uploaded = (await client.put("/file/upload/hot.txt", content=b"hot")).json()
            path = f"/file/download/{uploaded['file_id']}"
            # All at once, so that each of the processes has some of them.
            answers = await asyncio.gather(*(client.get(path) for _ in range(50)))
            assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"hot")] * 50
            metadata = (await client.get(f"/file/metadata/{uploaded['file_id']}")).json()
            assert metadata["download_count"] == 50

    with (
        platform(ARTIFACT, template, token=None) as provided,
        running(provided, concurrency=3) as runtime,
        asyncio.Runner() as runner,
    ):
        try:
            runner.run(run(runtime))
        finally:
            runner.run(runtime.close())


FAULTY = """
import os, time

def handler(event, context):
    match event["rawPath"]:
        case "/exit":
            os._exit(3)
        case "/raise":
            raise RuntimeError("on purpose")
        case "/sleep":
            time.sleep(60)
        case "/big":
            return {"statusCode": 200, "body": "x" * 6_300_000}
        case "/environment":
            return dict(os.environ)
    return {"statusCode": 200, "body": str(os.getpid())}
"""
FAULTY_TEMPLATE = """
Resources:
  FaultyFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: faulty.handler
      Timeout: 3
      MemorySize: 256
      Environment: {Variables: {OWN: !Ref AWS::AccountId}}
      Events: {Default: {Type: HttpApi}}
  BrokenFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: missing.handler
      Events: {Get: {Type: HttpApi, Properties: {Method: GET, Path: /broken}}}
"""


@pytest.fixture(scope="module")
def faulty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "template.yaml").write_text(FAULTY_TEMPLATE)
    (folder / "faulty.py").write_text(FAULTY)
    return folder


@pytest.fixture(scope="module")
def faulty(faulty_folder: Path) -> Iterator[Emulator]:
    with emulating(faulty_folder, faulty_folder, "--concurrency", "1") as emulator:
        yield emulator


@pytest.mark.parametrize("fault", ["/exit", "/raise", "/sleep", "/big", "/broken"])
def test_after_a_function_failed_the_next_request_is_answered(faulty: Emulator, fault: str) -> None:
    with faulty.client() as client:
        for _ in range(2):
            response = client.get(fault)
            assert (response.status_code, response.json()) == (500, {"message": "Internal Server Error"})
            assert client.get("/").status_code == 200


def test_a_process_is_kept_for_the_next_event(faulty: Emulator) -> None:
    with faulty.client() as client:
        pids = {client.get("/").text for _ in range(3)}
    assert len(pids) == 1
    assert [str(pid) for pid in faulty.processes("faulty.handler")] == list(pids)


def test_a_function_finds_what_lambda_sets_and_nothing_of_the_machine(faulty: Emulator, faulty_folder: Path) -> None:
    with faulty.client() as client:
        environment = client.get("/environment").json()
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "FaultyFunction"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["LAMBDA_TASK_ROOT"] == str(faulty_folder)
    assert environment["_HANDLER"] == "faulty.handler"
    assert environment["OWN"] == "123456789012"
    assert not {"HOME", "USER", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST"} & environment.keys()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running(faulty_folder: Path, tmp_path: Path, how: signal.Signals) -> None:
    with emulating(tmp_path, faulty_folder) as emulator, ThreadPoolExecutor(1) as threads, emulator.client() as client:
        client.get("/")
        # One process that is busy when the emulator ends.
        busy = threads.submit(client.get, "/sleep")
        started = emulator.processes()
        assert [pid for pid in started if "moto" in command_line(pid)]
        assert [pid for pid in started if "awslambdaric" in command_line(pid)]
        status = emulator.stop(how)
        assert alive(started) == []
        with contextlib.suppress(httpx.TransportError):
            busy.result()
    assert status == (0 if how != signal.SIGKILL else -signal.SIGKILL)


def test_a_port_that_is_taken_stops_the_start(faulty: Emulator, faulty_folder: Path) -> None:
    port = faulty.url.rpartition(":")[2]
    run = local("emulate", "--port", port, "--artifact", str(faulty_folder))
    assert run.returncode == 2
    assert "in use" in run.stderr


def local(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"local.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def invoke(tmp_path: Path, faulty_folder: Path) -> Callable[[dict[str, Any]], subprocess.CompletedProcess[str]]:
    def run(event: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "event.json"
        path.write_text(json.dumps(event))
        return local("invoke", "--function", "FaultyFunction", "--event", str(path), "--artifact", str(faulty_folder))

    return run


def test_one_function_can_be_invoked_with_one_event(
    invoke: Callable[[dict[str, Any]], subprocess.CompletedProcess[str]],
) -> None:
    run = invoke({"rawPath": "/"})
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["statusCode"] == 200


def test_invoking_a_function_that_fails_fails(
    invoke: Callable[[dict[str, Any]], subprocess.CompletedProcess[str]],
) -> None:
    run = invoke({"rawPath": "/raise"})
    assert run.returncode == 1, run.stderr
    assert json.loads(run.stdout)["errorMessage"] == "on purpose"


def test_a_request_is_invoked_by_the_function_that_answers_it() -> None:
    run = local("invoke", "--request", "GET /file/metadata?limit=2", "--artifact", str(ROOT))
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["statusCode"] == 200
    assert "ListMetadataFunction" in run.stderr


def test_a_function_is_invoked_by_its_first_route() -> None:
    run = local("invoke", "--function", "DownloadFunction", "--artifact", str(ROOT))
    assert run.returncode == 0, run.stderr
    # The file does not exist.
    assert json.loads(run.stdout)["statusCode"] == 404
    assert "DownloadFunction" in run.stderr


def test_a_function_without_a_route_needs_an_event() -> None:
    run = local("invoke", "--function", "SweepFunction", "--artifact", str(ROOT))
    assert run.returncode == 2
    assert "EVENT=file" in run.stderr


def test_an_invocation_without_a_request_or_a_function_is_refused() -> None:
    run = local("invoke", "--artifact", str(ROOT))
    assert run.returncode == 2
    assert "either --request or --function is required" in run.stderr


def test_a_function_that_is_not_there_is_named() -> None:
    run = local("invoke", "--function", "NoFunction", "--event", "events/download.json", "--artifact", str(ROOT))
    assert run.returncode == 2
    assert "NoFunction" in run.stderr
    assert "DownloadFunction" in run.stderr


def test_a_direct_upload_is_sealed_by_the_buckets_event(emulator: Emulator, client: httpx.Client) -> None:
    address = "/file/s3/multipart"
    started = client.post(address, headers=OWNER, json={"filename": "big.bin"}).json()
    address, key = f"{address}/{started['uploadId']}", {"key": started["key"]}
    url = client.get(f"{address}/1", headers=OWNER, params=key).json()["url"]
    part = {"PartNumber": 1, "ETag": httpx.put(url, content=b"bytes").headers["etag"]}
    answer = client.post(f"{address}/complete", headers=OWNER, params=key, json={"parts": [part]}).json()
    storage = found_storage(emulator)
    record = f"metadata/{answer['file_id'][:2]}/{answer['file_id']}.json"
    until(lambda: json.loads(storage.read(record))["sealed"])
    assert pickle.loads(storage.read(f"files/{answer['file_id'][:2]}/{answer['file_id']}.pickle")) == b"bytes"
    assert client.get(answer["location"]).content == b"bytes"
    assert "Traceback" not in emulator.log.read_text()


def found_storage(emulator: Emulator) -> BucketObjects:
    """The bucket that the emulator's output names."""
    said = re.search(r"^Bucket: (\S+) on (\S+)$", emulator.log.read_text(), re.MULTILINE)
    assert said is not None
    session = boto3.session.Session("testing", "testing", region_name="us-east-1")
    return BucketObjects(session.client("s3", endpoint_url=said[2]), said[1], "")
