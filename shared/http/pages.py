"""Pages: templates filled in, and what they load, under addresses that name its content."""

from __future__ import annotations

import functools
import hashlib
import json
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from shared.http.models import base_url
from shared.sharing import rfc3339

if TYPE_CHECKING:
    import jinja2

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Pages:
    """The templates in one folder and, in its folder `static`, the style sheets, scripts and images that they load."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def assets(self) -> dict[str, bytes]:
        """What `static` holds, by name; and the texts of the pages as a module for the scripts."""
        assets = {path.name: path.read_bytes() for path in sorted((self._folder / "static").iterdir())}
        assets["texts.js"] = b"export default " + json.dumps(self.texts, separators=(",", ":")).encode()
        return assets

    @functools.cached_property
    def version(self) -> str:
        """Changes with any asset. In the path, so that a script finds the modules that it imports beside it."""
        digest = hashlib.sha256()
        for name, content in self.assets.items():
            digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()[:16]

    @functools.cached_property
    def texts(self) -> dict[str, Any]:
        """All that the pages say: to the templates `texts`, to the scripts the module `texts.js`."""
        texts: dict[str, Any] = json.loads((self._folder / "texts.json").read_bytes())
        return texts

    def render(
        self,
        request: Request,
        template: str,
        status: int = HTTPStatus.OK,
        headers: dict[str, str] | None = None,
        origin: str | None = None,
        **values: Any,
    ) -> Response:
        """A page. `origin` is that of `page_headers`."""
        here = _here(request)
        prefix = here.path

        def static(name: str) -> str:
            return f"{prefix}/static/{self.version}/{name}"

        values |= {"prefix": prefix, "static": static, "texts": self.texts, "site": here.netloc}
        content = self._templates.get_template(template).render(values)
        return Response(content, status, {**page_headers(origin), **(headers or {})}, media_type="text/html")

    @functools.cached_property
    def _templates(self) -> jinja2.Environment:
        # Only here, since the other functions start faster without it.
        import jinja2

        return jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folder),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
        )


def page_headers(origin: str | None = None) -> dict[str, str]:
    """Headers of all pages. `origin` is where large files are sent and fetched, if not here."""
    own = "'self'" if origin is None else f"'self' {origin}"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": own,
        "img-src": "'self' data:",
        # Browsers hold the redirects that a form leads to against this, too.
        "form-action": own,
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        # With "no-referrer" the form would be sent with "Origin: null", and refused as another site's.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def path_prefix(request: Request) -> str:
    """The path that everything is under from where the browser stands; usually empty."""
    return _here(request).path


def _here(request: Request) -> SplitResult:
    try:
        return urlsplit(base_url(request))
    except (KeyError, ValueError):
        # A Host that is refused by a page, which loads its style sheets like any other.
        return urlsplit(request.scope.get("root_path", ""))


def size_text(count: int) -> str:
    """A number of bytes in decimal units, as browsers and file managers show it."""
    if count == 1:
        return "1 byte"
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    number = f"{value:.0f}" if value >= 99.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {unit}"


def moment_texts(moment: datetime | None) -> dict[str, str] | None:
    """A time for programs and for people, in UTC."""
    stamp = rfc3339(moment)
    if moment is None or stamp is None:
        return None
    return {"stamp": stamp, "text": f"{moment.day} {moment:%B %Y, %H:%M} UTC"}
