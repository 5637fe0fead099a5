"""The gateway's $default route: documentation, and problem documents for what no endpoint serves.

It knows every route, so that a wrong method is answered with `Allow`, but touches no storage and needs no right to.
"""

from __future__ import annotations

from functions.app import ROUTERS
from shared.errors import UnknownFile
from shared.http.app import lambda_handler
from shared.sharing import Shares

# To the gateway a path parameter is any segment, so these would reach the functions of `/file/{file_id}`, which know no
# other path and could only say 404.
SHADOWED = tuple(
    (method, path)
    for method in ("DELETE", "PATCH")
    for path in ("/file/upload", "/file/upload/", "/file/metadata", "/file/metadata/")
)


def _nothing() -> Shares:
    """What an endpoint finds that is reached in spite of the gateway's routes: no file at all."""
    raise UnknownFile("of the fallback")


handler = lambda_handler(*ROUTERS, shares=_nothing)
