"""The benchmarks measure every function there is, and report what they measured."""

from __future__ import annotations

import os
import subprocess

import pytest

from benchmarks.starts import ENVIRONMENT, PEERS, cases, measure, report
from local import artifact


def test_the_start_of_every_function_is_measured() -> None:
    _, template, _ = artifact.choose()
    modules = {function.handler.removesuffix(".handler") for function in template.functions.values()}
    assert modules == cases().keys() - PEERS.keys()


def test_a_case_that_fails_stops_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.starts.cases", lambda: {"broken": "raise SystemExit(3)"})
    with pytest.raises(subprocess.CalledProcessError):
        measure(1)


def test_each_round_but_the_first_gives_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.starts.cases", lambda: {"python alone": "pass"})
    times = measure(2)
    assert len(times["python alone"]) == 2
    assert all(seconds > 0 for seconds in times["python alone"])


def test_a_started_process_sees_none_of_the_environment_it_was_measured_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SHARE_PUBLIC_URL", "https://files.example.com")
    code = f"import os; assert os.environ.keys() <= {{'PATH', 'HOME', 'LC_CTYPE', *{list(ENVIRONMENT)!r}}}, os.environ"
    monkeypatch.setattr("benchmarks.starts.cases", lambda: {"case": code})
    assert len(measure(1)["case"]) == 1


def test_the_report_holds_medians_and_ratios_to_the_peers() -> None:
    times = {
        "boto3 with an S3 client": [0.3, 0.1, 0.2],
        "FastAPI, Mangum and the S3 client": [0.4, 0.4, 0.4],
        "functions.health": [0.6, 0.5, 0.9],
    }
    assert "| functions.health | 600 (500 to 900) | 3.00 | 1.50 |" in report(times).splitlines()
