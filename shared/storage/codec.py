"""The JSON of stored documents, parsed strictly: a damaged document is always reported and never partly used."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Collection
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from shared.errors import DamagedFile

# Recent documents are cached by their bytes, because those of a busy file are read again and again.
DECODED = 64

# The ID of each write and when it was made, in seconds since 1970.
Writes = tuple[tuple[str, float], ...]


class Document(Struct, frozen=True, kw_only=True):
    """What is stored as JSON, validated by the types of its fields.

    `revision` grows by one with each write, and `writes` has the IDs and times of recent ones, at least of the last:
    together they tell whether an unanswered write was applied. `unknown` keeps fields that a newer release stored.
    """

    revision: Annotated[int, Meta(ge=0)] = 0
    writes: Writes = ()
    unknown: dict[str, Any] | UnsetType = UNSET

    @property
    def file_id(self) -> str:
        """The ID under which errors name it."""
        raise NotImplementedError


D = TypeVar("D", bound=Document)


class Codec(Generic[D]):
    """The JSON of one class of documents. Fields of the class in `later` were not stored by older releases."""

    def __init__(self, cls: type[D], later: Collection[str] = ()) -> None:
        self._cls = cls
        self._decoder = msgspec.json.Decoder(cls)
        self._fields = {*cls.__struct_fields__} - {"unknown"}
        self._required = self._fields.difference(later)
        self.decode = functools.lru_cache(DECODED)(self._decode)

    def encode(self, document: D) -> bytes:
        if document.unknown is UNSET:
            return msgspec.json.encode(document)
        fields = msgspec.to_builtins(structs.replace(document, unknown=UNSET))
        return msgspec.json.encode({**document.unknown, **fields})

    def _decode(self, file_id: str, data: bytes) -> D:
        """Raises `DamagedFile` for JSON that no release can have written for this file."""
        try:
            document = self._decoder.decode(data)
            if self.encode(document) != data:
                document = self._with_unknown(document, data)
            if document.file_id != file_id:
                raise ValueError("it belongs to another file")
        except (ValueError, RecursionError) as error:
            kind = self._cls.__name__.lower()
            raise DamagedFile(file_id, f"the {kind} cannot be read: {type(error).__name__}: {error}"[:200]) from error
        return document

    def _with_unknown(self, document: D, data: bytes) -> D:
        """Parse JSON from another release or a person, with checks that msgspec omits."""
        fields = json.loads(data, object_pairs_hook=_without_duplicates, parse_float=_finite)
        if missing := self._required - fields.keys():
            raise ValueError(f"{min(missing)} is missing")
        unknown = {name: value for name, value in fields.items() if name not in self._fields}
        document = structs.replace(document, unknown=unknown or UNSET)
        # Python accepts a lone surrogate as text, but cannot write it again.
        self.encode(document)
        return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
