"""`share down`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from share.answers import RemoteFile
from share.archive import extracting
from share.commands.options import JsonOption, LinksArgument, QuietOption, ServerOption, command
from share.download import Download, download_link
from share.faults import Exit, Fault
from share.links import find, key_of
from share.names import safe_name
from share.part_file import PartFile
from share.passwords import password_for
from share.private.keys import Key
from share.progress import Meter, Transfers
from share.reporting import for_each, reporting
from share.screen import Screen
from share.server import Server, credentials
from share.sinks import Sink, StandardOutput
from share.text import human_size, printable


def down(
    links: LinksArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Save as this file, in this directory, or - for standard output.", metavar="PATH"
        ),
    ] = None,
    extract: Annotated[
        bool,
        typer.Option("--extract", "-x", help="Unpack a zip archive into a new folder, named after it or by --output."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Download files and verify them. Run the same command again to resume."""
    with command(server, as_json=as_json, quiet=quiet) as (screen, settings):
        if output == "-" and (extract or len(links) > 1):
            raise Fault(Exit.USAGE, "Only one file, and not its content, can be written to standard output.")
        if len(links) > 1 and output is not None and not Path(output).is_dir():
            raise Fault(Exit.USAGE, "With several links, -o must be a directory.")
        transfers = Transfers(screen, len(links), None)

        def download(link: str) -> None:
            address, file_id = find(link, settings, screen.warn)
            key = key_of(link, address, file_id)
            with Server(address, None, warn=screen.warn) as api:
                file = File(api.metadata(file_id), key)
                password = password_for(settings, address) if file.stored.password_protected else None
                if output == "-":
                    _write_out(screen, api, transfers, file, credentials(password))
                else:
                    target = _target(file, output, extract=extract)
                    save(screen, api, transfers, file, credentials(password), target, force=force, extract=extract)

        for_each(screen, links, download)


class File:
    """A file to download: as it is `stored`, and as it is `shown` once it is decrypted. Raises `Fault`."""

    chunk: int | None = None

    def __init__(self, stored: RemoteFile, key: Key | None) -> None:
        self.stored = self.shown = stored
        self._key = key
        if key is not None or stored.encryption is not None:
            from share.private.chunks import CHUNK
            from share.private.decrypting import reveal

            self.shown, _ = reveal(stored, key)
            self.chunk = CHUNK

    def download(self, api: Server, headers: Mapping[str, str], sink: Sink, meter: Meter) -> None:
        stored = self.stored
        if self._key is not None:
            from share.private.decrypting import DecryptingSink

            sink = DecryptingSink(sink, self._key, stored.size)
            # Every chunk is verified by itself.
            stored = dataclasses.replace(stored, sha256=None)
        Download(api, stored, headers, sink, meter).run()


def _write_out(screen: Screen, api: Server, transfers: Transfers, file: File, headers: Mapping[str, str]) -> None:
    with (
        reporting(screen, "Downloads to standard output cannot be resumed: start again."),
        transfers.next_file(file.shown.name, file.stored.size) as meter,
    ):
        file.download(api, headers, StandardOutput(), meter)


def _target(file: File, output: str | None, *, extract: bool) -> Path:
    name = safe_name(file.shown.name)
    if extract:
        name = name.removesuffix(".zip") or "archive"
    if output is None:
        return Path(name)
    return Path(output, name) if Path(output).is_dir() else Path(output)


def save(
    screen: Screen,
    api: Server,
    transfers: Transfers,
    file: File,
    headers: Mapping[str, str],
    target: Path,
    *,
    force: bool = False,
    extract: bool = False,
) -> None:
    """Download a file, and print where it is. `headers` are its credentials. Raises `typer.Exit`."""
    if extract and os.path.lexists(target):
        raise Fault(Exit.LOCAL, f"{printable(str(target))} already exists. Use -o to extract elsewhere.")
    part = PartFile(
        target,
        download_link(api, file.stored),
        file.shown.size,
        force=force,
        finish=(lambda path: _unpack(screen, path, target)) if extract else None,
        chunk=file.chunk,
    )
    part.prepare()
    with (
        reporting(screen, "Run the same command again to resume."),
        transfers.next_file(file.shown.name, file.stored.size) as meter,
        part.open(),
    ):
        file.download(api, headers, part, meter)
    verified = file.chunk is not None or file.stored.sha256 is not None
    if screen.as_json:
        screen.json(
            {
                "file_id": file.stored.file_id,
                "path": str(target.resolve()),
                "file_size": file.shown.size,
                "sha256": part.digest.hexdigest(),
                "verified": verified,
                "resumed_at": part.resumed_at,
            }
        )
    else:
        if file.chunk is not None:
            extent = "decrypted and verified"
        elif verified:
            extent = "SHA-256 verified"
        else:
            extent = "size verified (the server has no SHA-256 of this file)"
        screen.note(f"{human_size(file.shown.size)}, {extent}", "dim")
        screen.path(target)


def _unpack(screen: Screen, archive: Path, target: Path) -> None:
    try:
        count = extracting.extract(archive, target, screen.warn)
    except Fault as fault:
        raise Fault(fault.code, f"{fault} The archive is in {printable(str(archive))}.") from fault
    screen.note(f"{count} file{'' if count == 1 else 's'} extracted", "dim")
