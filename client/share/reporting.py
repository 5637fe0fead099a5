"""Reports errors as messages and exit statuses."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import httpx
import typer

from share.faults import Exit, Fault
from share.proxies import certificate_problem
from share.screen import Screen
from share.text import describe, printable, reason_of

Item = TypeVar("Item")


@contextlib.contextmanager
def reporting(screen: Screen, resumption: str = "") -> Iterator[None]:
    """Turn errors into a message and an exit status. `resumption` says how to resume after an interruption."""
    try:
        yield
        # Write errors must appear here, not when Python exits.
        sys.stdout.flush()
    except Fault as fault:
        _end(screen, fault.code, str(fault), resumption if fault.code is Exit.UNAVAILABLE else "")
    except httpx.TransportError as error:
        _end(screen, Exit.UNAVAILABLE, unreachable(error), resumption)
    except (httpx.InvalidURL, UnicodeError) as error:
        _end(screen, Exit.USAGE, f"This cannot be sent: {printable(str(error))}")
    except BrokenPipeError:
        # The reader has closed our output, and Python would complain on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Exit.LOCAL) from None
    except OSError as error:
        _end(screen, Exit.LOCAL, describe(error), resumption)
    except KeyboardInterrupt:
        screen.note(f"Interrupted. {resumption}".rstrip(), "yellow")
        sys.stdout.flush()
        # Exit at once: a thread may be waiting for a silent server, and everything important is on disk.
        os._exit(Exit.INTERRUPTED)


def _end(screen: Screen, code: Exit, message: str, *hints: str) -> None:
    screen.error(" ".join([message, *filter(None, hints)]))
    raise typer.Exit(code)


def unreachable(error: httpx.TransportError) -> str:
    url = error.request.url
    address = printable(f"{url.scheme}://{url.netloc.decode()}")
    untrusted = certificate_problem(error)
    if untrusted is not None:
        return (
            f"The certificate of {address} is not trusted: {printable(untrusted)}. "
            "If you trust its issuer, set SSL_CERT_FILE to the issuer's certificate."
        )
    return f"Can't reach {address}: {reason_of(error)}."


def for_each(screen: Screen, items: Sequence[Item], action: Callable[[Item], None]) -> None:
    """Run the action for each item, even after one has failed, and then exit with the highest status.

    Errors name the item if it is one of several links.
    """
    worst = Exit.OK
    for item in items:
        if isinstance(item, str) and len(items) > 1:
            screen.subject = f"{item}: "
        try:
            with reporting(screen):
                action(item)
        except typer.Exit as end:
            worst = max(worst, Exit(end.exit_code))
    if worst is not Exit.OK:
        raise typer.Exit(worst)


def report_unexpected(error: Exception) -> None:
    """Print one line about an unexpected error."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = printable(f"{type(error).__name__}: {error}"[:500])
    place = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
    print(
        f"error: Unexpected {what} ({place}). "
        "Please report this line as an issue in the repository of the Simple File Sharing API.",
        file=sys.stderr,
    )
