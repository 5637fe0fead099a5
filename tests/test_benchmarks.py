"""The benchmarks measure every function there is, and report what they measured."""

from __future__ import annotations

import subprocess

import pytest

from benchmarks.starts import ENVIRONMENT, PEERS, cases, main, measure, report
from local import artifact


def test_the_start_of_every_function_is_measured() -> None:
    _, template, _ = artifact.choose()
    modules = {function.handler.removesuffix(".handler") for function in template.functions.values()}
    assert modules == cases().keys() - PEERS.keys()


def test_a_case_that_fails_stops_the_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        measure({"broken": "raise SystemExit(3)"}, 1)


def test_each_round_but_the_first_gives_a_time() -> None:
    times = measure({"python alone": "pass"}, 2)
    assert len(times["python alone"]) == 2
    assert all(seconds > 0 for seconds in times["python alone"])


def test_a_started_process_sees_none_of_the_environment_it_was_measured_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARE_PUBLIC_URL", "https://files.example.com")
    known = {"PATH", "HOME", "LC_CTYPE", *ENVIRONMENT}
    measure({"environment": f"import os; assert os.environ.keys() <= {known!r}, os.environ"}, 1)


def test_no_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rounds", "0"])
    assert "--rounds must be at least 1" in capsys.readouterr().err


def test_the_report_holds_medians_and_ratios_to_the_peers() -> None:
    times = {
        "import fastapi": [0.3, 0.3, 0.3],
        "boto3 with an S3 client": [0.3, 0.1, 0.2],
        "FastAPI, Mangum and the S3 client": [0.4, 0.4, 0.4],
        "functions.health": [0.6, 0.5, 0.9],
    }
    assert "| functions.health | 600 (500 to 900) | 2.00 | 3.00 | 1.50 |" in report(times).splitlines()
