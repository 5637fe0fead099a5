"""All endpoints in one application: `app` for uvicorn, `handler` for the gateway's `$default` route."""

from __future__ import annotations

from functions import (
    change,
    delete,
    direct_upload,
    download,
    entries,
    get_metadata,
    health,
    list_metadata,
    page,
    upload,
)
from shared import bootstrap
from shared.http.app import build_app
from shared.http.handler import HttpHandler

# Routes are tried in this order.
ROUTERS = (
    download.router,
    entries.router,
    upload.router,
    direct_upload.router,
    list_metadata.router,
    get_metadata.router,
    change.router,
    delete.router,
    health.router,
    page.router,
)

app = build_app(*ROUTERS, shares=bootstrap.proven_shares)

handler = HttpHandler(__name__, *ROUTERS, shares=bootstrap.proven_shares)
