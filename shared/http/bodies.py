"""Reads request bodies of bounded size; JSON is validated by the model that documents it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request

from shared.errors import InvalidValue
from shared.http.headers import FORM_TYPE
from shared.http.streams import in_thread

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 16 * 1024
# Three times the values of 10,000 parts, each with a number and an ETag.
MAX_VALUES = 100_000
_MAX_DIGITS = 20

# Reasons by pydantic's error type. The names in braces come from the error's context.
_REASONS = {
    "missing": "is required",
    "string_type": "must be text",
    "string_unicode": "must be Unicode text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing_size": "is too large",
    "greater_than_equal": "must be a whole number of at least {ge}",
    "less_than_equal": "must be a whole number of at most {le}",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "model_type": "must be an object",
}


async def read_json(request: Request, model: type[M], most: int = MAX_BYTES) -> M:
    """Read a JSON object of at most `most` bytes. Raises `InvalidValue`, `HTTPException` 400, 413, 415.

    It is parsed in a thread, because megabytes of JSON take long.
    """
    # The second is RFC 7396, and every change here treats null as that does.
    body = await read_body(request, most, "application/json", "application/merge-patch+json")
    return await in_thread(request.app.state.threads, lambda: _parse(model, body))


async def read_field(request: Request, name: str) -> str:
    """Read one field of a form; empty unless it was sent exactly once. Raises `HTTPException` 413 and 415."""
    body = await read_body(request, MAX_BYTES, FORM_TYPE)
    try:
        values = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=16).get(name, [])
    except ValueError:
        return ""
    return values[0] if len(values) == 1 else ""


async def read_body(request: Request, most: int, *media_types: str) -> bytearray:
    """Read a body of one of these types and at most `most` bytes. Raises `HTTPException` 413 and 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in media_types:
        raise HTTPException(415, f"The body must be {media_types[0]}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"The body is larger than {most} bytes.")
    return body


def _parse(model: type[M], body: bytearray) -> M:
    # Each value but the first follows one of these. The parser blocks all other threads, so millions of tiny values
    # would stop the whole process.
    if sum(map(body.count, b",[{")) > MAX_VALUES:
        raise HTTPException(413, f"The body contains more than {MAX_VALUES} values.")
    try:
        values = json.loads(body, object_pairs_hook=_no_duplicates, parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body is not valid JSON.") from error
    if not isinstance(values, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    return validated(model, values)


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """The model with these values. Raises `InvalidValue`."""
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        raise _invalid(model, error.errors(include_url=False, include_input=False)[0]) from error


def _invalid(model: type[BaseModel], error: ErrorDetails) -> InvalidValue:
    """The error to report, which repeats nothing that the client sent."""
    place = error["loc"]
    if error["type"] == "extra_forbidden" and len(place) == 1:
        return InvalidValue("body", f"can contain only {', '.join(sorted(model.model_fields))}")
    # Upload options are one level down; an invalid part is reported as an item of its list.
    field = str(place[1] if place[0] == "metadata" and len(place) > 1 else place[0])
    item = (
        "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in place[1:]) if field == place[0] else ""
    )
    reason = _REASONS.get(error["type"], "is not valid").format_map(error.get("ctx", {}))
    return InvalidValue(field, f"is not valid: {item.lstrip('.')} {reason}" if item else reason)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name appears twice")
    return values


def _number(digits: str) -> int:
    # Numbers with more digits exceed every limit, and Python refuses to parse thousands of digits.
    return int(digits[:_MAX_DIGITS])
