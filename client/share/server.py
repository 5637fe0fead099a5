"""Speaking to the server: requests, refusals in words, and another attempt where it may help."""

from __future__ import annotations

import random
import threading
from typing import Any, Self

import httpx

from share.faults import Exit, Fault, Missing, Stopped
from share.text import printable

ATTEMPTS = 7

WAITS = httpx.Timeout(60.0, connect=10.0)  # seconds


def problem_of(response: httpx.Response) -> Fault:
    """What a refusal says, in words. The body must have been read."""
    status = response.status_code
    try:
        problem = response.json()
        detail = str(problem["detail"])
        reasons = [f"{item['field']} {item['reason']}" for item in problem.get("errors", [])]
        message = " ".join([detail, *(f"({reason})" for reason in reasons if reason not in detail)])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"The server answered {status} {response.reason_phrase}."
    message = printable(message)
    match status:
        case 404 | 405:
            return Missing(Exit.NOT_FOUND, message)
        case 410:
            return Fault(Exit.GONE, message)
        case 401 | 403:
            return Fault(Exit.DENIED, message)
        case 400 if "digest-mismatch" in response.text:
            return Fault(Exit.DAMAGED, message)
        case 408 | 429 | 500 | 502 | 503 | 504:
            return Fault(Exit.UNAVAILABLE, message)
        case _:
            return Fault(Exit.REFUSED, message)


def is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed a little later."""
    return isinstance(error, httpx.TransportError) or (isinstance(error, Fault) and error.code is Exit.UNAVAILABLE)


class Patience:
    """Waits between attempts: longer each time, a little random, as long as the server asks for."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._attempts = 0

    def renew(self) -> None:
        self._attempts = 0

    def wait_after(self, error: Exception) -> None:
        """Raises the error again if another attempt would not help."""
        self._attempts += 1
        if not is_passing(error) or self._attempts >= ATTEMPTS:
            raise error
        asked = error.retry_after if isinstance(error, Busy) else 0.0
        pause = max(asked, min(0.25 * 2**self._attempts, 15.0)) * random.uniform(1.0, 1.25)
        if self._stop.wait(pause):
            raise Stopped


class Busy(Fault):
    """The server may take the request later; `retry_after` in seconds, at most a minute."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(Exit.UNAVAILABLE, str(problem_of(response)))
        asked = response.headers.get("retry-after", "")
        self.retry_after = min(float(asked), 60.0) if asked.isascii() and asked.isdigit() else 0.0


def check(response: httpx.Response) -> httpx.Response:
    """The response if it is 2xx; else raises `Fault`."""
    if response.is_success:
        return response
    response.read()
    fault = problem_of(response)
    raise Busy(response) if fault.code is Exit.UNAVAILABLE else fault


class Server:
    """The API at one address, with one token."""

    def __init__(self, address: str, token: str | None, password: str | None = None) -> None:
        self.address = address
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {header_value('token', token)}"
        self._password = password
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.Client(timeout=WAITS, limits=limits, headers={"User-Agent": "share"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        with_password: bool = False,
        patience: Patience | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        """One request, or with patience as many as it takes. Raises `Fault` and `httpx.TransportError`."""
        headers = {**self._headers, **(headers or {})}
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        if with_password and self._password is not None:
            sent[b"X-Password"] = self._password.encode()
        while True:
            try:
                return check(self.http.request(method, f"{self.address}{path}", headers=sent, **arguments))
            except (Fault, httpx.TransportError) as error:
                if patience is None:
                    raise
                patience.wait_after(error)

    def metadata(self, file_id: str) -> dict[str, Any]:
        return json_object(self.request("GET", f"/file/metadata/{file_id}"))


def json_object(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Fault(Exit.REFUSED, f"What answers at {response.url.host} is not a Simple File Sharing server.")
    return value


def header_value(name: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise Fault(Exit.USAGE, f"The {name} holds characters that cannot be sent.")
    return value
