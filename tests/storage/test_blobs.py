"""The frame around a file: other programs see a pickle, and we only 12 fixed bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DamagedFile
from shared.storage.blobs import CHUNK_SIZE, BlobWriter, hash_blob, head, open_payload
from shared.storage.contract import NotFound
from shared.storage.directory.store import DirectoryStore
from shared.storage.keys import blob_key

FILE_ID = "0d5a9c7e-3b0f-4c2a-9f55-6a1f0c8e7b21"
DATA = b"0123456789"
FRAMED = b"\x80\x04\x8e\x0a\x00\x00\x00\x00\x00\x00\x00" + DATA + b"."


def write(store: DirectoryStore, chunks: list[bytes]) -> None:
    writer = BlobWriter(store, FILE_ID)
    for chunk in chunks:
        writer.write(chunk)
    writer.commit()


def read(store: DirectoryStore, file_size: int, start: int, stop: int, chunk_size: int = 1 << 20) -> bytes:
    payload = open_payload(store, FILE_ID, file_size, start, stop)
    try:
        return b"".join(iter(lambda: payload.read(chunk_size), b""))
    finally:
        payload.close()


@pytest.fixture(scope="module")
def module_store(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    """For several examples, each of which replaces the data of the last."""
    return DirectoryStore(tmp_path_factory.mktemp("data"))


def test_a_blob_is_these_bytes(directory: DirectoryStore) -> None:
    write(directory, [DATA])
    assert directory.read(f"files/0d/{FILE_ID}.pickle")[0] == FRAMED


def test_the_length_takes_eight_bytes_whatever_it_is() -> None:
    assert head(0) == b"\x80\x04\x8e" + bytes(8)
    assert head(0x0102030405060708) == b"\x80\x04\x8e\x08\x07\x06\x05\x04\x03\x02\x01"


# The sizes at which Python's own pickles change their form.
@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, 70_000])
def test_anybodys_pickle_gives_the_file_back(directory: DirectoryStore, size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    write(directory, [data])
    assert pickle.loads(directory.read(blob_key(FILE_ID))[0]) == data


@settings(deadline=None, max_examples=50)
@given(chunks=st.lists(st.binary(max_size=300), max_size=5), chunk_size=st.integers(1, 400), ends=st.data())
def test_any_range_is_read_back_in_any_chunks(
    module_store: DirectoryStore, chunks: list[bytes], chunk_size: int, ends: st.DataObject
) -> None:
    data = b"".join(chunks)
    write(module_store, chunks)
    assert pickle.loads(module_store.read(blob_key(FILE_ID))[0]) == data
    assert read(module_store, len(data), 0, len(data), chunk_size) == data
    if data:
        start = ends.draw(st.integers(0, len(data) - 1))
        stop = ends.draw(st.integers(start + 1, len(data)))
        assert read(module_store, len(data), start, stop, chunk_size) == data[start:stop]


def test_size_and_hash_are_of_the_file_and_not_of_its_frame(directory: DirectoryStore) -> None:
    writer = BlobWriter(directory, FILE_ID)
    writer.write(DATA[:4])
    assert (writer.file_size, writer.sha256) == (4, hashlib.sha256(DATA[:4]).hexdigest())
    writer.write(DATA[4:])
    writer.commit()
    assert (writer.file_size, writer.sha256) == (10, hashlib.sha256(DATA).hexdigest())


def test_an_aborted_blob_was_never_there(directory: DirectoryStore) -> None:
    writer = BlobWriter(directory, FILE_ID)
    writer.write(DATA)
    writer.abort()
    assert list(directory.list("files/")) == []


@pytest.mark.parametrize("data", [b"", DATA, bytes(CHUNK_SIZE), bytes(CHUNK_SIZE + 1)], ids=len)
def test_the_hash_of_a_blob_is_that_of_the_file(directory: DirectoryStore, data: bytes) -> None:
    write(directory, [data])
    assert hash_blob(directory, FILE_ID, len(data)) == hashlib.sha256(data).hexdigest()


def test_what_is_ready_ends_with_the_file(directory: DirectoryStore) -> None:
    data = bytes(range(256)) * 1024
    write(directory, [data])
    with contextlib.closing(open_payload(directory, FILE_ID, len(data), 0, len(data))) as payload:
        contents = b""
        while chunk := bytes(payload.read_ready(30_000) or b"") + payload.read(1_000):
            contents += chunk
        assert contents == data
        assert payload.read_ready(1) is None


def test_a_blob_cut_short_while_it_is_read_is_damage(directory: DirectoryStore) -> None:
    data = bytes(200_000)
    write(directory, [data])
    with contextlib.closing(open_payload(directory, FILE_ID, len(data), 0, len(data))) as payload:
        os.truncate(directory.root / blob_key(FILE_ID), 100_000)
        with pytest.raises(DamagedFile, match="early"):
            [chunk for _ in range(10) if (chunk := payload.read_ready(30_000) or payload.read(30_000))]


def test_a_missing_blob_is_not_found(directory: DirectoryStore) -> None:
    with pytest.raises(NotFound):
        open_payload(directory, FILE_ID, len(DATA), 0, len(DATA))
    with pytest.raises(NotFound):
        hash_blob(directory, FILE_ID, len(DATA))


DAMAGED = {
    "empty": b"",
    "head only": FRAMED[:11],
    "shorter by one": FRAMED[:-1],
    "longer by one": FRAMED + b".",
    "length too small": head(9) + DATA + b".",
    "length too large": head(11) + DATA + b".",
    "length beyond any disk": head(1 << 62) + DATA + b".",
    "another protocol": b"\x80\x05" + FRAMED[2:],
    "a short opcode": b"\x80\x04C\x0a" + DATA + b".",
    "pickled by Python": pickle.dumps(DATA, 4),
    "not a pickle": bytes(len(FRAMED)),
}

WHOLE_OR_NOTHING = [
    lambda store: read(store, len(DATA), 0, len(DATA)),
    lambda store: read(store, len(DATA), 0, 1),
    lambda store: open_payload(store, FILE_ID, len(DATA), 0, 0),
    lambda store: hash_blob(store, FILE_ID, len(DATA)),
]


@pytest.mark.parametrize("use", WHOLE_OR_NOTHING, ids=["whole", "first byte", "no byte", "hash"])
@pytest.mark.parametrize("blob", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_frame_is_reported_before_any_byte(
    directory: DirectoryStore, blob: bytes, use: Callable[[DirectoryStore], object]
) -> None:
    directory.put(blob_key(FILE_ID), blob)
    with pytest.raises(DamagedFile) as damage:
        use(directory)
    assert damage.value.file_id == FILE_ID


@pytest.mark.parametrize("blob", [FRAMED[:-1], FRAMED + b".", b""], ids=["shorter", "longer", "empty"])
def test_a_range_from_the_middle_notices_a_wrong_size(directory: DirectoryStore, blob: bytes) -> None:
    directory.put(blob_key(FILE_ID), blob)
    with pytest.raises(DamagedFile):
        open_payload(directory, FILE_ID, len(DATA), 4, 7)


def test_a_blob_that_does_not_end_as_a_pickle_has_no_hash(directory: DirectoryStore) -> None:
    directory.put(blob_key(FILE_ID), FRAMED[:-1] + b"N")
    with pytest.raises(DamagedFile):
        hash_blob(directory, FILE_ID, len(DATA))


class Planted:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


def planted(marker: Path) -> bytes:
    """A blob with a valid head for 3 bytes, followed by code."""
    code = pickle.dumps(Planted(marker), 4)
    return head(3) + b"abc" + b"0" + code.removeprefix(b"\x80\x04")


def test_the_planted_code_would_run(tmp_path: Path) -> None:
    pickle.loads(planted(tmp_path / "marker"))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("fits", ["the head", "the size"])
def test_planted_code_is_damage_and_never_runs(directory: DirectoryStore, tmp_path: Path, fits: str) -> None:
    marker = tmp_path / "marker"
    blob = planted(marker)
    directory.put(blob_key(FILE_ID), blob)
    claimed = 3 if fits == "the head" else len(blob) - 12
    with pytest.raises(DamagedFile):
        read(directory, claimed, 0, claimed)
    with pytest.raises(DamagedFile):
        hash_blob(directory, FILE_ID, claimed)
    assert not marker.exists()
