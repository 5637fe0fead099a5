"""moto as a server that handles one request at a time: `python -m local.moto_server PORT`. It prints its port.

moto compares first and then writes, in a thread for each connection. So two writers with the same condition could both
succeed, which never happens on S3, and a read during a write could fail.

A multipart upload that has ended is `NoSuchUpload` here too, as on S3; moto answers 500 to its parts.
"""

from __future__ import annotations

import functools
import io
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NoReturn

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3 import models
from moto.s3.exceptions import NoSuchUpload
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

HOST = "127.0.0.1"


class Uploads(models.MultipartDict):
    """The multipart uploads of a bucket, by ID."""

    def __missing__(self, upload_id: str) -> NoReturn:
        raise NoSuchUpload(upload_id=upload_id)


class Dispatcher(DomainDispatcherApplication):
    """Looks up each host once: moto lists the folders of all its services to do so, which takes half of a request."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self._backend = functools.cache(super().get_backend_for_host)

    def get_backend_for_host(self, host: str | None) -> Any:
        return self._backend(host)


class OneAtATime:
    """A WSGI application that handles requests one after another, each after its body has arrived."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # A body without a length is in chunks.
        length = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self._turn:
            return list(self._app(environ, start_response))


class RequestHandler(MotoRequestHandler):
    """Keeps connections open between requests, as S3 does.

    werkzeug opens a connection, and so a thread, for each request: a quarter of the time of both moto and its client.
    """

    protocol_version = "HTTP/1.1"
    # Otherwise the body of an answer waits until the client has acknowledged the headers.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        try:
            response = Response.from_app(self.server.app, environ)
        except Exception:
            traceback.print_exc()
            response = Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        body = response.get_data()
        self.send_response(response.status_code)
        for name, value in response.get_wsgi_headers(environ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave out the line for each request, which nobody reads."""


def main() -> None:
    models.MultipartDict = Uploads  # type: ignore[misc]
    app = OneAtATime(Dispatcher())
    server = make_server(HOST, int(sys.argv[1]), app, threaded=True, request_handler=RequestHandler)
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
