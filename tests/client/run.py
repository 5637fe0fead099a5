"""A run of the command `share` in a fork."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.forks import forks
from tests.wire.server import WITHIN

Result = tuple[int, bytes, bytes]


class Run:
    """A run with this input, to be waited for or ended."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        data: bytes,
        *,
        preparation: str = "client",
    ) -> None:
        (stdin, feed), (read_out, stdout), (read_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        self._pool = ThreadPoolExecutor(3)
        self._pool.submit(_write, feed, data)
        self._out, self._err = self._pool.submit(_read, read_out), self._pool.submit(_read, read_err)
        try:
            self._fork = forks(preparation).start(
                ["-m", "share", *arguments], folder, environment, stdin=stdin, stdout=stdout, stderr=stderr
            )
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)

    def end(self, how: signal.Signals = signal.SIGKILL) -> Result:
        self._fork.send_signal(how)
        return self.result()

    def result(self, within: float = WITHIN) -> Result:
        """The status, as of `subprocess`, and both outputs; the run must end within so many seconds."""
        with self._pool:
            try:
                status = self._fork.wait(within)
            except BaseException:
                self._fork.kill()
                self._fork.wait()
                raise
            return status, self._out.result(), self._err.result()


def _write(pipe: int, data: bytes) -> None:
    # Most commands do not read their input.
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as file:
        file.write(data)


def _read(pipe: int) -> bytes:
    with open(pipe, "rb") as file:
        return file.read()
