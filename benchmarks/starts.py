"""How long a function takes to start: from the start of its process until it can answer.

`python -m benchmarks.starts` runs each case in fresh interpreters, all cases once per round, so that other load on the
machine affects all of them. Each function is imported as Lambda imports it. This creates its S3 client, and functions
that change files send a first request, to a port without a listener. An HTTP function is ready once it has answered an
event that needs no storage; seal and sweep are ready once they are imported.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.harness import Goal, Result, Setup

ROOT = Path(__file__).resolve().parent.parent
EVENTS = ("seal", "sweep")
FUNCTIONS = tuple(each.name for each in pkgutil.iter_modules([str(ROOT / "functions")]) if each.name not in EVENTS)
ENVIRONMENT = {
    "SHARE_STORAGE": "s3://benchmark",
    "SHARE_API_TOKEN": "benchmark",
    "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    # A port without a listener, so that nothing waits for a network. The same for all cases.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}

# The references for comparison. boto3 creates its default client.
CLIENT = "import boto3; boto3.client('s3')"
FRAMEWORK = f"{CLIENT}; from fastapi import FastAPI; from mangum import Mangum; Mangum(FastAPI(), lifespan='off')"
POWERTOOLS = (
    "from aws_lambda_powertools import Logger, Metrics, Tracer; "
    "Logger(service='x'), Metrics(namespace='x', service='x'), Tracer(service='x')"
)
PEERS = {
    "python alone": "pass",
    "import fastapi": "import fastapi",
    "boto3 with an S3 client": CLIENT,
    "FastAPI, Mangum and the S3 client": FRAMEWORK,
    "these and all of Powertools": f"{FRAMEWORK}; {POWERTOOLS}",
}
COMPARED = ("import fastapi", "boto3 with an S3 client", "FastAPI, Mangum and the S3 client")

_HTTP = """
from types import SimpleNamespace
import os
os.environ["_HANDLER"] = "functions.{name}.handler"
from functions.{name} import handler
context = SimpleNamespace(
    function_name="benchmark", function_version="1", memory_limit_in_mb=1024, aws_request_id="1",
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:benchmark",
    get_remaining_time_in_millis=lambda: 28000,
)
event = {{
    "version": "2.0", "routeKey": "$default", "rawPath": "/nothing", "rawQueryString": "",
    "headers": {{"host": "files.example.com"}},
    "requestContext": {{
        "requestId": "1", "domainName": "files.example.com", "stage": "$default",
        "http": {{"method": "GET", "path": "/nothing", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"}},
    }},
}}
assert handler(event, context)["statusCode"] == 404
"""
_EVENT = """
import os
os.environ["_HANDLER"] = "functions.{name}.handler"
from functions.{name} import handler
"""


def cases() -> dict[str, str]:
    """The code of each case by name. Each case runs in a fresh interpreter."""
    handlers = {f"functions.{name}": _HTTP.format(name=name) for name in FUNCTIONS}
    events = {f"functions.{name}": _EVENT.format(name=name) for name in EVENTS}
    return {**PEERS, **handlers, **events}


def measure(codes: Mapping[str, str], rounds: int) -> dict[str, list[float]]:
    """Seconds from process start to ready, for each case and round. Raises `CalledProcessError`."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), **ENVIRONMENT}
    times: dict[str, list[float]] = {name: [] for name in codes}
    for number in range(-1, rounds):
        for name, code in codes.items():
            seconds = _start(code, environment)
            # The first round fills the bytecode and file caches.
            if number >= 0:
                times[name].append(seconds)
    return times


def _start(code: str, environment: Mapping[str, str]) -> float:
    # All processes of a machine share the monotonic clock.
    ready = f"{code}\nimport sys, time\nsys.stderr.write(f'ready {{time.monotonic()}}')"
    began = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", ready], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return float(process.stderr.rpartition("ready ")[2]) - began


def part(setup: Setup) -> Result:
    """P10: the slowest HTTP function on S3, the slowest other function, and the packages alone."""
    times = measure(cases(), setup.rounds)
    http = [f"functions.{name}" for name in FUNCTIONS]
    events = [f"functions.{name}" for name in EVENTS]
    figures = {name: [seconds * 1000 for seconds in values] for name, values in times.items()}
    slowest, event = (max(names, key=lambda name: statistics.median(figures[name])) for names in (http, events))
    return Result(
        figures,
        dict.fromkeys(figures, "ms"),
        [
            Goal("P10", f"{slowest}, the slowest over HTTP", slowest, "FastAPI, Mangum and the S3 client", most=1.15),
            Goal("P10", f"{slowest}, the slowest over HTTP", slowest, "these and all of Powertools", most=0.8),
            Goal("P10", f"{event}, the slower on events", event, "boto3 with an S3 client", most=1.15),
        ],
    )


def report(times: Mapping[str, Sequence[float]]) -> str:
    """A Markdown table of medians, their range, and the ratios to three of the peers."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    lines = [
        "| start of | median (min to max), ms | times fastapi | times boto3 client | times FastAPI, Mangum, client |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, values in times.items():
        spread = f"{medians[name] * 1000:.0f} ({min(values) * 1000:.0f} to {max(values) * 1000:.0f})"
        ratios = " | ".join(f"{medians[name] / medians[peer]:.2f}" for peer in COMPARED)
        lines.append(f"| {name} | {spread} | {ratios} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and write the single times on request. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the single times, in seconds")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    versions = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "mangum", "boto3", "aws-lambda-powertools"))
    print(f"Python {sys.version.split()[0]}, {versions}, {chosen.rounds} rounds\n")
    times = measure(cases(), chosen.rounds)
    print(report(times))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(times, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
