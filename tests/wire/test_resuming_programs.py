"""Programs that people already have resume an archive, and a file in it."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import archives
from tests.wire.server import WITHIN, Server

CURL = ("curl", "-sS", "-C", "-", "-o")
ARIA2 = ("aria2c", "--no-conf", "-q", "-c", "-x", "4", "-k", "1M", "-o")
NAME = "写真/e\u0301 1.bin"
CONTENT = random.Random(1).randbytes(3_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("programs") / "data") as running:
        yield running


@pytest.mark.parametrize("command", [CURL, ARIA2], ids=["curl", "aria2"])
def test_a_program_resumes_an_archive_or_a_file_in_it(server: Server, tmp_path: Path, command: Sequence[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    archive = archives.packed({NAME: CONTENT, "after it": b"x"})
    file_id = server.upload([archive], len(archive))["file_id"]
    url = f"http://127.0.0.1:{server.port}/file/download/{file_id}"
    for whole, query in ((archive, ""), (CONTENT, f"?entry={quote(NAME)}")):
        (tmp_path / "partial").write_bytes(whole[:1_000_000])
        subprocess.run([*command, "partial", url + query], cwd=tmp_path, check=True, timeout=WITHIN)
        assert (tmp_path / "partial").read_bytes() == whole
    if command is CURL:
        # Aria2 begins a download of the whole before it resumes, to learn its length.
        assert server.metadata(file_id)["download_count"] == 0
