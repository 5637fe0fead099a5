"""The service of docs/self-hosting.md: its unit, backup and restore, and upgrade."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.pages import block
from tests.proxies import BIN, INSTALLED, UNIT, replaced, unit
from tests.wire.server import ROOT, WITHIN, Server


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = replaced(
        UNIT,
        **{f"{INSTALLED}/.venv/bin": str(BIN), f"WorkingDirectory={INSTALLED}": f"WorkingDirectory={ROOT}"},
    )
    path = tmp_path / "share.service"
    path.write_text(text)
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_the_unit_may_write_where_it_keeps_files() -> None:
    service = unit()["Service"]
    assert service["Environment"] == f"SHARE_STORAGE=/var/lib/{service['StateDirectory']}"


def run(script: str, folder: Path) -> str:
    """The output of the script; `systemctl` only prints its arguments."""
    result = subprocess.run(
        ["bash", "-eu", "-c", f'systemctl() {{ echo "systemctl $*"; }}\n{script}'],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    return result.stdout


def test_a_backup_brings_back_links_counts_and_delete_tokens(tmp_path: Path) -> None:
    data, restored = tmp_path / "data", tmp_path / "restored"
    with Server(data) as server:
        sent = server.upload([b"saved"], 5)
        assert server.get(f"/file/download/{sent['file_id']}") == (200, b"saved")
    backup = replaced(block("sh", "tar -C /var/lib/share -czf"), **{"/var/lib/share": str(data)})
    assert run(backup, tmp_path) == "systemctl stop share\nsystemctl start share\n"
    shutil.rmtree(data)
    restored.mkdir()
    run(replaced(block("sh", "tar -C /var/lib/share -xzf"), **{"/var/lib/share": str(restored)}), tmp_path)
    with Server(restored) as server:
        assert server.get(f"/file/download/{sent['file_id']}") == (200, b"saved")
        assert server.metadata(sent["file_id"])["download_count"] == 2
        url = f"http://127.0.0.1:{server.port}/file/{sent['file_id']}"
        assert httpx.delete(url, params={"token": sent["delete_token"]}).status_code == 204


def test_an_upgrade_fetches_installs_and_restarts(tmp_path: Path) -> None:
    announced = """
        git() { echo "git $*"; }
        make() { command make --dry-run --no-print-directory "$@" > /dev/null && echo "make $*"; }
    """
    script = replaced(block("sh", "git pull"), **{INSTALLED: str(ROOT)})
    assert run(f"{announced}\n{script}", tmp_path).splitlines() == [
        "git pull",
        "make .venv/.installed",
        "systemctl restart share",
    ]
