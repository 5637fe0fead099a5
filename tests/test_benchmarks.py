"""The benchmarks measure every function, and report their measurements."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import (
    client,
    compare,
    counting,
    growth,
    machine,
    peers,
    sealing,
    slow_server,
    small,
    sweeping,
    transfers,
    warm,
)
from benchmarks.__main__ import main as bench
from benchmarks.contestants import CONTESTANTS, COPYPARTY, DATA, OURS, SEED
from benchmarks.distant_s3 import BUCKET
from benchmarks.harness import PROCESSOR, Goal, Result, Setup, WrongAnswer, goals_table, interleave, is_reached
from benchmarks.starts import ENVIRONMENT, PEERS, cases, main, measure, report
from benchmarks.stores import WRITE_SECONDS
from local import artifact
from shared.sweeping import PARALLEL
from tests.servers import S3Server
from tests.wire.server import until


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
    names = {"PATH", "HOME", "LC_CTYPE", *ENVIRONMENT}
    measure({"environment": f"import os; assert os.environ.keys() <= {names!r}, os.environ"}, 1)


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


def test_cases_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    figures = iter(range(100))

    def case(name: str) -> Callable[[], float]:
        def measure() -> float:
            order.append(name)
            return next(figures)

        return measure

    result = interleave({"a": case("a"), "b": case("b")}, 2, "s", watch=quiet)
    assert order == ["a", "b"] * 3
    assert result.figures == {"a": [2, 4], "b": [3, 5]}


class Scripted(machine.Watch):
    """Says for each measurement in turn whether it was disturbed."""

    def __init__(self, answers: Iterator[bool]) -> None:
        self._answers = answers

    def is_disturbed(self) -> bool:
        return next(self._answers)


def quiet() -> machine.Watch:
    return Scripted(itertools.repeat(False))


def test_what_is_disturbed_is_measured_again_and_a_round_that_stays_disturbed_does_not_count() -> None:
    answers = iter([True, True, False, True, True, True, False])
    figures = itertools.count()
    result = interleave({"a": lambda: next(figures)}, 3, "s", warm_up=False, watch=lambda: Scripted(answers))
    assert result.figures == {"a": [2, 6]}
    assert result.notes == ["1 of 3 rounds were disturbed by other programs and do not count."]


def test_without_a_quiet_round_all_count_and_it_is_said() -> None:
    result = interleave({"a": lambda: 1}, 2, "s", watch=lambda: Scripted(itertools.repeat(True)))
    assert result.figures == {"a": [1, 1]}
    assert "2 of 2 rounds were disturbed" in result.notes[0]


def test_a_case_can_give_its_processor_time_too() -> None:
    result = interleave({"a": lambda: {"a": 5, f"a{PROCESSOR}": 7}}, 1, "/s", watch=quiet)
    assert result.units == {"a": "/s", f"a{PROCESSOR}": "µs per request"}


def test_processor_time_is_that_of_a_process_and_all_that_it_started() -> None:
    burn = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    before = machine.processor_time(os.getpid()).total
    process = subprocess.Popen([sys.executable, "-c", burn])
    try:
        until(lambda: machine.processor_time(os.getpid()).total > before + 0.3)
        [_, child] = machine.processes(process.pid)
        os.kill(child, signal.SIGKILL)
    finally:
        process.wait()
    assert machine.processor_time(os.getpid()).total > before + 0.3


def test_the_table_has_a_row_for_each_and_says_first_who_is_faster() -> None:
    figures: dict[str, list[float]] = {f"memory, {contestant.name}": [50] for contestant in CONTESTANTS}
    figures |= {f"{compare.UP}, {OURS}": [500.0, 600.0], f"{compare.UP}, {COPYPARTY}": [250.0, 300.0]}
    figures |= {f"{compare.HOT}, {OURS}": [100.0], f"{compare.HOT}, {COPYPARTY}": [250.0]}
    figures |= {f"{compare.HOT}, {OURS}{PROCESSOR}": [80.0]}
    result = Result(figures)
    assert f"- **{compare.UP}**: nobody." in compare.faster(result)
    assert f"- **{compare.HOT}**: copyparty (2.5 times)." in compare.faster(result)
    rows = compare.table(result)
    assert len(rows) == 2 + len(CONTESTANTS)
    assert "| this project | yes | yes | 550 |  |  | 100 (80) |  | 50 |" in rows


def test_a_goal_is_held_to_the_median_of_the_ratios_within_rounds() -> None:
    goal = Goal("P0", "speed", "a", "b", least=2)
    result = Result({"a": [10, 40, 9], "b": [5, 10, 9]}, goals=[goal])
    assert result.ratios(goal) == [2, 4, 1]
    assert "| P0 | speed | ≥ 2 times b | 2 (1 to 4) | yes |" in goals_table(result).splitlines()
    assert not is_reached(Goal("P0", "speed", "a", "b", most=1.9), result.ratios(goal))


@pytest.fixture
def naive(tmp_path: Path) -> Iterator[peers.Server]:
    with peers.seed(tmp_path / "seed") as server:
        yield server


def test_answers_are_checked_to_the_last_byte(naive: peers.Server) -> None:
    [seed] = [contestant for contestant in CONTESTANTS if contestant.name == SEED]
    requests = [client.get(seed.store(naive, 0))] * 6
    assert client.load(naive.port, requests, 1, client.expecting(200, DATA)).good == 6
    for check in (client.expecting(200, DATA[:-1] + b"?"), client.expecting(201)):
        with pytest.raises(WrongAnswer):
            client.load(naive.port, requests, 2, check)
    with pytest.raises(WrongAnswer):
        client.curl(f"{naive.url}/nothing")


def test_a_server_ends_with_its_block(tmp_path: Path) -> None:
    with peers.seed(tmp_path / "seed") as server:
        assert machine.memory(server.process.pid, "VmRSS") > 1
    assert server.process.poll() is not None
    with pytest.raises(ConnectionRefusedError):
        client.load(server.port, [client.get("/")], 1, client.expecting(200))


def test_a_part_prints_its_goals_and_keeps_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def part(setup: Setup) -> Result:
        assert (setup.rounds, setup.sized(1000), list(setup.work.iterdir())) == (2, 10, [])
        return Result({"a": [1.0, 2.0]}, {"a": "s"}, [Goal("P0", "time", "a", most=1, unit="s")])

    arguments = ["p0", "--rounds", "2", "--scale", "0.01", "--results", str(tmp_path / "results")]
    assert bench(arguments, {"p0": part}) == 0
    assert "| P0 | time | ≤ 1 s | 1.5 (1 to 2) | **no** |" in capsys.readouterr().out.splitlines()
    [path] = (tmp_path / "results").iterdir()
    assert json.loads(path.read_text())["parts"]["p0"]["figures"] == {"a": [1.0, 2.0]}


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench(["p99"])
    assert "no such part: p99" in capsys.readouterr().err


def test_another_directory_is_no_checkout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        bench(["compare", "--against", str(tmp_path)])
    assert f"not a checkout of this project: {tmp_path}" in capsys.readouterr().err


def test_checkouts_must_have_names_of_their_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    checkouts = [str(peers.ROOT), str(tmp_path / peers.ROOT.name)]
    with pytest.raises(SystemExit):
        bench(["compare", *(f"--against={checkout}" for checkout in checkouts)])
    assert "checkouts must have different names" in capsys.readouterr().err


def test_small_files_are_measured(tmp_path: Path) -> None:
    result = small.counts(Setup(tmp_path, 1, 0.01))
    assert result.figures == {
        "counted of downloads, 1 worker": [1.0],
        "counted of downloads, 4 workers": [1.0],
    }


def test_uploads_into_an_inbox_are_measured(tmp_path: Path) -> None:
    result = small.into_inboxes(Setup(tmp_path, 1, 0.01))
    assert all(figure > 0 for figures in result.figures.values() for figure in figures)


def test_the_start_of_a_range_is_measured(tmp_path: Path) -> None:
    result = transfers.starts(Setup(tmp_path, 1, 0.001))
    assert all(figure > 0 for figures in result.figures.values() for figure in figures)


def test_a_page_of_a_long_list_is_measured(tmp_path: Path) -> None:
    result = small.pages(Setup(tmp_path, 1, 0.001))
    assert all(figure > 0 for figures in result.figures.values() for figure in figures)


def test_sealing_is_measured_by_the_bytes_that_pass_through_us(tmp_path: Path, s3_server: S3Server) -> None:
    result = sealing.on("moto", s3_server, Setup(tmp_path, 1, 0.01))
    # A part has at least 5 MiB, so the first ones of the file are read and sent with the head; S3 copies the rest.
    assert all(10 <= moved < 10.1 for moved in result.figures["through us on moto"])


def test_memory_of_large_files_is_measured(tmp_path: Path) -> None:
    result = transfers.memory(Setup(tmp_path, 1, 0.01))
    assert all(0 < figure < 64 for [figure] in result.figures.values())


def test_a_simulated_burst_is_the_same_each_time() -> None:
    assert counting.burst(100, seed=1) == counting.burst(100, seed=1) != counting.burst(100, seed=2)


def test_warm_calls_are_measured(tmp_path: Path) -> None:
    result = warm.calls(Setup(tmp_path, 1, 0.01))
    assert all(figure > 0 for [figure] in result.figures.values())


@pytest.mark.parametrize("kind", slow_server.KINDS)
def test_a_server_on_slow_storage_takes_its_time(kind: str, tmp_path: Path) -> None:
    settings = {"SHARE_STORAGE": f"s3://{BUCKET}"} if kind == "S3" else {}
    with peers.ours(tmp_path / "slow", program=("benchmarks.slow_server", kind), settings=settings) as server:
        _, body = client.ask(server.port, client.post_file("/file/upload", DATA), (201,))
        request = client.get(f"/file/download/{json.loads(body)['file_id']}")
        loaded = client.load(server.port, [request] * 3, 1, client.expecting(200, DATA))
    # A download waits at least for the write and the sync of its count, or for a read and a write on S3.
    assert min(loaded.latencies) > 2 * (WRITE_SECONDS if kind == "S3" else slow_server.PAUSE)


def test_other_code_runs_with_these_benchmarks(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(peers.ROOT / "local", checkout / "local")
    for name in ("functions", "shared"):
        (checkout / name).symlink_to(peers.ROOT / name)
    with (checkout / "local" / "serve.py").open("a") as file:
        file.write("\nraise SystemExit('the other code')\n")
    with (
        pytest.raises(RuntimeError, match="the other code"),
        peers.ours(tmp_path / "files", program=("benchmarks.unsynced",), checkout=checkout),
    ):
        pytest.fail("the code of this checkout ran")


def test_a_plot_puts_every_point_on_its_axes() -> None:
    drawn = growth.plot("files", {"one": [(1, 10), (100, 1000)], "other": [(10, 100)]})
    root = ElementTree.fromstring(drawn)
    lines = [element.attrib["points"] for element in root if element.tag.endswith("polyline")]
    middle = f"{growth.WIDTH / 2:.1f},{growth.HEIGHT / 2:.1f}"
    assert lines == [f"60.0,{growth.HEIGHT - 60:.1f} {growth.WIDTH - 60:.1f},60.0", middle]


def test_growth_with_clients_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CLIENTS", (1, 8))
    result, series = growth.by_clients(Setup(tmp_path, 1, 0.01))
    assert [x for x, _ in series["many files, downloads/s"]] == [1, 8]
    assert all(result.median(name) > 0 for line in series.values() for _, name in line)


def test_a_sweep_is_measured_by_what_it_asks_of_s3(tmp_path: Path) -> None:
    result = sweeping.sweeping(Setup(tmp_path, rounds=1, scale=0.005))
    # Each record is read and marked; listing and deleting need one request per thousand files.
    assert 2 <= result.figures["requests of that"][0] / sweeping.DUE <= 2.1
    assert result.figures["20,000 due files"][0] > sweeping.DUE * 2 * WRITE_SECONDS / PARALLEL
    assert result.notes == ["Measured with 100 files, and multiplied."]
