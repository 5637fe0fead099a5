"""The gateway's $default route: documentation, and problem documents for what no endpoint serves.

It knows every route, so that a wrong method is answered with `Allow`, but touches no storage and needs no right to.
"""

from __future__ import annotations

from functions.app import ROUTERS
from shared.http.app import lambda_handler

# To the gateway a path parameter is any segment, so these would reach the functions of `/file/{file_id}`, which know no
# other path and could only say 404.
SHADOWED = tuple(
    (method, path)
    for method in ("DELETE", "PATCH")
    for path in ("/file/upload", "/file/upload/", "/file/metadata", "/file/metadata/")
)

handler = lambda_handler(*ROUTERS)
