"""Measures this project and compares it with its peers: `python -m benchmarks [PART ...]`."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import compare, counting, growth, peers, sealing, slow, small, starts, sweeping, transfers, warm
from benchmarks.harness import Result, Setup, figures_table, goals_table, write_json

RESULTS = Path(__file__).parent / "results"
QUICK = 0.2

PARTS: dict[str, Callable[[Setup], Result]] = {
    "compare": compare.compare,
    "p2": transfers.starts,
    "p3": transfers.memory,
    "p5": small.with_many_stored,
    "p6": small.counts,
    "p8": counting.hot_file,
    "p9": small.pages,
    "p10": starts.part,
    "p11": warm.calls,
    "p12": sealing.sealing,
    "p16": sweeping.sweeping,
    "p18": small.into_inboxes,
}
# Only on request, because they take long.
MORE = {"growth": growth.growth, "slow": slow.slow}


def main(arguments: list[str] | None = None, parts: Mapping[str, Callable[[Setup], Result]] = PARTS) -> int:
    """Print what each part measured and how it meets its goals, and write dated JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(parts)} (default: these), {', '.join(MORE)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each case is measured (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the sizes and numbers")
    parser.add_argument("--scale", type=float, help="any other share of them")
    parser.add_argument(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="CHECKOUT",
        help="another checkout of this project, whose code compare and slow measure, too",
    )
    parser.add_argument("--work", type=Path, help="directory for what is stored meanwhile (default: a temporary one)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for the JSON (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    known = {**parts, **MORE}
    unknown = [name for name in chosen.parts if name not in known]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    against = [checkout.resolve() for checkout in chosen.against]
    if len({checkout.name for checkout in against}) < len(against):
        parser.error("checkouts must have different names, which the report has")
    for checkout in against:
        if not (checkout / "local" / "serve.py").is_file():
            parser.error(f"not a checkout of this project: {checkout}")
    scale = chosen.scale or (QUICK if chosen.quick else 1.0)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processors": os.cpu_count(), "system": platform.platform()},
        "versions": peers.versions(),
        "rounds": chosen.rounds,
        "scale": scale,
    }
    print(f"{about['at'][:10]}, {os.cpu_count()} processors, {chosen.rounds} rounds, sizes times {scale:g}")
    print(", ".join(f"{name} {number}" for name, number in peers.versions().items()))
    path = chosen.results / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    results: dict[str, Result] = {}
    for name in chosen.parts or parts:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="benchmark-", dir=chosen.work) as work:
            results[name] = known[name](Setup(Path(work), chosen.rounds, scale, against))
        print(f"\n## {name} ({time.monotonic() - began:.0f} s)\n\n{figures_table(results[name])}\n")
        print(goals_table(results[name]), *results[name].notes, sep="\n", flush=True)
        for title, drawing in results[name].plots.items():
            chosen.results.mkdir(parents=True, exist_ok=True)
            (chosen.results / f"{title}.svg").write_text(drawing)
        # Written after each part, because a later one may fail.
        write_json(path, about, results)
    print(f"\nEvery figure is in {path}.")
    return 0


if __name__ == "__main__":
    # As on Ctrl+C, so that the servers end, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
