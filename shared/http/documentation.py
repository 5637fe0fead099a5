"""The page at /docs: renders the OpenAPI document on the server, without scripts or other sites."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.http.models import EXAMPLE_ID, base_url

FOLDER = Path(__file__).parent
# Examples for path parameters that declare none.
PATH_EXAMPLES = {"file_id": EXAMPLE_ID, "filename": "report.pdf", "name": "report.pdf", "part_number": "1"}

Json = Mapping[str, Any]


async def docs(request: Request) -> Response:
    """Every operation with its parameters, body, answers and a curl command."""
    # Imported here so that handlers which serve files start faster.
    import jinja2

    document: Json = request.app.openapi()
    style = (FOLDER / "documentation.css").read_text()
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    pages.filters["code"] = lambda text: re.sub("`(.*?)`", r"<code>\1</code>", html.escape(text))
    template = pages.get_template("documentation.html")
    base = base_url(request)
    content = template.render(title=document["info"]["title"], base=base, style=style, groups=_groups(document, base))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    headers = {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(content, headers=headers, media_type="text/html")


def _groups(document: Json, base: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """The operations by tag, in the order of the document."""
    operations = [
        _operation(document, base, method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    operations.sort(key=lambda operation: list(document["paths"]).index(operation["path"]))
    tags = list(dict.fromkeys(operation["tag"] for operation in operations))
    return [(tag, [operation for operation in operations if operation["tag"] == tag]) for tag in tags]


def _operation(document: Json, base: str, method: str, path: str, operation: Json) -> dict[str, Any]:
    bodies = operation.get("requestBody", {}).get("content", {})
    return {
        "id": operation["operationId"],
        "tag": operation["tags"][0],
        "method": method.upper(),
        "path": path,
        "paragraphs": operation.get("description", "").split("\n\n"),
        "needs": [_need(document, scheme) for scheme in _schemes(operation)],
        "parameters": [
            {**_field(document, parameter["name"], parameter["schema"]), "place": parameter["in"]}
            | {"required": parameter.get("required", False)}
            | ({"text": parameter["description"]} if "description" in parameter else {})
            for parameter in operation.get("parameters", [])
        ],
        "bodies": [
            {"type": kind, "fields": list(_fields(document, body.get("schema", {})))} for kind, body in bodies.items()
        ],
        "answers": [_answer(document, status, answer) for status, answer in operation["responses"].items()],
        "command": _command(base, method, path, operation, document),
    }


def _schemes(operation: Json) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(operation.get("security", []))))


def _need(document: Json, scheme: str) -> str:
    security = document["components"]["securitySchemes"][scheme]
    where = f"`{security.get('name') or 'Authorization: ' + security['scheme'].title()}`"
    place = {"query": " in the query", "header": ""}[security.get("in", "header")]
    return f"{where}{place}. {security.get('description', '')}"


def _answer(document: Json, status: str, answer: Json) -> dict[str, Any]:
    fields = [
        field for body in answer.get("content", {}).values() for field in _fields(document, body.get("schema", {}))
    ]
    failed = int(status) >= HTTPStatus.BAD_REQUEST
    # All errors have the fields of a problem document, which the page lists once.
    return {
        "status": status,
        "text": answer["description"],
        "fields": [] if failed else [{**field, "required": False} for field in fields],
        "failed": failed,
    }


def _fields(document: Json, schema: Json) -> Iterator[dict[str, Any]]:
    """The fields of an object, of a list's items, or of an object's values."""
    schema = _resolved(document, schema)
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
    return {"name": name, "type": " or ".join(types), "text": schema.get("description", ""), "limits": limits}


def _resolved(document: Json, schema: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _command(base: str, method: str, path: str, operation: Json, document: Json) -> str:
    """A curl command for this operation."""
    query = []
    for parameter in operation.get("parameters", []):
        name, example = (
            parameter["name"],
            (parameter.get("examples") or parameter["schema"].get("examples") or [None])[0],
        )
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", str(example or PATH_EXAMPLES.get(name, name.upper())))
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append(f"{name}={example or PATH_EXAMPLES.get(name, name.upper())}")
    words = ["curl"]
    schemes = _schemes(operation)
    if "DeleteToken" in schemes:
        words += ["-H", "X-Delete-Token: DELETE_TOKEN"]
    elif "ApiToken" in schemes:
        words += ["-H", "Authorization: Bearer TOKEN"]
    elif "FilePassword" in schemes:
        words += ["-u", ":PASSWORD"]
    bodies = operation.get("requestBody", {}).get("content", {})
    kind = next(iter(bodies), None)
    if kind == "multipart/form-data":
        words += ["-F", "file=@report.pdf"]
    elif kind == "application/octet-stream":
        words += ["-T", "report.pdf"]
    elif kind == "application/json":
        sample = {field["name"]: _sample(field) for field in _fields(document, bodies[kind]["schema"])}
        words += ["-X", method.upper(), "-H", "Content-Type: application/json", "-d", json.dumps(sample)]
    elif kind is not None:
        words += ["-d", "password=PASSWORD"]
    elif method not in ("get", "put"):
        words += ["-X", method.upper()]
    words.append(f"{base}{path}" + (f"?{'&'.join(query)}" if query else ""))
    return shlex.join(words)


def _sample(field: Json) -> Any:
    kind = field["type"]
    return 1 if "integer" in kind else [] if "array" in kind else {} if "object" in kind else field["name"]
