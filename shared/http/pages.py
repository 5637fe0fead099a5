"""Pages: fills in templates, and serves their assets under addresses that change with the content."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from shared.http import bundles
from shared.http.accent import sheet_name
from shared.http.headers import accepts_gzip
from shared.http.models import base_url
from shared.sharing import rfc3339

if TYPE_CHECKING:
    import jinja2

_ENDING = re.compile(r"\.([A-Za-z0-9]{1,4})\Z")
_BUNDLES = {".js": bundles.bundle_script, ".css": bundles.bundle_sheet}
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Pages:
    """The templates in one folder, and the style sheets, scripts and images in its folder `static`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def sources(self) -> dict[str, bytes]:
        """The files in `static`, by name, and the texts of the pages as a module for the scripts."""
        sources = {path.name: path.read_bytes() for path in sorted((self._folder / "static").iterdir())}
        sources["texts.js"] = f"export const all = {json.dumps(self._words, separators=(',', ':'))};".encode()
        return sources

    @functools.cache  # noqa: B019 (there is one such folder)
    def asset(self, name: str) -> bytes:
        """A source, and if it is a script or a style sheet, with all that it imports. Raises `KeyError`."""
        bundle = _BUNDLES.get(PurePath(name).suffix)
        return self.sources[name] if bundle is None else bundle(name, self._text).encode()

    @functools.cached_property
    def _text(self) -> dict[str, str]:
        texts = {name: source for name, source in self.sources.items() if PurePath(name).suffix in _BUNDLES}
        # Git can be set to check files out with other line breaks.
        return {name: source.decode().replace("\r\n", "\n") for name, source in texts.items()}

    @functools.cache  # noqa: B019 (there is one such folder)
    def compressed(self, name: str) -> bytes:
        return gzip.compress(self.asset(name), mtime=0)

    @functools.cached_property
    def version(self) -> str:
        """Changes with any source, and with how they are bundled.

        It is part of the path, so that scripts find others by relative paths.
        """
        digest = hashlib.sha256(Path(bundles.__file__).read_bytes())
        for name, content in self.sources.items():
            digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()[:16]

    @functools.cached_property
    def _words(self) -> dict[str, Any]:
        words: dict[str, Any] = json.loads((self._folder / "texts.json").read_bytes())
        return words

    @functools.cached_property
    def texts(self) -> Any:
        """All texts of the pages. Templates use `texts`, and scripts the module `texts.js`."""
        return self.texts_with(None)

    @functools.cache  # noqa: B019 (there is one such folder)
    def texts_with(self, own: str | None) -> Any:
        """All texts, some of which a page replaces by its own, as `words.js` does: those in the section `own`."""
        texts = dict(self._words)
        for name, section in (texts[own] if own is not None else {}).items():
            texts[name] = {**texts[name], **section}
        # As attributes: with a dictionary, `texts.copy` in a template would be its method.
        return json.loads(json.dumps(texts), object_hook=lambda names: SimpleNamespace(**names))

    def span_text(self, span: timedelta) -> str:
        """A time in whole units, as people say it: "7 days", or "36 hours", because "2 days" is less exact."""
        minutes = round(span.total_seconds() / 60)
        hours = round(minutes / 60)
        if minutes < 60:
            return fill(self.texts.spans.minute, count=max(minutes, 1))
        if hours < 48 and hours % 24:
            return fill(self.texts.spans.hour, count=hours)
        return fill(self.texts.spans.day, count=round(hours / 24))

    def render(
        self,
        request: Request,
        template: str,
        status: int = HTTPStatus.OK,
        headers: dict[str, str] | None = None,
        origin: str | None = None,
        own_texts: str | None = None,
        **values: Any,
    ) -> Response:
        """Render a page. `origin` is the same as for `page_headers`, and `own_texts` as for `texts_with`."""
        here = _here(request)
        prefix = here.path

        def static(name: str) -> str:
            return f"{prefix}/static/{self.version}/{name}"

        settings = request.app.state.service.settings
        values |= {"prefix": prefix, "static": static, "root": f"{here.scheme}://{here.netloc}"}
        values |= {"texts": self.texts_with(own_texts), "own_texts": own_texts}
        values |= {"site": settings.title or here.hostname or self.texts.common.site}
        values |= {"accent": settings.accent and sheet_name(settings.accent)}
        values |= {"fill": fill, "size_text": size_text}
        content = self._templates.get_template(template).render(values)
        return Response(content, status, {**page_headers(origin), **(headers or {})}, media_type="text/html")

    @functools.cached_property
    def _templates(self) -> jinja2.Environment:
        # Imported here, because the other functions start faster without it.
        import jinja2

        return jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folder),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
        )


def compressed(request: Request, page: Response) -> Response:
    """Compress a page if the browser accepts that. Not for pages with secrets, which their size could reveal."""
    page.headers["Vary"] = "Accept-Encoding"
    if accepts_gzip(request.headers):
        page.body = gzip.compress(bytes(page.body), mtime=0)
        page.headers["Content-Encoding"] = "gzip"
        page.headers["Content-Length"] = str(len(page.body))
    return page


def page_headers(origin: str | None = None) -> dict[str, str]:
    """Headers of all pages. `origin` is where large files are uploaded and downloaded, if not on this server."""
    own = "'self'" if origin is None else f"'self' {origin}"
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "connect-src": own,
        "img-src": "'self' data:",
        # Browsers also apply this to redirects after a form is sent.
        "form-action": own,
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        # With "no-referrer", browsers would send the form with "Origin: null", and the server would refuse it as
        # cross-site.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def path_prefix(request: Request) -> str:
    """The path that precedes all others, as the browser sees it; usually empty."""
    return _here(request).path


def _here(request: Request) -> SplitResult:
    try:
        return urlsplit(base_url(request))
    except (KeyError, ValueError):
        # The Host is invalid. The page that refuses it still needs its style sheets.
        return urlsplit(request.scope.get("root_path", ""))


def fill(text: Any, **values: object) -> str:
    """Fill in each `{place}` of a text. If it has several forms, `count` selects one."""
    form: str = text if isinstance(text, str) else text.one if values["count"] == 1 else text.other
    return form.format(**values)


def kind_text(name: str) -> str | None:
    """The kind of file, from the extension of its name if that is short: `PDF`."""
    match = _ENDING.search(name)
    return match and match[1].upper()


def size_text(count: int) -> str:
    """A size in decimal units, as browsers and file managers show it."""
    if count == 1:
        return "1 byte"
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    number = f"{value:.0f}" if value >= 99.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {unit}"


def moment_texts(moment: datetime | None) -> dict[str, str | None] | None:
    """A time for programs and for people, in UTC."""
    if moment is None:
        return None
    return {"stamp": rfc3339(moment), "text": f"{moment.day} {moment:%B %Y, %H:%M} UTC"}
