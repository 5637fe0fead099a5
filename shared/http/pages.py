"""Pages: templates filled in, and what they load, under addresses that name its content."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from shared.http.accent import sheet_name
from shared.http.models import base_url
from shared.sharing import rfc3339

if TYPE_CHECKING:
    import jinja2

_IMPORT = re.compile(r' from "\./([a-z-]+\.js)"')
_ENDING = re.compile(r"\.([A-Za-z0-9]{1,4})\Z")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Pages:
    """The templates in one folder and, in its folder `static`, the style sheets, scripts and images that they load."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def assets(self) -> dict[str, bytes]:
        """What `static` holds, by name; and the texts of the pages as a module for the scripts."""
        assets = {path.name: path.read_bytes() for path in sorted((self._folder / "static").iterdir())}
        texts = json.loads((self._folder / "texts.json").read_bytes())
        assets["texts.js"] = b"export default " + json.dumps(texts, separators=(",", ":")).encode()
        return assets

    @functools.cache  # noqa: B019 (there is one such folder)
    def compressed(self, name: str) -> bytes:
        return gzip.compress(self.assets[name], mtime=0)

    @functools.cached_property
    def version(self) -> str:
        """Changes with any asset. In the path, so that a script finds the modules that it imports beside it."""
        digest = hashlib.sha256()
        for name, content in self.assets.items():
            digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()[:16]

    @functools.cached_property
    def texts(self) -> Any:
        """All that the pages say: to the templates `texts`, to the scripts the module `texts.js`."""
        # With attributes alone: to a template, `texts.copy` would be the method of a dictionary.
        return json.loads(
            (self._folder / "texts.json").read_bytes(), object_hook=lambda names: SimpleNamespace(**names)
        )

    def span_text(self, span: timedelta) -> str:
        """A time as people say it, in whole units: "7 days", or "36 hours", which says more than "2 days"."""
        minutes = round(span.total_seconds() / 60)
        hours = round(minutes / 60)
        if minutes < 60:
            return fill(self.texts.spans.minute, count=max(minutes, 1))
        if hours < 48 and hours % 24:
            return fill(self.texts.spans.hour, count=hours)
        return fill(self.texts.spans.day, count=round(hours / 24))

    def modules(self, name: str) -> list[str]:
        """The modules that a script needs, for the browser to fetch at once and not one after the other."""
        seen, waiting = {name}, [name]
        while waiting:
            imports = set(_IMPORT.findall(self.assets[waiting.pop()].decode())) - seen
            seen |= imports
            waiting += imports
        return sorted(seen - {name})

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

        settings = request.app.state.service.settings
        values |= {"prefix": prefix, "static": static, "texts": self.texts, "root": f"{here.scheme}://{here.netloc}"}
        values |= {"site": settings.title or here.hostname or self.texts.common.site}
        values |= {"accent": settings.accent and sheet_name(settings.accent)}
        values |= {"modules": self.modules, "fill": fill, "size_text": size_text}
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


def fill(text: Any, **values: object) -> str:
    """A text with each `{place}` filled in. Of several forms, `count` decides."""
    form: str = text if isinstance(text, str) else text.one if values["count"] == 1 else text.other
    return form.format(**values)


def kind_text(name: str) -> str | None:
    """What kind of file it is, by a short ending of its name: `PDF`."""
    match = _ENDING.search(name)
    return match and match[1].upper()


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
