"""The page at /docs: renders the OpenAPI document in the look of the other pages, with commands that work as shown."""

from __future__ import annotations

import html
import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.http.browsers import PAGES
from shared.http.endpoint import Endpoints
from shared.http.models import base_url
from shared.http.pages import compressed
from shared.http.streams import in_thread

Json = Mapping[str, Any]

router = Endpoints("Service")

# What the commands have for parameters and fields, by name. Variables are set by `_PREPARATIONS`.
_VALUES: Json = {
    "expires_in": 3600,
    "file_id": "$FILE_ID",
    "filename": "hello.txt",
    "inbox_id": "$INBOX_ID",
    "key": "$KEY",
    "name": "hello.txt",
    "part_number": "1",
    "parts": [{"PartNumber": 1, "ETag": "$ETAG"}],
    "password": "swordfish",
    "title": "Photos of the trip",
    "token": "$DELETE_TOKEN",
    "upload_id": "$UPLOAD_ID",
}
# By operation, where these differ.
_OTHERS: Mapping[str, Json] = {
    "get_static_file": {"name": "tokens.css", "version": "-"},
    "list_entries": {"file_id": "$ZIP_ID"},
}
# By tag, what sets these variables; `AUTH` stands for the option with the access token, if the server requires one.
_PREPARATIONS = {
    "Files": r"""
field() { sed 's/.*"'$1'": *"\([^"]*\)".*/\1/'; }
echo 'Hello!' > hello.txt
curl -sAUTH -T hello.txt BASE/ > uploaded.json
FILE_ID=$(field file_id < uploaded.json)
DELETE_TOKEN=$(field delete_token < uploaded.json)
python3 -m zipfile -c hello.zip hello.txt
ZIP_ID=$(curl -sAUTH -T hello.zip BASE/ | field file_id)
curl -sAUTH -X POST BASE/inbox > inbox.json
INBOX_ID=$(field inbox_id < inbox.json)
OWNER_TOKEN=$(field owner_token < inbox.json)""",
    "Large files": r"""
curl -sAUTH -H 'Content-Type: application/json' -d '{"filename": "hello.txt"}' \
    BASE/file/s3/multipart > started.json
UPLOAD_ID=$(field uploadId < started.json)
KEY=$(field key < started.json)
PART_URL=$(curl -sAUTH "BASE/file/s3/multipart/$UPLOAD_ID/1?key=$KEY" | field url)
ETAG=$(curl -s -T hello.txt -D - -o answer.txt "$PART_URL" | sed -n 's/^[Ee][Tt]ag: "\(.*\)".*/\1/p')""",
}


@router.endpoint("GET", "/docs", documented=False)
async def docs(request: Request) -> Response:
    """Every operation with its parameters, body, answers and a command that you can copy."""
    return await in_thread(request.app.state.threads, lambda: _render(request))


def _render(request: Request) -> Response:
    """The page. This takes tens of milliseconds."""
    document: Json = request.app.openapi()
    base = base_url(request)
    # A function of a deployment that checks no tokens does not know this, but none of these serves this page.
    auth = ' -H "Authorization: Bearer $TOKEN"' if request.app.state.service.tokens.required else ""
    groups = _groups(document, base, auth)
    # Compressed, it has a ninth of the size.
    return compressed(request, PAGES.render(request, "docs.html", base=base, needs_token=bool(auth), groups=groups))


def _groups(document: Json, base: str, auth: str) -> list[dict[str, Any]]:
    """The operations by tag, in the order of the document."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(
                _operation(document, method, path, operation)
                | {"command": _command(document, base + path, method, operation, auth)}
            )
    return [
        {
            "title": tag,
            "preparation": _PREPARATIONS.get(tag, "").strip().replace("BASE", base).replace("AUTH", auth),
            "operations": operations,
        }
        for tag, operations in groups.items()
    ]


def _operation(document: Json, method: str, path: str, operation: Json) -> dict[str, Any]:
    bodies = operation.get("requestBody", {}).get("content", {})
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "paragraphs": [_code(text) for text in operation.get("description", "").split("\n\n")],
        "needs": [_need(document, scheme) for scheme in _schemes(operation)],
        "parameters": [
            {**_field(document, parameter["name"], parameter["schema"]), "place": parameter["in"]}
            | {"required": parameter.get("required", False)}
            | ({"text": _code(parameter["description"])} if "description" in parameter else {})
            for parameter in operation.get("parameters", [])
        ],
        "bodies": [
            {"type": kind, "fields": list(_fields(document, body.get("schema", {})))} for kind, body in bodies.items()
        ],
        "answers": [_answer(document, status, answer) for status, answer in operation["responses"].items()],
    }


def _schemes(operation: Json) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(operation.get("security", []))))


def _need(document: Json, scheme: str) -> str:
    security = document["components"]["securitySchemes"][scheme]
    where = f"`{security.get('name') or 'Authorization: ' + security['scheme'].title()}`"
    place = {"query": " in the query", "header": ""}[security.get("in", "header")]
    return _code(f"{where}{place}. {security.get('description', '')}")


def _answer(document: Json, status: str, answer: Json) -> dict[str, Any]:
    fields = [
        field for body in answer.get("content", {}).values() for field in _fields(document, body.get("schema", {}))
    ]
    failed = int(status) >= HTTPStatus.BAD_REQUEST
    # All errors have the fields of a problem document, which the page lists once.
    return {
        "status": status,
        "text": _code(answer["description"]),
        "fields": [] if failed else [{**field, "required": False} for field in fields],
        "failed": failed,
    }


def _fields(document: Json, schema: Json) -> Iterator[dict[str, Any]]:
    """The fields of an object, of a list's items, or of an object's values."""
    # Of several kinds of answers, the usual one.
    schema = _resolved(document, next(iter(schema.get("anyOf", ())), schema))
    inner = schema.get("items") or schema.get("additionalProperties")
    if isinstance(inner, Mapping):
        yield from _fields(document, inner)
    for name, field in schema.get("properties", {}).items():
        yield {**_field(document, name, field), "required": name in schema.get("required", ())}


def _field(document: Json, name: str, schema: Json) -> dict[str, Any]:
    schema = _resolved(document, schema)
    kinds = [_resolved(document, kind) for kind in schema.get("anyOf", [schema])]
    types = [str(kind.get("format") or kind.get("type", "any")) for kind in kinds]
    limits = [
        f"{word} {kind[key]:.0f}"
        for kind in kinds
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"))
        if key in kind
    ]
    return {"name": name, "type": " or ".join(types), "text": _code(schema.get("description", "")), "limits": limits}


def _resolved(document: Json, schema: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _code(text: str) -> str:
    """Text as HTML, with `code` as in Markdown."""
    return re.sub("`(.*?)`", r"<code>\1</code>", html.escape(text))


def _command(document: Json, url: str, method: str, operation: Json, auth: str) -> str:
    """A curl command for this operation, for a shell in which the group's preparation has run."""
    values = {**_VALUES, **_OTHERS.get(operation["operationId"], {})}

    def value(name: str) -> Any:
        return values.get(name, f"${name.upper()}")

    url = re.sub(r"\{(\w+)\}", lambda match: str(value(match[1])), url)
    query = [
        f"{parameter['name']}={value(parameter['name'])}"
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and parameter.get("required")
    ]
    words = ["curl"]
    schemes = _schemes(operation)
    if "DeleteToken" in schemes:
        words += ["-H", "X-Delete-Token: $DELETE_TOKEN"]
    elif "OwnerToken" in schemes:
        # A file needs it only in an inbox.
        words += ["-H", "X-Owner-Token: $OWNER_TOKEN"] if "$INBOX_ID" in url else []
    elif "ApiToken" in schemes:
        words += shlex.split(auth)
    bodies = operation.get("requestBody", {}).get("content", {})
    kind = next(iter(bodies), None)
    if kind is None:
        words += [] if method == "get" else ["-X", method.upper()]
    elif kind == "multipart/form-data":
        words += ["-F", "file=@hello.txt"]
    elif kind == "application/octet-stream":
        words += ["-T", "hello.txt"]
    else:
        fields = list(_fields(document, bodies[kind]["schema"]))
        names = [field["name"] for field in fields if field["required"]] or [fields[0]["name"]]
        sample = {name: value(name) for name in names}
        if kind == "application/json":
            words += [] if method == "post" else ["-X", method.upper()]
            words += ["-H", "Content-Type: application/json", "-d", json.dumps(sample)]
        else:
            words += ["-d", "&".join(f"{name}={text}" for name, text in sample.items())]
    return " ".join(map(_quoted, [*words, url + ("?" + "&".join(query) if query else "")]))


def _quoted(word: str) -> str:
    """A word for the shell, in which variables are replaced."""
    return '"' + word.replace('"', '\\"') + '"' if "$" in word else shlex.quote(word)
