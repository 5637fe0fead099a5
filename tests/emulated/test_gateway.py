"""The emulated HTTP API: events in payload format 2.0, with responses, routes and limits like those of the real one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.gateway import BODY_LIMIT, HEAD_LIMIT, Gateway, Router
from local.payloads import MalformedResult, Request, event_of, response_to
from local.runtime import EventTooLarge
from local.template import Route
from local.worker import PAYLOAD_LIMIT, FunctionFailed
from tests.wire.server import WITHIN

DOMAIN = "files.example.com"
EVENTS = Path(__file__).parent.parent.parent / "events"
EVERY_BYTE = bytes(range(256))
DEFAULT = Route("ANY", "$default", "App")


def event(method: str = "GET", target: str = "/", *headers: tuple[str, str], body: bytes = b"") -> dict[str, Any]:
    request = Request(method, target, [("Host", DOMAIN), *headers], body, source_ip="203.0.113.7")
    return event_of(request, DEFAULT, {}, DOMAIN)


@pytest.mark.parametrize("name", sorted({path.stem for path in EVENTS.glob("*.json")} - {"seal", "sweep"}))
def test_a_sample_event_is_what_the_gateway_makes_of_its_request(name: str) -> None:
    sample = json.loads((EVENTS / f"{name}.json").read_text())
    http = sample["requestContext"]["http"]
    key = sample["routeKey"]
    method, _, path = key.partition(" ")
    route = Route(method, path, "Function") if path else DEFAULT
    query = sample["rawQueryString"]
    body = sample.get("body", "")
    request = Request(
        http["method"],
        sample["rawPath"] + (f"?{query}" if query else ""),
        list(sample["headers"].items()),
        base64.b64decode(body) if sample["isBase64Encoded"] else body.encode(),
        source_ip=http["sourceIp"],
        id=sample["requestContext"]["requestId"],
        time=sample["requestContext"]["timeEpoch"] / 1000,
    )
    produced = event_of(request, route, sample.get("pathParameters", {}), DOMAIN)
    # The emulator creates its own values for these headers.
    for one in (produced, sample):
        for header in ("x-amzn-trace-id", "x-forwarded-for", "content-length"):
            one["headers"].pop(header, None)
    assert produced == sample


# The first seven were captured on AWS: https://github.com/hotsock/voker/pull/8.
PATHS = [
    ("/question%3Fvalue", "/question"),
    ("/hash%23value", "/hash#value"),
    ("/literal%252Fvalue", "/literal/value"),
    ("/literal%253Fvalue", "/literal?value"),
    ("/literal%2525value", "/literal%value"),
    ("/unicode-%CE%BB-%E4%B8%96%E7%95%8C", "/unicode-λ-世界"),
    ("/space%20value", "/space value"),
    ("/file/metadata/", "/file/metadata/"),
    ("/a%2fb", "/a/b"),
    ("/a%2541", "/aA"),
    ("/%C3%A9%F0%9F%98%80", "/é😀"),
    ("/a%0Ab", "/a\nb"),
    ("/%FF", "/\N{REPLACEMENT CHARACTER}"),
    ("/a+b", "/a+b"),
    ("//a/../b", "//a/../b"),
]


@pytest.mark.parametrize(("target", "path"), PATHS)
def test_the_path_arrives_decoded_twice_and_cut(target: str, path: str) -> None:
    produced = event("GET", target)
    assert produced["rawPath"] == path
    assert produced["requestContext"]["http"]["path"] == path


# The raw query unchanged, and the parameters decoded once.
QUERIES = [
    ("", None),
    ("a=1", {"a": "1"}),
    ("name=a%2Bb+c%20d&x=%zz", {"name": "a+b c d", "x": "%zz"}),
    ("a=1&b=2&a=3", {"a": "1,3", "b": "2"}),
    ("a&b=", {"a": "", "b": ""}),
]


@pytest.mark.parametrize(("query", "parameters"), QUERIES)
def test_the_query_arrives_raw_and_decoded(query: str, parameters: dict[str, str] | None) -> None:
    produced = event("GET", f"/x?{query}" if query else "/x")
    assert produced["rawQueryString"] == query
    assert produced.get("queryStringParameters") == parameters


def test_headers_have_lower_case_names_and_repeated_ones_are_joined() -> None:
    headers = event("GET", "/", ("Range", "bytes=0-1"), ("RANGE", "bytes=2-3"), ("X-Forwarded-For", "1.1.1.1"))[
        "headers"
    ]
    assert headers["range"] == "bytes=0-1,bytes=2-3"
    assert headers["x-forwarded-for"] == "1.1.1.1, 203.0.113.7"


def test_headers_of_the_connection_stay_with_the_gateway() -> None:
    headers = event("GET", "/", ("Connection", "close"), ("Transfer-Encoding", "chunked"), ("TE", "trailers"))[
        "headers"
    ]
    assert not {"connection", "transfer-encoding", "te"} & headers.keys()


def test_a_client_cannot_choose_protocol_or_domain() -> None:
    produced = event("GET", "/", ("X-Forwarded-Proto", "javascript"), ("X-Forwarded-Host", "evil.example"))
    assert produced["headers"]["x-forwarded-proto"] == "https"
    assert produced["requestContext"]["domainName"] == DOMAIN


def test_cookies_have_a_list_of_their_own() -> None:
    produced = event("GET", "/", ("Cookie", "a=1; b=2"), ("cookie", "c=3"))
    assert produced["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookie" not in produced["headers"]


BODIES = [
    ("application/octet-stream", EVERY_BYTE, True),
    ("multipart/form-data; boundary=x", b"--x--", True),
    ("", b"plain", True),
    ("text/plain", b"plain", False),
    ("Text/CSV; charset=utf-8", "é".encode(), False),
    ('text/html;charset="UTF-8"', "é".encode(), False),
    ("text/plain; charset=iso-8859-1", b"caf\xe9", True),
    ("text/plain; charset=us-ascii", b"plain", True),
    ("application/json", b"{}", False),
    ("application/json; charset=utf-16", b"{}", True),
    ("application/xml", b"<a/>", False),
    ("application/javascript", b"a", False),
    ("image/svg+xml", b"<svg/>", True),
    ("application/problem+json", b"{}", True),
    ("application/x-www-form-urlencoded", b"a=1", True),
    ("application/jsonl", b"{}", True),
]


@pytest.mark.parametrize(("content_type", "body", "encoded"), BODIES)
def test_type_and_charset_decide_what_arrives_as_text(content_type: str, body: bytes, encoded: bool) -> None:
    # The types were tested on AWS: https://github.com/ministackorg/ministack/pull/766.
    produced = event("POST", "/", ("Content-Type", content_type), body=body)
    assert produced["isBase64Encoded"] is encoded
    assert (base64.b64decode(produced["body"]) if encoded else produced["body"].encode()) == body


def test_bytes_that_are_not_the_text_they_claim_to_be_are_lost_but_counted() -> None:
    # A function can store only what it receives.
    produced = event("POST", "/", ("Content-Type", "text/plain"), ("Content-Length", "5"), body=b"caf\xe9\n")
    assert produced["body"] == "caf\N{REPLACEMENT CHARACTER}\n"
    assert produced["headers"]["content-length"] == "5"


def test_without_a_body_the_event_has_none() -> None:
    produced = event("POST", "/")
    assert "body" not in produced
    assert produced["isBase64Encoded"] is False


def answer(result: Any, method: str = "GET") -> tuple[int, list[tuple[str, str]], bytes]:
    response = response_to(Request(method, "/", [], id="id"), json.dumps(result).encode())
    assert ("apigw-requestid", "id") in response.headers
    return response.status, [header for header in response.headers if header[0] != "apigw-requestid"], response.body


def test_a_binary_body_comes_back_whole() -> None:
    result = {"statusCode": 200, "body": base64.b64encode(EVERY_BYTE).decode(), "isBase64Encoded": True}
    assert answer(result) == (200, [("content-length", "256")], EVERY_BYTE)


def test_no_cookie_is_lost() -> None:
    result = {"statusCode": 303, "headers": {"Vary": "a, b"}, "cookies": ["a=1", "b=2"]}
    headers = [("vary", "a, b"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-length", "0")]
    assert answer(result) == (303, headers, b"")


@pytest.mark.parametrize("remap", [False, True])
def test_a_challenge_may_be_renamed(remap: bool) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
    result = {"statusCode": 401, "headers": {"WWW-Authenticate": "Basic", "ETag": '"x"'}}
    response = response_to(Request("GET", "/", []), json.dumps(result).encode(), remap=remap)
    name = "x-amzn-remapped-www-authenticate" if remap else "www-authenticate"
    assert response.headers[:2] == [(name, "Basic"), ("etag", '"x"')]


def test_the_length_is_that_of_the_body() -> None:
    assert answer({"statusCode": 200, "headers": {"Content-Length": "9"}, "body": "é"})[1] == [("content-length", "2")]


def test_an_answer_to_head_keeps_its_length_and_has_no_body() -> None:
    result = {"statusCode": 200, "headers": {"content-length": "9"}, "body": ""}
    assert answer(result, "HEAD") == (200, [("content-length", "9")], b"")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_has_no_length(status: int) -> None:
    assert answer({"statusCode": status, "headers": {"content-length": "0"}, "body": ""}) == (status, [], b"")


@pytest.mark.parametrize(("result", "body"), [({"a": 1}, b'{"a": 1}'), ("text", b"text"), ([1], b"[1]")])
def test_a_result_without_status_is_a_good_answer(result: Any, body: bytes) -> None:
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    assert answer(result) == (200, headers, body)


MALFORMED: list[dict[str, Any]] = [
    {"statusCode": "200"},
    {"statusCode": 1000},
    {"statusCode": 200, "body": {}},
    {"statusCode": 200, "headers": []},
    {"statusCode": 200, "headers": {"a": ["b"]}},
    {"statusCode": 200, "body": "%", "isBase64Encoded": True},
]


@pytest.mark.parametrize("result", MALFORMED)
def test_what_is_no_response_is_refused(result: dict[str, Any]) -> None:
    with pytest.raises(MalformedResult):
        answer(result)


ROUTES = [
    DEFAULT,
    Route("ANY", "/{proxy+}", "Greedy"),
    Route("GET", "/pets/{id}", "Pet"),
    Route("GET", "/pets/{rest+}", "Pets"),
    Route("GET", "/pets/dog", "Dog"),
    Route("ANY", "/pets/dog", "AnyDog"),
    Route("GET", "/a.c", "Literal"),
]
# The examples of https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html, and more.
MATCHES = [
    ("GET", "/pets/dog", "Dog", {}),
    ("POST", "/pets/dog", "AnyDog", {}),
    ("GET", "/pets/cat", "Pet", {"id": "cat"}),
    ("GET", "/pets/cat/", "Pets", {"rest": "cat/"}),
    ("GET", "/a.c/", "Greedy", {"proxy": "a.c/"}),
    ("GET", "/pets/cat/1", "Pets", {"rest": "cat/1"}),
    ("GET", "/pets/a\nb", "Pet", {"id": "a\nb"}),
    ("POST", "/pets/cat", "Greedy", {"proxy": "pets/cat"}),
    ("GET", "/pets/", "Greedy", {"proxy": "pets/"}),
    ("GET", "/abc", "Greedy", {"proxy": "abc"}),
    ("GET", "/a.c", "Literal", {}),
    ("GET", "/", "App", {}),
]


@pytest.mark.parametrize("routes", [ROUTES, ROUTES[::-1]], ids=["in order", "reversed"])
@pytest.mark.parametrize(("method", "path", "function", "parameters"), MATCHES)
def test_the_most_specific_route_wins(
    routes: list[Route], method: str, path: str, function: str, parameters: dict[str, str]
) -> None:
    match = Router(routes).match(method, path)
    assert match is not None
    assert (match[0].function, match[1]) == (function, parameters)


def test_without_a_default_route_the_gateway_knows_nothing() -> None:
    assert Router(ROUTES[2:]).match("GET", "/elsewhere") is None


Invoke = Callable[[str, bytes], Awaitable[bytes]]


def ask(
    invoke: Invoke, *, timeout: float = 30, routes: tuple[Route, ...] = (DEFAULT,), **request: Any
) -> httpx.Response:
    """The answer of a gateway, as an ASGI application, to one request."""

    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(Gateway(routes, invoke, DOMAIN, timeout=timeout))
        async with httpx.AsyncClient(transport=transport, base_url=f"https://{DOMAIN}") as client:
            return await client.request(request.pop("method", "GET"), request.pop("path", "/"), **request)

    return asyncio.run(asking())


def returning(result: Any) -> Invoke:
    async def invoke(_function: str, _event: bytes) -> bytes:
        return json.dumps(result).encode()

    return invoke


def raising(error: Exception) -> Invoke:
    async def invoke(_function: str, _event: bytes) -> bytes:
        raise error

    return invoke


def said(response: httpx.Response) -> tuple[int, Any]:
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield bytes(65536)
    yield bytes(size % 65536)


def test_a_request_goes_to_the_function_of_its_route_and_back() -> None:
    async def invoke(function: str, event: bytes) -> bytes:
        request = json.loads(event)
        return json.dumps(
            {"statusCode": 201, "body": f"{function} {request['rawPath']} {request['pathParameters']}"}
        ).encode()

    response = ask(invoke, routes=(DEFAULT, Route("GET", "/file/{id}", "One")), path="/file/%C3%A9?x=1")
    assert (response.status_code, response.text) == (201, "One /file/é {'id': 'é'}")


def test_a_body_as_long_as_the_gateway_takes_reaches_the_function() -> None:
    lengths = []

    async def invoke(_function: str, event: bytes) -> bytes:
        lengths.append(len(base64.b64decode(json.loads(event)["body"])))
        return b'{"statusCode": 204}'

    assert ask(invoke, method="PUT", content=bytes(BODY_LIMIT)).status_code == 204
    assert lengths == [BODY_LIMIT]


@pytest.mark.parametrize("announced", [True, False])
def test_a_longer_body_is_refused_whether_announced_or_not(announced: bool) -> None:
    content: Any = bytes(BODY_LIMIT + 1) if announced else chunks(BODY_LIMIT + 1)
    response = ask(raising(AssertionError("invoked")), method="PUT", content=content)
    assert said(response) == (413, {"message": "Request Too Long"})


@pytest.mark.parametrize("path", ["/percent%25done", "/100%25", "/%zz", "/%"])
def test_a_path_that_cannot_be_decoded_twice_is_refused(path: str) -> None:
    # The first was captured on AWS: https://github.com/hotsock/voker/pull/8.
    async def asking() -> int:
        gateway = Gateway([DEFAULT], raising(AssertionError("invoked")), DOMAIN)
        return (await gateway.answer(Request("GET", path, [("host", DOMAIN)]))).status

    assert asyncio.run(asking()) == 400


@pytest.mark.parametrize(("size", "status"), [(HEAD_LIMIT, 204), (HEAD_LIMIT + 1, 431)])
def test_the_head_of_a_request_is_limited(size: int, status: int) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
    rest = f"GET / HTTP/1.1\r\nhost: {DOMAIN}\r\nx-long: \r\n"
    headers = [("host", DOMAIN), ("x-long", "x" * (size - len(rest)))]
    gateway = Gateway([DEFAULT], returning({"statusCode": 204}), DOMAIN)
    assert asyncio.run(gateway.answer(Request("GET", "/", headers))).status == status


FAILURES = [
    (EventTooLarge("much"), 413, "Request Too Long"),
    (FunctionFailed(b'{"errorType":"Runtime.ExitError"}'), 500, "Internal Server Error"),
    (FunctionFailed(b'{"errorType":"Function.ResponseSizeTooLarge"}'), 500, "Internal Server Error"),
]


@pytest.mark.parametrize(("error", "status", "message"), FAILURES)
def test_a_function_that_fails_is_the_gateways_to_report(error: Exception, status: int, message: str) -> None:
    assert said(ask(raising(error))) == (status, {"message": message})


def test_a_result_that_is_no_response_is_an_error() -> None:
    assert said(ask(returning({"statusCode": "many"}))) == (500, {"message": "Internal Server Error"})


def test_without_a_route_nothing_is_found() -> None:
    assert said(ask(returning({}), routes=())) == (404, {"message": "Not Found"})


def test_the_gateway_does_not_wait_for_ever_and_the_function_goes_on() -> None:
    async def asking() -> int:
        go_on, ended = asyncio.Event(), asyncio.Event()

        async def invoke(_function: str, _event: bytes) -> bytes:
            await go_on.wait()
            ended.set()
            return b"{}"

        gateway = Gateway([DEFAULT], invoke, DOMAIN, timeout=0.05)
        status = (await gateway.answer(Request("GET", "/", [("host", DOMAIN)]))).status
        go_on.set()
        await asyncio.wait_for(ended.wait(), WITHIN)
        return status

    assert asyncio.run(asking()) == 503


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_request_has_one_host(hosts: int) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"a.example")] * hosts}
    asyncio.run(Gateway([DEFAULT], returning({}), DOMAIN)(scope, receive, send))
    assert sent[0]["status"] == 400


def test_a_request_that_breaks_off_reaches_no_function() -> None:
    # An incomplete body is not passed on.
    half: dict[str, Any] = {"type": "http.request", "body": b"ha", "more_body": True}
    messages: Iterator[dict[str, Any]] = iter([half, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"a.example")]}
    asyncio.run(Gateway([DEFAULT], raising(AssertionError("invoked")), DOMAIN)(scope, receive, send))
    assert sent == []


def test_the_payload_limit_is_lambdas() -> None:
    assert PAYLOAD_LIMIT == 6_291_456
