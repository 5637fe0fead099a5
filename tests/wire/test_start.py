"""Starting the server: if the service could not work, one line says why, in every way of starting."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import httpx
import pytest

from shared import bootstrap
from shared.errors import InvalidSetting, StorageUnavailable
from shared.settings import Settings
from shared.sharing import Shares
from shared.storage.directory.store import DirectoryStore
from shared.tokens import Tokens
from tests.forks import Process, start
from tests.odd_s3 import Quirk, odd_s3
from tests.servers import S3Server, ask, free_ports, moto_server
from tests.wire.server import ROOT, until

BUCKET = "starts"
ENDS_WITHIN = 90.0  # seconds, on a machine that is busy with other tests
COMMANDS = {
    "make run": ["local.serve"],
    "uvicorn": ["uvicorn", "functions.app:app"],
}


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


@contextlib.contextmanager
def starting(
    command: Sequence[str], environment: Mapping[str, str], port: int = 0, *, fork: bool
) -> Iterator[tuple[Process, TextIO]]:
    """A server that is starting, as a fork or as people start it, and its output. It is stopped at the end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
    nothing_else = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    variables = {**inherited, **nothing_else, "AWS_EC2_METADATA_DISABLED": "true", **environment}
    reading, writing = os.pipe()
    with open(reading) as output:
        try:
            arguments = ["-m", *command, "--port", str(port)]
            process = start(arguments, ROOT, variables, writing, preparation="serve" if fork else None)
        finally:
            os.close(writing)
        try:
            yield process, output
        finally:
            process.terminate()
            process.wait(ENDS_WITHIN)


def refusals(environment: Mapping[str, str], *, fork: bool = True) -> list[str]:
    """The sentence with which each command says why it does not start."""
    sentences = []
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(starting(command, environment, fork=fork)) for command in COMMANDS.values()]
        for process, output in servers:
            status, text = process.wait(ENDS_WITHIN), output.read()
            assert status in (2, 3), text
            assert "Traceback" not in text
            [sentence] = re.findall(r"^(?:ERROR:    |\S+Z ERROR |error: )(SHARE_.*)$", text, re.MULTILINE)
            sentences.append(sentence)
    return sentences


REFUSED = {
    "wrong setting": ({"SHARE_MAX_FILE_SIZE": "banana"}, "SHARE_MAX_FILE_SIZE must be a whole number", False),
    "no directory": ({"SHARE_STORAGE": "/proc/nothing"}, "SHARE_STORAGE cannot be used: ", True),
    "no credentials": ({"SHARE_STORAGE": f"s3://{BUCKET}"}, "SHARE_STORAGE cannot be used: no AWS credentials", True),
}


@pytest.mark.parametrize(("environment", "said", "fork"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_stops_the_start_in_one_sentence(environment: dict[str, str], said: str, fork: bool) -> None:
    sentences = refusals(environment, fork=fork)
    assert len(set(sentences)) == 1
    assert sentences[0].startswith(said)


def test_a_bucket_that_does_not_exist_stops_the_start(moto: S3Server) -> None:
    sentences = refusals({**moto.environment(), "SHARE_STORAGE": "s3://no-such-bucket"})
    assert len(set(sentences)) == 1
    assert "NoSuchBucket" in sentences[0]


@pytest.mark.parametrize(
    ("quirk", "lacking"),
    [(Quirk.IGNORES_CONDITIONS, "ignores If-None-Match"), (Quirk.REFUSES_CONDITIONS, "does not implement If-Match")],
)
def test_a_server_without_conditional_writes_stops_the_start(moto: S3Server, quirk: Quirk, lacking: str) -> None:
    """Counts would be lost silently: two processes counted 16 downloads as 8."""
    with odd_s3(moto, quirk) as odd:
        sentences = refusals({**odd.server.environment(), "SHARE_STORAGE": f"s3://{BUCKET}/{uuid.uuid4()}"})
    assert len(set(sentences)) == 1
    assert sentences[0].startswith("SHARE_STORAGE cannot be used: its S3 server ")
    assert lacking in sentences[0]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_storage_that_does_not_answer_yet_is_waited_for(moto: S3Server, command: list[str]) -> None:
    port, storage_port = free_ports(2)
    late = replace(moto, endpoint=f"http://127.0.0.1:{storage_port}")
    environment = {**late.environment(), "SHARE_STORAGE": f"s3://{BUCKET}"}
    with starting(command, environment, port, fork=True) as (_, said):
        assert any("storage does not answer yet" in line for line in said)
        with odd_s3(moto, port=storage_port):
            assert any("Application startup complete" in line for line in said)
            until(lambda: answers(port))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_stopped_while_it_waits_for_storage(moto: S3Server, how: signal.Signals) -> None:
    (storage_port,) = free_ports(1)
    late = replace(moto, endpoint=f"http://127.0.0.1:{storage_port}")
    environment = {**late.environment(), "SHARE_STORAGE": f"s3://{BUCKET}"}
    with starting(["local.serve"], environment, fork=True) as (process, said):
        assert any("storage does not answer yet" in line for line in said)
        process.send_signal(how)
        # Otherwise, it would wait until it gives up, and fail.
        assert process.wait(ENDS_WITHIN) == 0


def test_opening_the_application_asks_storage_nothing(moto: S3Server) -> None:
    """Servers that fork afterwards would share the connection, and get the answers to each other's requests."""
    with odd_s3(moto) as odd:
        environment = {**os.environ, **odd.server.environment(), "SHARE_STORAGE": f"s3://{BUCKET}"}
        opening = [sys.executable, "-c", "from functions.app import app"]
        subprocess.run(opening, cwd=ROOT, env=environment, check=True, timeout=ENDS_WITHIN)
        assert odd.requests == []


def test_workers_that_start_slowly_are_not_started_again(tmp_path: Path) -> None:
    """As on a small machine: uvicorn waits for five seconds by default."""
    slow = "import sys, time\nif '--multiprocessing-fork' in sys.orig_argv:\n    time.sleep(6)\n"
    (tmp_path / "sitecustomize.py").write_text(slow)
    environment = {"PYTHONPATH": str(tmp_path), "SHARE_STORAGE": str(tmp_path / "data")}
    (port,) = free_ports(1)
    with starting(["local.serve", "--workers", "2"], environment, port, fork=False) as (process, output):
        lines = [next(line for line in output if "startup complete" in line or "died" in line) for _ in range(2)]
        assert "died" not in "".join(lines)
        assert answers(port)
        process.terminate()
        assert "died" not in output.read()


WELCOMES = {
    "on this machine": ([], {}, ["on this machine only", "open to everyone on this machine"]),
    "open to a network": (["--host", "0.0.0.0"], {}, ["the address at which you open", "everyone who can reach"]),  # noqa: S104
    "with a token": (["--workers", "2"], {"SHARE_API_TOKEN": "secret"}, ["this machine only", "with an access token"]),
    "behind a proxy": ([], {"SHARE_PUBLIC_URL": "https://files.example.org"}, ["start with https://files.example.org"]),
}


@pytest.mark.parametrize(("arguments", "environment", "said"), WELCOMES.values(), ids=WELCOMES.keys())
def test_make_run_ends_by_saying_where_to_go_and_who_can_upload(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], said: list[str]
) -> None:
    command = ["local.serve", "--welcome", *arguments]
    # Its workers are started as usual, too.
    fork = "--workers" not in arguments
    with starting(command, {"SHARE_STORAGE": str(tmp_path), **environment}, fork=fork) as (_, output):
        lines = []
        for line in output:
            lines.append(line)
            if line.startswith("  Uploads: "):
                break
        running = re.search(r"running on http://[0-9.]+:([0-9]+)", "".join(lines))
        assert running is not None, lines
        opened, files, links, uploads = lines[-4:]
        address = environment.get("SHARE_PUBLIC_URL", f"http://127.0.0.1:{running[1]}")
        assert opened.startswith(f"Open {address} ")
        assert files == f"  Files:   {tmp_path}\n"
        assert all(text in line for text, line in zip(said, (links, uploads), strict=False))
        until(lambda: answers(int(running[1])))


def test_only_make_run_explains_itself(tmp_path: Path) -> None:
    """The systemd unit and the image run `local.serve` without `--welcome`."""
    with starting(["local.serve"], {"SHARE_STORAGE": str(tmp_path)}, fork=False) as (process, output):
        assert any("running on" in line for line in output)
        process.terminate()
        rest = output.read()
    assert "Open http" not in rest
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO ", line) for line in rest.splitlines())


def answers(port: int) -> bool:
    try:
        return ask("GET", f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_storage_that_never_answers_stops_the_start_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, now = 0, 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(bootstrap, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    shares = Shares(DirectoryStore(tmp_path), max_file_size=1)

    def prove(_shares: Shares) -> None:
        nonlocal asked
        asked += 1
        raise StorageUnavailable("connection\nrefused")

    service = bootstrap.Service(Settings(), Tokens(), shares, prove=prove)

    with pytest.raises(InvalidSetting, match=r"^SHARE_STORAGE cannot be used: connection refused$"):
        bootstrap.wait_for_storage(service, within=3, ask_every=1)
    assert asked == 3
