"""Who has access: access tokens, cross-site requests, and the delete token that comes with a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from starlette.types import Message, Scope

from functions.app import ROUTERS
from shared.http.app import build_app
from tests.api.client import (
    CHALLENGES,
    DIGITS,
    Api,
    challenge,
    file_part,
    form,
    is_tombstone,
    problem,
    record_key,
    stored,
)
from tests.environment import service

TOKENS = ("first-token", "second.token~2==")
UNKNOWN = "3f0b6f0e-6d0c-4a5e-9b43-0d6c3b7c8f10"

FORM = {"content-type": "multipart/form-data; boundary=X-boundary"}


def with_tokens(api: Api) -> None:
    api.configure("SHARE_API_TOKEN", ", ".join(TOKENS))


def bearer(token: str = TOKENS[0]) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def by_post(api: Api, headers: dict[str, str]) -> httpx.Response:
    return api.request("POST", "/file/upload/", {**FORM, **headers}, form(file_part(DIGITS)))


def by_put(api: Api, headers: dict[str, str]) -> httpx.Response:
    return api.request("PUT", "/file/upload/digits.txt", headers, DIGITS)


def by_list(api: Api, headers: dict[str, str]) -> httpx.Response:
    return api.request("GET", "/file/metadata/", headers)


GUARDED = {"POST": by_post, "PUT": by_put, "list": by_list}


def assert_token_wanted(response: httpx.Response) -> None:
    assert problem(response, 401)["type"].endswith("token-required")
    assert challenge(response).startswith("Bearer realm=")


@pytest.mark.parametrize("ask", GUARDED.values(), ids=GUARDED.keys())
@pytest.mark.parametrize("token", TOKENS)
def test_any_of_the_tokens_opens_what_needs_one(api: Api, ask: Callable[..., httpx.Response], token: str) -> None:
    with_tokens(api)
    assert ask(api, bearer(token)).status_code in (200, 201)


BAD_CREDENTIALS = {
    "none": {},
    "wrong": bearer("wrong-token"),
    "part of one": bearer(TOKENS[0][:-1]),
    "one and more": bearer(TOKENS[0] + "x"),
    "in capitals": bearer(TOKENS[0].upper()),
    "both": bearer(",".join(TOKENS)),
    "empty": {"authorization": ""},
    "scheme alone": {"authorization": "Bearer"},
    "scheme and a blank": {"authorization": "Bearer "},
    "token alone": {"authorization": TOKENS[0]},
    "another scheme": {"authorization": f"Basic {TOKENS[0]}"},
    "tab": {"authorization": f"Bearer\t{TOKENS[0]}"},
    "quoted": bearer(f'"{TOKENS[0]}"'),
    "another header": {"x-api-token": TOKENS[0]},
    "cookie": {"cookie": f"token={TOKENS[0]}"},
}


@CHALLENGES
@pytest.mark.parametrize("headers", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS.keys())
def test_without_a_valid_token_nothing_is_taken_or_listed(api: Api, headers: dict[str, str]) -> None:
    with_tokens(api)
    for ask in GUARDED.values():
        assert_token_wanted(ask(api, headers))
    assert api.objects.keys() == []


def test_a_token_that_is_not_ascii_is_wrong(api: Api) -> None:
    with_tokens(api)
    headers = httpx.Headers([(b"authorization", "Bearer tökén".encode())])
    assert_token_wanted(api.request("GET", "/file/metadata/", headers))


@pytest.mark.parametrize("value", ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer {} "])
def test_the_header_is_read_leniently(api: Api, value: str) -> None:
    with_tokens(api)
    assert by_list(api, {"authorization": value.format(TOKENS[0])}).status_code == 200


def test_two_authorization_headers_are_none(api: Api) -> None:
    with_tokens(api)
    value = bearer()["authorization"]
    headers = httpx.Headers([("authorization", value), ("authorization", value)])
    assert_token_wanted(api.request("GET", "/file/metadata/", headers))


@CHALLENGES
@pytest.mark.parametrize("name", ["token", "access_token", "api_token", "authorization"])
def test_an_api_token_is_never_read_from_a_url(api: Api, name: str) -> None:
    with_tokens(api)
    for method, path in (("GET", "/file/metadata/"), ("PUT", "/file/upload/digits.txt"), ("POST", "/file/upload/")):
        assert_token_wanted(api.request(method, path, params={name: TOKENS[0]}))


GUARDED_PATHS = [
    ("POST", "/file/upload"),
    ("PUT", "/file/upload"),
    ("PUT", "/file/upload/"),
    ("PUT", "/file/upload/a/b"),
    ("GET", "/file/metadata"),
    ("HEAD", "/file/metadata/"),
    ("HEAD", "/file/metadata"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED_PATHS)
def test_no_spelling_of_a_guarded_path_goes_round_the_guard(api: Api, method: str, path: str) -> None:
    with_tokens(api)
    assert api.request(method, path).status_code == 401
    assert api.objects.keys() == []


def test_what_is_handed_out_by_link_needs_no_token(api: Api) -> None:
    file_id = api.upload()["file_id"]
    with_tokens(api)
    assert api.download(file_id).content == DIGITS
    assert api.download(file_id, "HEAD").status_code == 200
    assert api.metadata(file_id)["download_count"] == 1
    assert api.request("GET", "/health").status_code == 200
    problem(api.request("GET", "/no/such/page"), 404)


# A form can name an inbox in its fields instead of sending a token. A client that sends a token wants to use it.
REFUSED_BY_HEAD: dict[str, tuple[str, str, list[str]]] = {
    "form with a wrong token": ("POST", "/file/upload", ["Bearer wrong"]),
    "form with a token twice": ("POST", "/file/upload", [f"Bearer {TOKENS[0]}"] * 2),
    "body without a token": ("PUT", "/file/upload/digits.txt", []),
    "body with a wrong token": ("PUT", "/digits.txt", ["bearer wrong"]),
    "direct upload with a wrong token": ("POST", "/file/s3/multipart", ["Bearer wrong"]),
}


@pytest.mark.parametrize("asked", REFUSED_BY_HEAD.values(), ids=REFUSED_BY_HEAD.keys())
def test_a_token_is_asked_for_before_the_body_is_read(
    configure: Callable[[str, str], None], loop: asyncio.AbstractEventLoop, asked: tuple[str, str, list[str]]
) -> None:
    configure("SHARE_API_TOKEN", TOKENS[0])
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was asked for")

    async def send(message: Message) -> None:
        sent.append(message)

    # A client that waits for 100 Continue never gets it.
    method, path, credentials = asked
    headers = [(b"host", b"share.test"), (b"content-length", b"52428800"), (b"expect", b"100-continue")]
    headers += [(b"content-type", FORM["content-type"].encode())]
    headers += [(b"authorization", value.encode()) for value in credentials]
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }
    loop.run_until_complete(build_app(*ROUTERS, service=service())(scope, receive, send))
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]


# Functions read their CORS settings once per process, and a gateway has no proxy of ours in front.
whole_app = pytest.mark.parametrize("api", ["directory", "s3"], indirect=True)

CROSS_SITE = {
    "cross-site": {"sec-fetch-site": "cross-site"},
    "same-site": {"sec-fetch-site": "same-site"},
    "in capitals": {"sec-fetch-site": "Cross-Site"},
    "unheard of": {"sec-fetch-site": "somewhere"},
    "foreign origin": {"origin": "https://evil.example"},
    "opaque origin": {"origin": "null"},
    "own name, another port": {"origin": "https://share.test:9999"},
    "own name, the default port of another scheme": {"origin": "http://share.test:443"},
    "own origin that the browser calls foreign": {"origin": "http://share.test:8080", "sec-fetch-site": "cross-site"},
}


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE.keys())
def test_another_site_changes_nothing(api: Api, headers: dict[str, str]) -> None:
    uploaded = api.upload()
    path, owner = f"/file/{uploaded['file_id']}", {"x-delete-token": uploaded["delete_token"]}
    patch = {"content-type": "application/json", **owner, **headers}
    before = api.objects.keys()
    for response in (
        by_post(api, headers),
        by_put(api, headers),
        api.request("PATCH", path, patch, b'{"max_downloads": 1}'),
        api.request("DELETE", path, {**owner, **headers}),
    ):
        assert problem(response, 403)["type"].endswith("cross-site")
    assert api.objects.keys() == before
    assert api.metadata(uploaded["file_id"])["max_downloads"] is None


def test_another_site_may_link_to_a_download(api: Api) -> None:
    file_id = api.upload()["file_id"]
    headers = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    assert api.download(file_id, **headers).content == DIGITS
    assert api.request("GET", f"/file/metadata/{file_id}", headers).status_code == 200


def test_the_refusal_tells_the_operator_what_to_set(api: Api) -> None:
    refused = problem(by_put(api, {"origin": "https://evil.example"}), 403)
    assert refused["detail"] == "Cross-site request refused. Set SHARE_PUBLIC_URL if this server is behind a proxy."


# With `proxy_set_header Host $host`, nginx passes on the name without its port.
@whole_app
def test_the_browser_knows_better_than_a_proxy_what_is_same_origin(api: Api) -> None:
    seen = {"host": "share.test", "origin": "https://share.test:8443"}
    assert by_put(api, {**seen, "sec-fetch-site": "same-origin"}).status_code == 201
    # Old browsers do not send Sec-Fetch-Site, so only the names can be compared.
    assert by_put(api, seen).status_code == 403


@whole_app
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("share.test", "http://share.test:80"),
        ("share.test:80", "http://share.test"),
        ("share.test:443", "https://share.test"),
        ("share.test", "https://share.test:443"),
        ("[::1]:80", "http://[::1]"),
    ],
)
def test_the_default_port_of_an_origin_is_none(api: Api, host: str, origin: str) -> None:
    assert by_put(api, {"host": host, "origin": origin}).status_code == 201


def test_our_own_pages_and_other_clients_may_upload(api: Api) -> None:
    for headers in ({}, {"sec-fetch-site": "same-origin", "origin": api.base}, {"sec-fetch-site": "none"}):
        assert by_post(api, headers).status_code == 201
        assert by_put(api, headers).status_code == 201


def test_the_host_of_an_origin_is_compared_in_any_case(api: Api) -> None:
    assert by_put(api, {"origin": api.base.upper()}).status_code == 201


def test_a_configured_origin_may_upload(api: Api) -> None:
    api.configure("SHARE_CORS_ORIGINS", "https://app.example, https://other.example")
    headers = {"origin": "https://other.example", "sec-fetch-site": "cross-site"}
    assert by_put(api, headers).status_code == 201
    problem(by_put(api, {**headers, "origin": "https://evil.example"}), 403)


def test_our_public_address_may_upload(api: Api) -> None:
    api.configure("SHARE_PUBLIC_URL", "https://files.example.org/share")
    assert by_put(api, {"origin": "https://files.example.org", "sec-fetch-site": "same-origin"}).status_code == 201


def test_with_a_token_the_origin_does_not_matter(api: Api) -> None:
    with_tokens(api)
    assert by_put(api, {"sec-fetch-site": "cross-site", **bearer()}).status_code == 201


ORIGIN = "https://app.example"


@whole_app
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_preflight_of_a_configured_origin_needs_no_token(api: Api, method: str) -> None:
    api.configure("SHARE_CORS_ORIGINS", ORIGIN)
    with_tokens(api)
    asked = {"access-control-request-method": method, "access-control-request-headers": "authorization, x-password"}
    response = api.request("OPTIONS", "/file/upload/", {"origin": ORIGIN, **asked})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert method in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "x-password" in allowed


@whole_app
def test_a_page_of_a_configured_origin_may_read_what_it_needs(api: Api) -> None:
    api.configure("SHARE_CORS_ORIGINS", ORIGIN)
    response = api.download(api.upload()["file_id"], origin=ORIGIN)
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in response.headers
    exposed = {name.strip().lower() for name in response.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"content-disposition", "content-range", "etag", "location", "link", "x-url-delete"}


@whole_app
def test_an_error_can_be_read_by_a_configured_origin_too(api: Api) -> None:
    api.configure("SHARE_CORS_ORIGINS", ORIGIN)
    with_tokens(api)
    response = by_put(api, {"origin": ORIGIN})
    assert_token_wanted(response)
    assert response.headers["access-control-allow-origin"] == ORIGIN


@whole_app
def test_an_origin_that_is_not_configured_may_read_nothing(api: Api) -> None:
    api.configure("SHARE_CORS_ORIGINS", ORIGIN)
    evil = {"origin": "https://evil.example"}
    assert "access-control-allow-origin" not in api.download(api.upload()["file_id"], **evil).headers
    preflight = api.request("OPTIONS", "/file/upload/", {**evil, "access-control-request-method": "PUT"})
    assert "SHARE_CORS_ORIGINS" in problem(preflight, 400)["detail"]
    assert "access-control-allow-origin" not in preflight.headers
    assert "origin" in preflight.headers["vary"].lower()


def test_without_configured_origins_nothing_is_said_of_them(api: Api) -> None:
    file_id = api.upload()["file_id"]
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    preflight = api.request("OPTIONS", "/file/upload/", asked)
    problem(preflight, 405)
    for response in (preflight, api.download(file_id, origin=ORIGIN)):
        assert not any(name.startswith("access-control-") for name in response.headers)


def owner(uploaded: dict[str, str]) -> dict[str, str]:
    return {"x-delete-token": uploaded["delete_token"]}


def delete(api: Api, file_id: str, headers: dict[str, str], **params: str) -> httpx.Response:
    return api.request("DELETE", f"/file/{file_id}", headers, params=params)


def patch(api: Api, file_id: str, headers: dict[str, str], **params: str) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    return api.request("PATCH", f"/file/{file_id}", headers, b'{"max_downloads": 7}', params)


OWNED = {"DELETE": delete, "PATCH": patch}
DONE = (200, 204)
Ask = Callable[..., httpx.Response]


@pytest.mark.parametrize("ask", OWNED.values(), ids=OWNED.keys())
def test_the_delete_token_opens_its_file_by_header_and_by_link(api: Api, ask: Ask) -> None:
    first, second = api.upload(), api.upload()
    assert ask(api, first["file_id"], owner(first)).status_code in DONE
    assert ask(api, second["file_id"], {}, token=second["delete_token"]).status_code in DONE


@pytest.mark.parametrize("ask", OWNED.values(), ids=OWNED.keys())
def test_where_tokens_are_set_either_kind_will_do(api: Api, ask: Ask) -> None:
    first, second = api.upload(), api.upload()
    with_tokens(api)
    assert ask(api, first["file_id"], bearer()).status_code in DONE
    assert ask(api, second["file_id"], owner(second)).status_code in DONE


@CHALLENGES
@pytest.mark.parametrize("ask", OWNED.values(), ids=OWNED.keys())
def test_without_any_token_a_file_stays_as_it_is(api: Api, ask: Ask) -> None:
    uploaded = api.upload()
    file_id = uploaded["file_id"]
    # No access token is configured, so none is valid.
    for headers in ({}, bearer(), bearer(""), bearer(uploaded["delete_token"])):
        assert_token_wanted(ask(api, file_id, headers))
    with_tokens(api)
    for headers in ({}, bearer("wrong"), bearer(uploaded["delete_token"])):
        assert_token_wanted(ask(api, file_id, headers))
    assert_token_wanted(ask(api, file_id, {}, access_token=TOKENS[0]))
    assert api.metadata(file_id)["max_downloads"] is None


@pytest.mark.parametrize("ask", OWNED.values(), ids=OWNED.keys())
def test_a_wrong_delete_token_is_refused(api: Api, ask: Ask) -> None:
    uploaded, other = api.upload(), api.upload()
    file_id, token = uploaded["file_id"], uploaded["delete_token"]
    with_tokens(api)
    for wrong in ("", "x", token[:-2], f"{token}x", token.swapcase(), other["delete_token"], TOKENS[0]):
        for headers, params in (({"x-delete-token": wrong}, {}), ({}, {"token": wrong})):
            response = ask(api, file_id, headers, **params)
            assert problem(response, 403)["type"].endswith("wrong-delete-token")
            assert token not in response.text
    assert api.metadata(file_id)["max_downloads"] is None


@pytest.mark.parametrize("ask", OWNED.values(), ids=OWNED.keys())
def test_a_stranger_does_not_learn_which_files_there_are(api: Api, ask: Ask) -> None:
    existing, other = api.upload(), api.upload()
    for headers, status in (({}, 401), ({"x-delete-token": "x"}, 403), (owner(other), 403)):
        existing_answer, unknown = (ask(api, file_id, headers) for file_id in (existing["file_id"], UNKNOWN))
        problem(existing_answer, status)
        assert existing_answer.content == unknown.content
        assert existing_answer.status_code == unknown.status_code


@pytest.mark.parametrize("ask", OWNED.values(), ids=OWNED.keys())
def test_an_unknown_file_is_unknown_with_an_api_token(api: Api, ask: Ask) -> None:
    with_tokens(api)
    problem(ask(api, UNKNOWN, bearer()), 404)


def test_the_body_of_a_change_is_read_for_its_owner_only(api: Api) -> None:
    response = api.request("PATCH", f"/file/{UNKNOWN}", {"content-type": "text/plain"}, b"not JSON")
    assert_token_wanted(response)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_deleted_file_is_gone_everywhere(api: Api, slash: str) -> None:
    uploaded = api.upload()
    file_id = uploaded["file_id"]
    response = api.request("DELETE", f"/file/{file_id}{slash}", owner(uploaded))
    assert response.status_code == 204
    assert response.content == b""
    assert stored(api) == [record_key(file_id)]
    for path in (f"/file/download/{file_id}", f"/file/metadata/{file_id}"):
        problem(api.request("GET", path), 404)
        assert api.request("HEAD", path).status_code == 404
    assert api.listing() == {}
    problem(delete(api, file_id, owner(uploaded)), 404)
    problem(patch(api, file_id, owner(uploaded)), 404)


def test_what_is_kept_of_a_deleted_file_does_not_say_what_it_was(api: Api) -> None:
    # Its record stays for an hour, so that no late write brings the file back.
    uploaded = api.upload(DIGITS, "private.txt", "text/x-private")
    assert delete(api, uploaded["file_id"], owner(uploaded)).status_code == 204
    key = record_key(uploaded["file_id"])
    assert is_tombstone(api, key)
    assert b"private" not in api.objects.read(key)
    assert uploaded["sha256"].encode() not in api.objects.read(key)


def test_deleting_one_file_leaves_the_others(api: Api) -> None:
    first, second = api.upload(), api.upload()
    delete(api, first["file_id"], owner(first))
    assert set(api.listing()) == {second["file_id"]}
    assert api.download(second["file_id"]).content == DIGITS
