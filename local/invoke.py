"""One function, one event, its result: `python -m local.invoke --function DownloadFunction --event FILE`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from local import artifact, aws
from local.emulate import chosen_template, interrupt, running
from local.intrinsics import InvalidTemplate
from local.runtime import EventTooLarge, FunctionFailed, Runtime

# The token that the sample events carry, so that they are let in.
SAMPLE_TOKEN = "example-token"


def main(arguments: list[str] | None = None) -> int:
    """Print what the function returns, or its error; the exit status says which."""
    chosen = _parse(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        event = json.dumps(json.loads(chosen.event.read_bytes())).encode()
        folder, template, _ = chosen_template(chosen.artifact)
        if chosen.function not in template.functions:
            known = ", ".join(template.functions)
            print(f"error: there is no {chosen.function}; there are {known}", file=sys.stderr)
            return 2
        with running(folder, template, token=chosen.token, s3=chosen.s3) as (runtime, _found):
            result = asyncio.run(_invoke(runtime, chosen.function, event))
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


async def _invoke(runtime: Runtime, function: str, event: bytes) -> bytes:
    try:
        return await runtime.invoke(function, event)
    finally:
        await runtime.close()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.invoke", description="Run one function of template.yaml with one event."
    )
    parser.add_argument("--function", required=True, metavar="NAME", help="its name in template.yaml")
    parser.add_argument("--event", required=True, type=Path, metavar="FILE", help="the event, as JSON")
    parser.add_argument("--artifact", type=Path, help="as for local.emulate")
    parser.add_argument("--s3", metavar="URL", help="as for local.emulate")
    parser.add_argument("--token", default=SAMPLE_TOKEN, help="API token (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
