"""Proxies from environment variables, read in the same way as curl and others do.

httpx reads the same variables, but fails with a traceback on some values of NO_PROXY and on unknown kinds of proxies,
and does not match networks.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import ssl
import urllib.request

import httpx

from share.faults import Exit, Fault
from share.text import reason_of

_BRACKETS = re.compile(r"\[([^\]]*)\](?:/(?P<bits>[0-9]+))?(?::([0-9]+))?")


class Transport(httpx.BaseTransport):
    """Sends each request directly or through its proxy."""

    def __init__(self) -> None:
        self._proxies = urllib.request.getproxies()
        self._transports: dict[tuple[str | None, bool], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        variable = self._variable(request.url)
        try:
            return self._transport(variable, request.url.scheme == "https").handle_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if variable is None or certificate_problem(error):
                raise
            raise httpx.ProxyError(f"{reason_of(error)} (through the proxy in {variable.upper()}_PROXY)") from error

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()

    def _variable(self, url: httpx.URL) -> str | None:
        """The kind of proxy to use, `http`, `https` or `all`; None for no proxy."""
        if bypasses(url, self._proxies.get("no", "")):
            return None
        return next((kind for kind in (url.scheme, "all") if self._proxies.get(kind)), None)

    def _transport(self, variable: str | None, secure: bool) -> httpx.HTTPTransport:
        if (variable, secure) not in self._transports:
            # Several threads may get here at once; all use the first transport.
            self._transports.setdefault((variable, secure), self._make(variable, secure))
        return self._transports[variable, secure]

    def _make(self, variable: str | None, secure: bool) -> httpx.HTTPTransport:
        # Without HTTPS, certificates are not needed, and take longer to load than most requests take.
        context = self._certificates if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx.Limits(max_connections=None)
        if variable is None:
            return httpx.HTTPTransport(verify=context, limits=limits)
        address = self._proxies[variable]
        address = address if "://" in address else f"http://{address}"
        try:
            proxy = httpx.Proxy(address)
            if not proxy.url.host:
                raise ValueError(proxy.url)
            return httpx.HTTPTransport(verify=context, limits=limits, proxy=proxy)
        except (ValueError, httpx.InvalidURL, ImportError):
            # The address is not shown, because it may contain a password.
            raise Fault(
                Exit.USAGE,
                f"{variable.upper()}_PROXY is not a valid proxy address, such as http://proxy.example.org:3128 "
                "or socks5://proxy.example.org:1080.",
            ) from None

    @functools.cached_property
    def _certificates(self) -> ssl.SSLContext:
        """Those of SSL_CERT_FILE or SSL_CERT_DIR, otherwise those that came with the client."""
        try:
            return httpx.create_ssl_context()
        except OSError as error:
            raise Fault(Exit.USAGE, f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {reason_of(error)}.") from error


def bypasses(url: httpx.URL, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host.

    Each entry is a name (including its subdomains), an address with or without brackets, a network, or `*`, with an
    optional port.
    """
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return any(_names(entry, url.host.lower().rstrip("."), port) for entry in re.split(r"[\s,]+", no_proxy.lower()))


def _names(entry: str, host: str, port: int | None) -> bool:
    name, wanted = _without_port(entry.rpartition("://")[2])
    if not name or (wanted and int(wanted) != port):
        return False
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        name = name.lstrip("*").strip(".")
        return entry == "*" or (name != "" and (host == name or host.endswith(f".{name}")))
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def _without_port(entry: str) -> tuple[str, str]:
    brackets = _BRACKETS.fullmatch(entry)
    if brackets is not None:
        return (f"{brackets[1]}/{brackets['bits']}" if brackets["bits"] else brackets[1]), brackets[3] or ""
    name, colon, port = entry.rpartition(":")
    if colon and ":" not in name and port.isascii() and port.isdigit():
        return name, port[:6]
    return entry, ""


def certificate_problem(error: BaseException) -> str | None:
    """Why the server's certificate is not trusted; None if the error is another one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None
