"""Payload format 2.0 of an API Gateway HTTP API: requests as events, and results as responses.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.intrinsics import ACCOUNT
from local.template import Route

API_ID = "a1b2c3d4e5"

# These concern one connection only, so the gateway passes them on in neither direction.
_HOP_BY_HOP = frozenset(
    {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_REMAPPED = {"www-authenticate": "x-amzn-remapped-www-authenticate"}
# Bodies of these types arrive as text, all others in base64 (https://github.com/ministackorg/ministack/pull/766,
# https://github.com/floci-io/floci/issues/2172).
_TEXT = re.compile(r"text/[^;]+|application/json|[^/;]+/(?:xml|javascript)", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)

_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class MalformedResult(Exception):
    """The gateway cannot turn a function's result into a response."""


class MalformedPath(Exception):
    """The gateway refuses this path."""


@dataclass(frozen=True)
class Request:
    """A request to the gateway. `target` is its path and query as sent, still encoded."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    protocol: str = "HTTP/1.1"
    scheme: str = "https"
    source_ip: str = "127.0.0.1"
    port: int = 443
    id: str = field(default_factory=lambda: base64.b64encode(uuid.uuid4().bytes[:11]).decode())
    time: float = field(default_factory=time.time)

    @functools.cached_property
    def path(self) -> str:
        """The path for functions: decoded, cut at a `?` in the result, and decoded again.

        This is how captures of an HTTP API show it (https://github.com/hotsock/voker/pull/8). Raises `MalformedPath`.
        """
        once = _decoded(self.target.partition("?")[0])
        return _decoded(once.partition("?")[0])

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Response:
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = b""


def _decoded(path: str) -> str:
    if _ESCAPE.search(path):
        raise MalformedPath
    return unquote(path, errors="replace")


def event_of(request: Request, route: Route, parameters: Mapping[str, str], domain: str) -> dict[str, Any]:
    """The event for a function: a request that matched a route of the gateway at a domain name."""
    headers, cookies = _headers(request, domain)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request.id,
            "routeKey": route.key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(request.time)),
            "timeEpoch": int(request.time * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if parameters:
        event["pathParameters"] = dict(parameters)
    query = _joined(parse_qsl(request.query, keep_blank_values=True))
    if query:
        event["queryStringParameters"] = query
    if request.body:
        text = _is_text(headers.get("content-type", ""))
        event["isBase64Encoded"] = not text
        event["body"] = (
            # Bytes that are not UTF-8 are lost, but Content-Length stays as sent.
            request.body.decode("utf-8", errors="replace") if text else base64.b64encode(request.body).decode()
        )
    return event


def _is_text(content_type: str) -> bool:
    """Whether a body of this type arrives as text. A charset, if any, must be UTF-8."""
    essence = content_type.partition(";")[0].strip()
    charset = _CHARSET.search(content_type)
    return bool(_TEXT.fullmatch(essence)) and (charset is None or charset[1].lower() == "utf-8")


def _headers(request: Request, domain: str) -> tuple[dict[str, str], list[str]]:
    """Headers with lower-case names, repeated ones joined, and a separate list of cookies."""
    fields = [(name.lower(), value) for name, value in request.headers]
    cookies = [
        cookie.strip() for name, value in fields if name == "cookie" for cookie in value.split(";") if cookie.strip()
    ]
    headers = _joined((name, value) for name, value in fields if name != "cookie" and name not in _HOP_BY_HOP)
    # The gateway passes on earlier proxies, although functions cannot trust what clients send here.
    proxies = [headers["x-forwarded-for"]] if "x-forwarded-for" in headers else []
    headers |= {
        "content-length": str(len(request.body)),
        "x-amzn-trace-id": f"Root=1-{int(request.time):08x}-{uuid.uuid4().hex[:24]}",
        "x-forwarded-for": ", ".join([*proxies, request.source_ip]),
        "x-forwarded-port": str(request.port),
        "x-forwarded-proto": request.scheme,
    }
    headers.setdefault("host", domain)
    return headers, cookies


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def response_to(request: Request, result: bytes, *, remap: bool = False) -> Response:
    """Turn a function's result, as JSON, into a response. Raises `MalformedResult`.

    `remap` renames WWW-Authenticate, as AWS documents for REST APIs and function URLs. Some report it for HTTP APIs:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
    """
    try:
        document = json.loads(result)
    except ValueError as error:
        raise MalformedResult("not JSON") from error
    if not (isinstance(document, dict) and "statusCode" in document):
        # A result without a status becomes the JSON body of a 200.
        body = document.encode() if isinstance(document, str) else result
        return _answer(request, 200, [("content-type", "application/json")], body)
    status = document["statusCode"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise MalformedResult(f"statusCode is {status!r}")
    headers = _response_headers(document.get("headers"))
    if remap:
        headers = [(_REMAPPED.get(name, name), value) for name, value in headers]
    headers += [("set-cookie", str(cookie)) for cookie in document.get("cookies") or ()]
    return _answer(request, status, headers, _response_body(document))


def _response_headers(headers: Any) -> list[tuple[str, str]]:
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise MalformedResult(f"headers are {type(headers).__name__}")
    fields = []
    for name, value in headers.items():
        if not isinstance(value, str | int | float):
            raise MalformedResult(f"the header {name} is {type(value).__name__}")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name.lower() not in _HOP_BY_HOP:
            fields.append((name.lower(), text))
    return fields


def _response_body(document: Mapping[str, Any]) -> bytes:
    body = document.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResult(f"body is {type(body).__name__}")
    if not document.get("isBase64Encoded"):
        return body.encode("utf-8", errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise MalformedResult("body is not base64") from error


def _answer(request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> Response:
    """The response with the length of its body; an answer to HEAD keeps the function's Content-Length."""
    bodiless = request.method == "HEAD" or status in (204, 304)
    lengths = [value for name, value in headers if name == "content-length"]
    fields = [(name, value) for name, value in headers if name != "content-length"]
    if not bodiless:
        fields.append(("content-length", str(len(body))))
    elif lengths and request.method == "HEAD":
        fields.append(("content-length", lengths[0]))
    return Response(status, [*fields, ("apigw-requestid", request.id)], b"" if bodiless else body)
