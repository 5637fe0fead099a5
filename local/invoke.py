"""Runs one function with one event: `python -m local.invoke --request "GET /health"`."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from pathlib import Path

from local import artifact, aws
from local.emulate import interrupt, platform, running
from local.gateway import Invocation, Router, admit
from local.intrinsics import InvalidTemplate
from local.payloads import Request, Response
from local.runtime import EventTooLarge, Runtime
from local.template import DEFAULT_ROUTE, Template
from local.worker import FunctionFailed

DOMAIN = "files.example.com"
# The token in the sample events, so that they are authorised.
SAMPLE_TOKEN = "example-token"
SAMPLE_ID = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"


def main(arguments: list[str] | None = None) -> int:
    """Print the function's result, or its error. Returns the exit status."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        folder, template, _ = artifact.choose(options.artifact)
        invocation = _invocation(options, template)
        with (
            platform(folder, template, token=options.token, s3=options.s3) as provided,
            running(provided) as runtime,
        ):
            result = asyncio.run(_invoke(runtime, invocation))
    except (FunctionFailed, EventTooLarge) as error:
        print(error)
        return 1
    except (OSError, ValueError, InvalidTemplate, artifact.Unfit, aws.Unusable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(json.loads(result), indent=2))
    return 0


def _invocation(options: argparse.Namespace, template: Template) -> Invocation:
    """The function and event from the command line. Raises `OSError` and `ValueError`."""
    if options.request is None and options.function not in template.functions:
        raise ValueError(f"no function {options.function}; choose from {', '.join(template.functions)}")
    if options.event is not None:
        return Invocation(options.function, json.dumps(json.loads(options.event.read_bytes())).encode())
    request: str = options.request or _first_request(options.function, template)
    method, _, target = request.partition(" ")
    headers = [("host", DOMAIN), ("authorization", f"Bearer {options.token}")]
    invocation = admit(Request(method.upper(), target, headers), Router(template.routes), DOMAIN)
    if isinstance(invocation, Response):
        raise ValueError(f"the gateway answers {request} itself: {invocation.body.decode()}")
    return invocation


def _first_request(function: str, template: Template) -> str:
    """A request for the first route of a function, with an ID for each path parameter."""
    for route in template.routes:
        if route.function == function and route.path != DEFAULT_ROUTE:
            return f"{route.method} {re.sub(r'{[^}]+}', SAMPLE_ID, route.path)}"
    raise ValueError(f"{function} has no HTTP route: add EVENT=file (--event FILE)")


async def _invoke(runtime: Runtime, invocation: Invocation) -> bytes:
    try:
        return await runtime.invoke(invocation.function, invocation.event)
    finally:
        await runtime.close()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.invoke", description="Run one function of template.yaml with one event."
    )
    parser.add_argument("--request", metavar="'GET /path'", help="run the function that answers this request")
    parser.add_argument(
        "--function", metavar="NAME", help="run this function of template.yaml, with a request for its first route"
    )
    parser.add_argument("--event", type=Path, metavar="FILE", help="with --function: a JSON file with the event")
    parser.add_argument("--artifact", type=Path, help="see local.emulate")
    parser.add_argument("--s3", metavar="URL", help="see local.emulate")
    parser.add_argument("--token", default=SAMPLE_TOKEN, help="Access token (default: %(default)s)")
    options = parser.parse_args(arguments)
    if (options.request is None) == (options.function is None):
        parser.error("either --request or --function is required")
    if options.request is not None and options.event is not None:
        parser.error("--event requires --function")
    return options


if __name__ == "__main__":
    sys.exit(main())
