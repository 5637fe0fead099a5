"""Sends requests to the server. Limits the size of answers, explains refusals, and retries if that may help."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import httpx

from share import __version__
from share.answers import ArchiveEntry, RemoteFile, parse, read_entries, read_list
from share.faults import Exit, Fault, Missing, Stopped
from share.proxies import Transport, certificate_problem
from share.text import human_size, option_limit, printable

ATTEMPTS = 7
MAX_ANSWER = 4 * 1024 * 1024  # bytes; a list of 1,000 files has less than 2 MiB
MAX_ENTRIES = 64 * 1024 * 1024  # bytes; an archive has at most 100,000 entries, and a directory of 16 MiB
MAX_REFUSAL = 64 * 1024  # bytes
MAX_DETAIL = 1000  # characters
CHUNK = 64 * 1024

WAITS = httpx.Timeout(60.0, connect=10.0)  # seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer from the API."""

    headers: httpx.Headers
    body: bytes

    def json(self) -> object:
        """Raises `Fault`."""
        return parse(self.body)


class Busy(Fault):
    """The server may accept the request later. `retry_after` is in seconds, at most a minute."""

    def __init__(self, message: str, retry_after: str) -> None:
        super().__init__(Exit.UNAVAILABLE, message)
        digits = retry_after.isascii() and retry_after.isdigit()
        self.retry_after = min(float(retry_after), 60.0) if digits else 0.0


def require_uncompressed(response: httpx.Response) -> None:
    """Raises `Fault` for a compressed body, which could grow without limit when it is unpacked."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Fault(Exit.REFUSED, "The server compressed its answer although the client asked it not to.")


def read_bounded(response: httpx.Response, most: int) -> bytes:
    """The body of an answer. Raises `Fault`, also if the body has more than `most` bytes."""
    require_uncompressed(response)
    body = bytearray()
    for chunk in response.iter_raw(CHUNK):
        body += chunk
        if len(body) > most:
            raise Fault(Exit.REFUSED, f"The server's answer is longer than {human_size(most)}.")
    return bytes(body)


def problem_of(response: httpx.Response) -> Fault:
    """The error that a refusal describes. Reads its body."""
    status = response.status_code
    message, kind = f"The server answered {status} {response.reason_phrase}.", ""
    try:
        problem = parse(read_bounded(response, MAX_REFUSAL))
    except Fault:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        message, kind = problem["detail"], str(problem.get("type"))
        errors = problem.get("errors")
        for item in errors if isinstance(errors, list) else []:
            if isinstance(item, dict):
                field, reason = str(item.get("field")), str(item.get("reason"))
                others = message if reason in message else f"{message} ({field} {reason})"
                message = option_limit(field, reason) or others
    message = printable(message[:MAX_DETAIL])
    match status:
        case 404 | 405:
            return Missing(Exit.NOT_FOUND, message)
        case 410:
            return Fault(Exit.GONE, message)
        case 401 if kind.endswith("password-required"):
            sent = response.request.headers.get("authorization", "").startswith("Basic ")
            return Fault(Exit.DENIED, "Wrong password." if sent else "This file needs a password.")
        case 401 | 403:
            return Fault(Exit.DENIED, message)
        case 407:
            return Fault(
                Exit.REFUSED,
                "The proxy requires a password. Set it in the proxy variable: http://user:password@host:port.",
            )
        case 400 if kind.endswith("digest-mismatch"):
            return Fault(Exit.DAMAGED, message)
        case 408 | 429 | 500 | 502 | 503 | 504:
            return Busy(message, response.headers.get("retry-after", ""))
        case _ if response.has_redirect_location:
            target = printable(str(location_of(response))[:MAX_DETAIL])
            return Fault(Exit.REFUSED, f"The server redirects to {target}. If you trust that address, use it instead.")
        case _:
            return Fault(Exit.REFUSED, message)


def check(response: httpx.Response) -> None:
    """Raises `Fault` for an answer that is not 2xx."""
    if not response.is_success:
        raise problem_of(response)


def is_temporary(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, httpx.TransportError):
        return certificate_problem(error) is None
    return isinstance(error, Fault) and error.code is Exit.UNAVAILABLE


class Patience:
    """Waits between attempts: longer each time, with jitter, and at least as long as the server asks.

    `reconnect` is called before each wait.
    """

    def __init__(self, reconnect: Callable[[], None], stop: threading.Event | None = None) -> None:
        self._reconnect = reconnect
        self._stop = stop or threading.Event()
        self._attempts = 0

    def renew(self) -> None:
        self._attempts = 0

    def wait_after(self, error: Exception) -> None:
        """Wait before the next attempt. Raises the error again if another attempt would not help."""
        if self._stop.is_set():
            # The connections were closed for this reason.
            raise Stopped
        self._attempts += 1
        if not is_temporary(error) or self._attempts >= ATTEMPTS:
            raise error
        self._reconnect()
        minimum = error.retry_after if isinstance(error, Busy) else 0.0
        pause = max(minimum, min(0.25 * 2**self._attempts, 15.0)) * random.uniform(1.0, 1.25)
        if self._stop.wait(pause):
            raise Stopped


class Server:
    """The API at one address, and headers that no other host gets. `warn` shows a sentence to the user."""

    def __init__(self, address: str, credentials: Mapping[str, str], *, warn: Callable[[str], None]) -> None:
        self.address = address
        # Whose server this is does not change when it redirects to https.
        self.requested_address = address
        self.credentials = dict(credentials)
        self._reached = False
        self.warn = warn
        self.http = httpx.Client(
            transport=Transport(),
            timeout=WAITS,
            headers={"User-Agent": f"share/{__version__}"},
            trust_env=False,
            # Check the location before httpx, which would report an invalid one as a network error.
            event_hooks={"response": [require_location]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        repeatable: bool = True,
        most: int = MAX_ANSWER,
        **arguments: Any,
    ) -> Reply:
        """Send a request, and retry it if there is `patience`. Raises `Fault` and `httpx.TransportError`."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **self.credentials, **(headers or {})}
        # A password need not be ASCII.
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        while True:
            try:
                with self.http.stream(method, f"{self.address}{path}", headers=sent, **arguments) as response:
                    self._reached = True
                    if repeatable and self._moved_to_https(response):
                        continue
                    check(response)
                    return Reply(response.headers, read_bounded(response, most))
            except (Fault, httpx.TransportError) as error:
                # A server that has never answered is more likely mistyped than restarting.
                if patience is None or not (self._reached or isinstance(error, Fault)):
                    raise
                patience.wait_after(error)

    def put_part(self, url: str, **arguments: Any) -> httpx.Headers:
        """Send bytes to an address that the server gave. The address is the credential: no token goes there."""
        if not is_safe_step(httpx.URL(self.address), url):
            raise Fault(Exit.REFUSED, "The server gave an unsafe address for a part.")
        with self.http.stream("PUT", url, **arguments) as response:
            check(response)
            read_bounded(response, MAX_REFUSAL)
            return response.headers

    def metadata(self, file_id: str) -> RemoteFile:
        return RemoteFile(file_id, self.request("GET", f"/file/metadata/{file_id}").json())

    def entries(self, file_id: str) -> list[ArchiveEntry]:
        """The entries of an archive. Raises `Fault`."""
        return read_entries(self.request("GET", f"/file/entries/{file_id}", most=MAX_ENTRIES).json())

    def files(self) -> Iterator[RemoteFile]:
        """All files, page by page. Raises `Fault`."""
        query, last = "", ""
        while True:
            reply = self.request("GET", f"/file/metadata{query}")
            page = read_list(reply.json())
            yield from page
            if 'rel="next"' not in reply.headers.get("link", ""):
                return
            # Nothing else from the server's link to the next page is used. End a list that does not advance.
            if not page or page[-1].file_id <= last:
                raise Fault(Exit.REFUSED, "The server's list of files never ends.")
            last = page[-1].file_id
            query = f"?after={last}"

    def _moved_to_https(self, response: httpx.Response) -> bool:
        """Whether the server only redirects http to https. If so, later requests use https.

        The host is the same, so it can get the same secrets. Any other redirect is left to the user.
        """
        if not response.has_redirect_location or response.url.scheme != "http":
            return False
        target = location_of(response)
        if target.scheme != "https" or target.host != response.url.host or target.raw_path != response.url.raw_path:
            return False
        base = httpx.URL(self.address)
        address = str(base.copy_with(scheme="https", port=target.port)).rstrip("/")
        self.warn(f"{self.address} redirects to {address}. Use that address: http is not encrypted.")
        self.address = address
        return True


def location_of(response: httpx.Response) -> httpx.URL:
    """The target of a redirect. Raises `Fault`."""
    try:
        return response.url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        raise Fault(Exit.REFUSED, "The server redirects to an invalid address.") from None


def require_location(response: httpx.Response) -> None:
    """Raises `Fault` for a redirect to an invalid address."""
    if response.has_redirect_location:
        location_of(response)


def is_safe_step(base: httpx.URL, url: httpx.URL | str) -> bool:
    """Whether a server at `base` can redirect us to `url`: by http or https, and never from https to http."""
    try:
        scheme = httpx.URL(url).scheme
    except httpx.InvalidURL:
        return False
    return scheme == "https" or (scheme == "http" and base.scheme == "http")
