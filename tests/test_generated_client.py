"""The OpenAPI document is sufficient to generate a client: tested with a common generator on a client's usual tasks."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.api.client import openapi_document
from tests.wire.server import WITHIN, Server

DOCUMENT: dict[str, Any] = openapi_document()
OPERATIONS = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
PASSWORD = "correct horse"


def test_the_document_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_operation_has_a_name_of_its_own_and_a_tag() -> None:
    names = [operation["operationId"] for operation in OPERATIONS]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() and "__" not in name for name in names)
    assert all(len(operation["tags"]) == 1 for operation in OPERATIONS)
    inbox = [path for path in DOCUMENT["paths"] if path.startswith("/inbox/{inbox_id}") and "qr" not in path]
    assert {operation["tags"][0] for path in inbox for operation in DOCUMENT["paths"][path].values()} == {"Inboxes"}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Imports modules of the generated client."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(DOCUMENT))
    # Without the generator's hooks, which look for a formatter on PATH.
    (folder / "configuration.yaml").write_text("post_hooks: []\n")
    command = "generate --path openapi.json --output-path sharing_client --meta none --config configuration.yaml"
    subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command.split()],
        cwd=folder,
        capture_output=True,
        timeout=WITHIN,
        check=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield lambda name: importlib.import_module(f"sharing_client{name}")


def test_a_generated_client_shares_a_protected_file_and_deletes_it(generated: Any, tmp_path: Path) -> None:
    client, files = generated(".client"), ".api.files"
    form = generated(".models.upload_form_body")
    with Server(tmp_path / "data") as server, contextlib.ExitStack() as opened:
        base = f"http://127.0.0.1:{server.port}"
        anyone = opened.enter_context(client.Client(base))
        content = generated(".types").File(b"0123456789", "digits.txt", "text/plain")
        sent = generated(f"{files}.upload_form").sync(
            client=anyone, body=form.UploadFormBody(file=content, password=PASSWORD, max_downloads=3)
        )
        assert (sent.original_name, sent.file_size, sent.password_protected) == ("digits.txt", 10, True)

        download = generated(f"{files}.download_file").sync_detailed
        assert download(sent.file_id, client=anyone).status_code == 401
        credentials = base64.b64encode(f":{PASSWORD}".encode()).decode()
        knowing = opened.enter_context(client.AuthenticatedClient(base, credentials, prefix="Basic"))
        assert download(sent.file_id, client=knowing).parsed.payload.read() == b"0123456789"
        assert generated(f"{files}.get_metadata").sync(sent.file_id, client=anyone).download_count == 1

        delete = generated(f"{files}.delete_file").sync_detailed
        assert delete(sent.file_id, client=anyone).status_code == 401
        owner = opened.enter_context(
            client.AuthenticatedClient(base, sent.delete_token, prefix="", auth_header_name="X-Delete-Token")
        )
        assert delete(sent.file_id, client=owner).status_code == 204
        assert download(sent.file_id, client=knowing).status_code == 404
