"""The OpenAPI document is accurate: requests that it allows, and those that it does not, are answered as it says."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
import schemathesis
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import Case as AnyCase
from schemathesis.checks import CheckFunction
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from shared.http.endpoint import EVERYWHERE, WITH_BODY
from tests import archives
from tests.api.client import Api, openapi_document
from tests.properties.effort import examples

Case = AnyCase[Any]

TOKEN = "the-token"
BODY_METHODS = {"post", "put", "patch"}
DOCUMENT: dict[str, Any] = openapi_document()
# Fewer examples for slower ways of running.
EXAMPLES = {"directory": 8, "s3": 3, "functions": 3, "emulated": 2}
# Operations that do not accept everything; paths and the password form accept any text.
CONSTRAINED = {
    ("/file/upload", "post"),
    ("/file/upload", "put"),
    ("/file/upload/{filename}", "put"),
    ("/file/metadata", "get"),
    ("/file/{file_id}", "patch"),
}
OPERATIONS = [(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations]


class Adapter(HTTPAdapter):
    """An adapter for `requests`, which schemathesis uses, that calls the tested API."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api

    def send(self, request: requests.PreparedRequest, *_arguments: Any, **_options: Any) -> requests.Response:
        assert request.url is not None
        content = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(content, bytes)
        headers = {
            name: value if isinstance(value, str) else value.decode("latin-1")
            for name, value in request.headers.items()
            if name.lower() != "transfer-encoding"
        }
        # The tested API hands over what it has decompressed, still with the headers of the compressed content.
        headers["Accept-Encoding"] = "identity"
        answer = self._api.request(request.method or "", request.url, headers, content)
        raw = urllib3.HTTPResponse(
            io.BytesIO(answer.content),
            urllib3.HTTPHeaderDict(answer.headers.multi_items()),
            answer.status_code,
            reason=answer.reason_phrase,
            preload_content=False,
            decode_content=False,
        )
        return self.build_response(request, raw)


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """The way of running this test's API."""
    name: str = request.node.callspec.params["api"]
    return name


@pytest.fixture
def session(api: Api, monkeypatch: pytest.MonkeyPatch) -> requests.Session:
    api.configure("SHARE_API_TOKEN", TOKEN)
    # Some checks repeat a request in a separate session.
    monkeypatch.setattr("requests.sessions.HTTPAdapter", lambda: Adapter(api))
    return requests.Session()


@pytest.fixture
def upload(session: requests.Session, api: Api) -> Callable[[], str]:
    """Uploads an archive, because all operations accept one. Returns its ID."""

    def make() -> str:
        authorised = {"Authorization": f"Bearer {TOKEN}"}
        answer = session.put(f"{api.base}/file/upload/a.zip", archives.PLAIN, headers=authorised)
        file_id: str = answer.json()["file_id"]
        return file_id

    return make


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_an_operation_is_as_it_is_described(
    api: Api, session: requests.Session, upload: Callable[[], str], path: str, method: str, way: str
) -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    operation = schema[path][method]
    kept = upload()

    @examples(EXAMPLES[way])
    @given(case=operation.as_strategy(GenerationMode.POSITIVE), existing=st.booleans())
    def accepts(case: Case, existing: bool) -> None:
        _leave_out_what_cannot_be_said(case)
        ask(case, existing)

    @examples(EXAMPLES[way])
    @given(case=operation.as_strategy(GenerationMode.NEGATIVE), existing=st.booleans())
    def copes_with(case: Case, existing: bool) -> None:
        ask(case, existing)

    def ask(case: Case, existing: bool) -> None:
        if existing and "file_id" in case.path_parameters:
            case.path_parameters["file_id"] = upload() if method == "delete" else kept
        authorised = {"Authorization": f"Bearer {TOKEN}"}
        answer = case.call(api.base, session, headers=authorised)
        # Unknown parameters and parts are ignored, so not everything outside the schema is refused.
        excluded: list[CheckFunction] = [negative_data_rejection]
        if answer.status_code == 413:
            # The schema does not specify the maximum size of a body.
            excluded.append(positive_data_acceptance)
        case.validate_response(answer, excluded_checks=excluded, transport_kwargs={"base_url": api.base})

    accepts()
    if (path, method) in CONSTRAINED:
        copes_with()


def _leave_out_what_cannot_be_said(case: Case) -> None:
    """Remove what a schema cannot specify: an option may be sent in only one way, and a digest must match the bytes.

    A name must have visible characters, and 1.0 does not count as a whole number here. Form field names that end in a
    backslash cannot be encoded.
    """
    for header, parameter in (("Max-Days", "expires_in"), ("Max-Downloads", "max_downloads")):
        if header in case.headers and parameter in case.query:
            del case.query[parameter]
    case.headers.pop("Repr-Digest", None)
    holders: list[Any] = [case.path_parameters, case.query, case.body]
    for holder in holders:
        if isinstance(holder, dict) and isinstance(holder.get("filename"), str):
            holder["filename"] = holder["filename"][-40:] + "a"
    if isinstance(case.body, dict) and "file" in case.body:
        for name in case.body.keys() - {"file", "expires_in", "max_downloads", "password"}:
            del case.body[name]
    case.body = _with_whole_numbers(case.body)


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_whole_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_every_operation_names_what_any_request_can_be_answered_with() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            expected = {*EVERYWHERE, *(WITH_BODY if method in BODY_METHODS else ())}
            described = {int(status): response for status, response in operation["responses"].items()}
            assert expected <= described.keys(), (method, path)
            for status in expected:
                assert "application/problem+json" in described[status]["content"]


def test_no_error_is_plain_json() -> None:
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                assert int(status) < 400 or "application/json" not in response.get("content", {})


def test_references_lead_to_schemas() -> None:
    def references(node: object) -> set[str]:
        if isinstance(node, Mapping):
            own = {str(node["$ref"])} if "$ref" in node else set()
            return own.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert references(DOCUMENT) == schemas
