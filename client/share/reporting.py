"""What went wrong, in words and as an exit status."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import httpx
import typer

from share.faults import Exit, Fault
from share.screen import Screen
from share.text import printable


@contextlib.contextmanager
def reporting(screen: Screen, resumption: str = "") -> Iterator[None]:
    """Turn what went wrong into words and an exit status. `resumption` says what an interruption leaves behind."""
    try:
        yield
        # What cannot be written is to show here, and not when Python ends.
        sys.stdout.flush()
    except Fault as fault:
        _end(screen, fault.code, str(fault), resumption if fault.code is Exit.UNAVAILABLE else "")
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        _end(screen, Exit.UNAVAILABLE, f"The server cannot be reached: {printable(reason)}", resumption)
    except (httpx.InvalidURL, UnicodeError) as error:
        _end(screen, Exit.USAGE, f"This cannot be sent: {printable(str(error))}")
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.LOCAL) from None
    except OSError as error:
        where = f"{printable(str(error.filename))}: " if error.filename else ""
        _end(screen, Exit.LOCAL, f"{where}{error.strerror or error}.", resumption)
    except KeyboardInterrupt:
        screen.note(f"Interrupted. {resumption}".rstrip(), "yellow")
        sys.stdout.flush()
        # At once: a thread may be waiting for a server that has fallen silent, and nothing is lost that is not on disk.
        os._exit(Exit.INTERRUPTED)


def _end(screen: Screen, code: Exit, message: str, *hints: str) -> None:
    screen.note(" ".join(["error:", message, *filter(None, hints)]), "red")
    raise typer.Exit(code)
