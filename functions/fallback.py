"""The gateway's $default route: documentation, and problem documents for what no endpoint serves.

It knows every route, so that a wrong method is answered with `Allow`, but touches no storage and needs no right to.
"""

from __future__ import annotations

from functions.app import ROUTERS
from shared.http.app import lambda_handler

handler = lambda_handler(*ROUTERS)
