"""The OpenAPI document: what FastAPI makes of the endpoints, completed by what is true of all of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.http.models import ProblemDocument, problems

# What any request can be answered with, whatever it is for: see `edge`, and storage may fail.
EVERYWHERE = (400, 414, 431, 500, 503)
# And any request with a body.
WITH_BODY = (408, 413)
# Where FastAPI assumes that it checks parameters itself, which no endpoint leaves to it.
_DELETE_TOKEN = "DeleteToken"
_PRESUMED = "HTTPValidationError"


def document(app: FastAPI) -> dict[str, Any]:
    """The document of all endpoints of an application."""
    made = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for operations in made["paths"].values():
        for operation in operations.values():
            _complete(operation)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in (_PRESUMED, "ValidationError"):
        schemas.pop(name, None)
    schemas[ProblemDocument.__name__] = ProblemDocument.model_json_schema()
    return made


def _complete(operation: dict[str, Any]) -> None:
    security = operation.get("security", [])
    if security and not any(_DELETE_TOKEN in scheme for scheme in security):
        # Tokens and passwords are needed only where there are any; a delete token or an API token always is.
        security.insert(0, {})
    responses = operation["responses"]
    if _PRESUMED in str(responses.get("422")):
        del responses["422"]
    for status in (*EVERYWHERE, *(WITH_BODY if "requestBody" in operation else ())):
        for code, described in problems(status).items():
            content = responses.setdefault(str(code), described).setdefault("content", {})
            content.update(described["content"])
    operation["responses"] = dict(sorted(responses.items()))
