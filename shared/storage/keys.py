"""The key space: all keys in storage, the same in a directory and under an S3 prefix.

files/xx/<file_id>.pickle           the blob; `xx` is the first two characters of the ID
metadata/xx/<file_id>.json          the record
counts/<file_id>/<cell>.json        a counter cell of a busy file
expiries/<yyyy-mm-ddThh>/<file_id>  an entry: check this file, or `inbox-<inbox_id>`, once that hour (UTC) has passed
expiries/<yyyy-mm-ddThh>/several-<n>-<uuid>  an entry for `n` IDs that follow from the UUID
raw/<file_id>                       the plain bytes: direct uploads arrive here, and redirects lead here
raw/entries/<file_id>/<span>        the plain bytes `<start>-<stop>` of the file: one entry of an archive, for redirects
inboxes/xx/<inbox_id>.json          an inbox and what it has received
secret                              the signing key, unless it is configured
probe/<yyyy-mm-ddThh>/<uuid>        a temporary object to test whether the store honours conditions
"""

from __future__ import annotations

from datetime import UTC, datetime

FILES = "files/"
METADATA = "metadata/"
COUNTS = "counts/"
EXPIRIES = "expiries/"
RAW = "raw/"
RAW_ENTRIES = f"{RAW}entries/"
INBOXES = "inboxes/"
# Before the ID of an inbox in an entry.
INBOX_ENTRY = "inbox-"
# Before the number of IDs in an entry for several.
SEVERAL_ENTRY = "several-"
SECRET_KEY = "secret"
PROBES = "probe/"


def blob_key(file_id: str) -> str:
    return f"{FILES}{file_id[:2]}/{file_id}.pickle"


def record_key(file_id: str) -> str:
    return f"{METADATA}{file_id[:2]}/{file_id}.json"


def inbox_key(inbox_id: str) -> str:
    return f"{INBOXES}{inbox_id[:2]}/{inbox_id}.json"


def cell_key(file_id: str, number: int) -> str:
    return f"{cells_prefix(file_id)}{number}.json"


def cells_prefix(file_id: str) -> str:
    """The prefix of all cells of a file."""
    return f"{COUNTS}{file_id}/"


def entry_key(file_id: str, due: datetime) -> str:
    return f"{entries_prefix(due)}{file_id}"


def entries_prefix(due: datetime) -> str:
    """The prefix of all entries of an hour. Entries of earlier hours sort before it."""
    return EXPIRIES + _hour(due)


def raw_key(file_id: str) -> str:
    return f"{RAW}{file_id}"


def raw_entry_key(file_id: str, span: range) -> str:
    return f"{raw_entries_prefix(file_id)}{span.start}-{span.stop}"


def raw_entries_prefix(file_id: str) -> str:
    """The prefix of all copies of entries of a file."""
    return f"{RAW_ENTRIES}{file_id}/"


def probe_key(name: str, now: datetime) -> str:
    return f"{probes_prefix(now)}{name}"


def probes_prefix(start: datetime) -> str:
    """The prefix of all probes of an hour. Probes of earlier hours sort before it."""
    return PROBES + _hour(start)


def file_id_of(key: str) -> str:
    """The ID in the key of a record, a cell, an entry or a raw object."""
    segments = key.split("/")
    return segments[1] if key.startswith(COUNTS) else segments[-1].removesuffix(".json")


def _hour(moment: datetime) -> str:
    # strftime takes three times as long.
    return moment.astimezone(UTC).isoformat()[: len("2000-01-01T00")] + "/"
