"""The OpenAPI document, which FastAPI generates from the declarations of the endpoints."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.http.endpoint import schemas

# FastAPI adds these errors to endpoints with parameters, but it validates none here.
_UNUSED = ("HTTPValidationError", "ValidationError")


def document(app: FastAPI) -> dict[str, Any]:
    """The document of all endpoints of an application."""
    api = get_openapi(title=app.title, version=app.version, routes=app.state.table.endpoints)
    for operations in api["paths"].values():
        for operation in operations.values():
            if _UNUSED[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    components = api["components"]
    models = {name: schema for name, schema in components["schemas"].items() if name not in _UNUSED}
    components["schemas"] = {**models, **schemas(app.state.table.endpoints)}
    return api
