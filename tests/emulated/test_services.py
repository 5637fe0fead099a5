"""What emulated functions need: a suitable build, the packages that Lambda provides, and AWS services."""

from __future__ import annotations

import contextlib
import http.client
import importlib.machinery
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3.session
import pytest
from werkzeug.serving import make_server

from local import artifact, aws
from local.intrinsics import REGION
from local.moto_server import HOST, OneAtATime, RequestHandler
from local.template import Template
from tests.wire.server import WITHIN

ROOT = Path(__file__).parent.parent.parent
BUILT = """
Resources:
  OneFunction:
    Type: AWS::Serverless::Function
    Properties: {Handler: one.handler, CodeUri: OneFunction}
"""
HERE = importlib.machinery.EXTENSION_SUFFIXES[0]
ELSEWHERE = ".cpython-39-m68k-linux-gnu.so"
WRITERS = 8


@pytest.fixture(autouse=True)
def nothing_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Python of `make build` is found, even if this machine has one."""
    monkeypatch.setattr(artifact, "BUILDER", tmp_path / "none")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / "template.yaml").write_text(BUILT)
    (tmp_path / "OneFunction" / "package").mkdir(parents=True)
    for name in ("functions", "shared"):
        (tmp_path / "OneFunction" / name).symlink_to(ROOT / name)
    return tmp_path


def test_a_build_has_its_functions_in_folders_of_their_own(build: Path) -> None:
    assert artifact.is_built(build, artifact.load(build))
    assert not artifact.is_built(ROOT, artifact.load(ROOT))


def test_a_build_of_other_code_is_not_current(build: Path) -> None:
    template, code = artifact.load(build), build / "OneFunction"
    for name in ("functions", "shared"):
        (code / name).unlink()
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__", "requirements.*"))
    page = code / "functions" / "pages" / "upload.html"
    former = page.read_text()
    page.write_text(f"{former} ")
    with pytest.raises(artifact.Unfit, match=r"another functions/pages/upload\.html"):
        artifact.require_current(build, template)
    page.write_text(former)
    artifact.require_current(build, template)
    (code / "shared" / "sweeping.py").unlink()
    with pytest.raises(artifact.Unfit, match=r"another shared/sweeping\.py"):
        artifact.require_current(build, template)


def test_a_build_of_an_older_template_is_not_current(build: Path) -> None:
    template = artifact.load(build)
    artifact.require_current(build, template)
    os.utime(build / "template.yaml", (0, 0))
    with pytest.raises(artifact.Unfit, match=r"older than template\.yaml"):
        artifact.require_current(build, template)


def test_a_build_for_this_machine_fits(build: Path) -> None:
    (build / "OneFunction" / "package" / f"fast{HERE}").touch()
    assert artifact.load(build).functions.keys() == {"OneFunction"}


def test_a_build_for_another_machine_does_not_fit(build: Path) -> None:
    (build / "OneFunction" / "package" / f"fast{ELSEWHERE}").touch()
    with pytest.raises(artifact.Unfit, match="cpython-39-m68k-linux-gnu"):
        artifact.load(build)


def test_a_build_for_another_python_runs_under_the_one_that_built_it(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (build / "OneFunction" / "package" / f"fast{ELSEWHERE}").touch()
    builder = tmp_path / "python"
    described = json.dumps([ELSEWHERE, "3.9", ["/none"]])
    builder.write_text(f"#!/bin/sh\necho '{described}'\n")
    builder.chmod(0o755)
    monkeypatch.setattr(artifact, "BUILDER", builder)
    interpreter = artifact.interpreter_for(artifact.load(build))
    assert (interpreter.command, interpreter.version) == (str(builder), "3.9")
    with pytest.raises(artifact.Unfit, match="has no"):
        artifact.link_provided(tmp_path, interpreter)


def test_a_function_without_its_folder_does_not_fit(build: Path) -> None:
    (build / "template.yaml").write_text(BUILT.replace("CodeUri: OneFunction", "CodeUri: Elsewhere"))
    with pytest.raises(artifact.Unfit, match="OneFunction has no folder"):
        artifact.load(build)


@pytest.mark.parametrize("fits", [True, False])
def test_a_build_that_fits_goes_before_the_source(build: Path, monkeypatch: pytest.MonkeyPatch, fits: bool) -> None:
    monkeypatch.setattr(artifact, "BUILD", build)
    (build / "OneFunction" / "package" / f"fast{HERE if fits else ELSEWHERE}").touch()
    folder, _, why = artifact.choose()
    assert folder == (build if fits else artifact.ROOT)
    assert ("m68k" in why) is not fits


def test_what_lambda_provides_is_there_and_nothing_else(tmp_path: Path) -> None:
    artifact.link_provided(tmp_path, artifact.interpreter_for(artifact.load(ROOT)))
    source = """
import importlib.util, json
import awslambdaric.bootstrap, boto3.session
print(*[name for name in ("boto3", "fastapi", "moto", "mangum") if importlib.util.find_spec(name)])
"""
    run = subprocess.run(
        [sys.executable, "-S", "-c", source],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("boto3\n", "")


REAL = {"AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real", "HOME": "/home/somebody"}


def test_given_services_are_used_with_the_credentials_for_them() -> None:
    with aws.services(environment=REAL | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}) as variables:
        assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
        assert variables["AWS_ACCESS_KEY_ID"] == "AKIAREAL"
        assert variables["AWS_CONFIG_FILE"] == os.devnull
        assert "HOME" not in variables


def test_moto_holds_the_bucket_and_the_token_and_no_real_credentials() -> None:
    rule = {"AllowedMethods": ["PUT"], "AllowedOrigins": ["*"], "ExposedHeaders": ["ETag"], "MaxAge": 60}
    template = Template({}, (), ("files-of-a-test",), ("token-of-a-test",), cors={"files-of-a-test": [rule]})
    with aws.services(environment=REAL) as variables:
        assert "AKIAREAL" not in variables.values()
        # Twice, as with services that outlive an emulation.
        for token in ("first", "second"):
            aws.provide(template, token, variables)
        session = boto3.session.Session("testing", "testing", region_name=REGION)
        url = variables["AWS_ENDPOINT_URL"]
        s3 = session.client("s3", endpoint_url=url)
        buckets = s3.list_buckets()["Buckets"]
        secrets = session.client("secretsmanager", endpoint_url=url)
        assert [bucket["Name"] for bucket in buckets] == ["files-of-a-test"]
        assert s3.get_bucket_cors(Bucket="files-of-a-test")["CORSRules"][0]["ExposeHeaders"] == ["ETag"]
        assert secrets.get_secret_value(SecretId="token-of-a-test")["SecretString"] == "second"


def test_s3_may_be_another_server() -> None:
    with aws.services("http://127.0.0.1:9", environment=REAL) as variables:
        assert variables["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:9"
        assert variables["AWS_ENDPOINT_URL"] != "http://127.0.0.1:9"


def test_services_that_do_not_answer_are_unusable() -> None:
    with (
        aws.services(environment={"AWS_ENDPOINT_URL": "nowhere"}) as variables,
        pytest.raises(aws.Unusable, match="nowhere"),
    ):
        aws.provide(Template({}, (), ("files",), ()), "token", variables)


def test_a_failed_start_of_moto_shows_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(aws.Unusable, match=r"moto did not start: .*No module named"), aws.services(environment={}):
        pass


def test_moto_never_compares_for_one_writer_while_it_writes_for_another() -> None:
    inside, alone, release = threading.Semaphore(1), [], threading.Event()

    def app(environ: dict[str, Any], _start: Callable[..., Any]) -> Iterable[bytes]:
        # The first waits until all others have arrived.
        alone.append(inside.acquire(blocking=False))
        release.wait(timeout=WITHIN)
        inside.release()
        yield environ["wsgi.input"].read()

    one_at_a_time = OneAtATime(app)

    def send(number: int) -> bytes:
        if number == WRITERS - 1:
            release.set()
        body = b"%d" % number
        return b"".join(one_at_a_time({"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}, print))

    with ThreadPoolExecutor(WRITERS) as threads:
        answers = list(threads.map(send, range(WRITERS)))
    assert answers == [b"%d" % number for number in range(WRITERS)]
    assert alone == [True] * WRITERS


def test_a_slow_sender_keeps_nobody_waiting() -> None:
    reading, arrives = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            reading.set()
            assert arrives.wait(timeout=WITHIN)
            return super().read(size)

    one_at_a_time = OneAtATime(lambda environ, _start: [environ["wsgi.input"].read()])
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(one_at_a_time, {"CONTENT_LENGTH": "4", "wsgi.input": Slow(b"slow")}, print)
        assert reading.wait(timeout=WITHIN)
        assert one_at_a_time({"CONTENT_LENGTH": "5", "wsgi.input": io.BytesIO(b"quick")}, print) == [b"quick"]
        arrives.set()
        assert slow.result() == [b"slow"]


def test_a_connection_to_moto_stays_open() -> None:
    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        assert body != b"fail", "this traceback belongs to a test"
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    server = make_server(HOST, 0, OneAtATime(app), threaded=True, request_handler=RequestHandler)
    with contextlib.closing(http.client.HTTPConnection(HOST, server.port, timeout=WITHIN)) as connection:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def send(method: str, body: bytes | Iterator[bytes]) -> tuple[int, bytes]:
            connection.request(method, "/", body)
            answer = connection.getresponse()
            return answer.status, answer.read()

        try:
            assert send("PUT", b"one") == (200, b"one")
            first = connection.sock
            assert send("PUT", iter([b"in ", b"chunks"])) == (200, b"in chunks")
            assert send("HEAD", b"not shown") == (200, b"")
            assert send("PUT", b"fail")[0] == 500
            assert send("GET", b"") == (200, b"")
            # http.client would have opened another one.
            assert connection.sock is first
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
