"""All endpoints as one application: `app` for uvicorn, `handler` for the gateway's `$default` route."""

from __future__ import annotations

import functools
import sys

from fastapi import FastAPI

from functions import (
    change,
    delete,
    direct_upload,
    download,
    entries,
    get_metadata,
    health,
    inbox,
    list_metadata,
    page,
    upload,
)
from shared.bootstrap import Service
from shared.errors import InvalidSetting
from shared.garbage import long_lived
from shared.http.app import build_app
from shared.http.handler import HttpHandler
from shared.settings import Settings

# uvicorn's exit status if its application fails to start; it does not restart workers that exit with it.
START_FAILED = 3

# Routes are tried in this order.
ROUTERS = (
    download.router,
    entries.router,
    upload.router,
    inbox.router,
    direct_upload.router,
    list_metadata.router,
    get_metadata.router,
    change.router,
    delete.router,
    health.router,
    page.router,
)

handler = HttpHandler(__name__, *ROUTERS)


def __getattr__(name: str) -> FastAPI:
    """Build `app` when a server asks for it, so that importing this module for anything else opens no storage."""
    if name == "app":
        return _app()
    raise AttributeError(name)


@functools.cache
def _app() -> FastAPI:
    try:
        with long_lived():
            return build_app(*ROUTERS, service=Service.open(Settings.from_environment()))
    except InvalidSetting as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(START_FAILED) from error
