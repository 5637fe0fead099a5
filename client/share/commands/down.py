"""`share down`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from share.answers import RemoteFile
from share.archive import extracting
from share.commands.options import JsonOption, LinksArgument, QuietOption, ServerOption, command
from share.download import download, download_link
from share.faults import Exit, Fault
from share.links import open_link
from share.names import safe_name
from share.part_file import PartFile
from share.passwords import unlock
from share.private.keys import Key
from share.progress import Transfers
from share.reporting import for_each, reporting
from share.screen import Screen
from share.server import Server
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

        def download_one(link: str) -> None:
            with open_link(link, settings, screen.warn) as (api, stored, key):
                file = File(stored, key)
                unlock(api, stored, settings)
                if output == "-":
                    file.download(screen, api, transfers, StandardOutput())
                else:
                    save(screen, api, transfers, file, _target(file, output, extract), force=force, extract=extract)

        for_each(screen, links, download_one)


class File:
    """A file to download: as it is `stored`, and as it is `shown` once it is decrypted. Raises `Fault`."""

    chunk: int | None = None

    def __init__(self, stored: RemoteFile, key: Key | None) -> None:
        self.stored = self.shown = stored
        self._key = key
        if key is not None or stored.encryption is not None:
            from share.private.chunks import CHUNK
            from share.private.decrypting import reveal

            self.shown = reveal(stored, key)
            self.chunk = CHUNK

    def download(self, screen: Screen, api: Server, transfers: Transfers, sink: Sink) -> None:
        stored = self.stored
        with (
            reporting(screen, sink.resumption),
            transfers.next_file(self.shown.name, stored.size) as meter,
            sink.open(),
        ):
            if self._key is not None:
                from share.private.decrypting import DecryptingSink

                sink = DecryptingSink(sink, self._key, stored.size)
                # Every chunk is verified by itself.
                stored = stored.changed(sha256=None)
            download(api, stored, sink, meter)


def _target(file: File, output: str | None, extract: bool) -> Path:
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
    target: Path,
    *,
    force: bool = False,
    extract: bool = False,
) -> None:
    """Download a file, and print where it is. Raises `typer.Exit`."""
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
    file.download(screen, api, transfers, part)
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
