"""The readable page at /docs, made from the OpenAPI document; it needs no outside host."""

import re
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from litestar import Request, Response, get
from markupsafe import Markup, escape

from nocall.api import document

_CODE = re.compile(r"`([^`]+)`")
_FOLDER = Path(__file__).parent / "pages"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["pretty"] = lambda value: msgspec.json.format(
    msgspec.json.encode(value), indent=2
).decode()
_TEMPLATES.filters["prose"] = lambda text: Markup(  # noqa: S704 - escaped first
    _CODE.sub(r"<code>\1</code>", str(escape(text)))
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@get("/docs", **document.text_route(None, "This page", "text/html"))
async def docs(request: Request[Any, Any, Any]) -> Response[str]:
    """The document for people."""
    page = _TEMPLATES.get_template("docs.html").render(document=request.app.state.document)
    return Response(page, media_type="text/html", headers=_HEADERS)


@get("/docs/style.css", **document.text_route(None, "The look of this page", "text/css"))
async def style(request: Request[Any, Any, Any]) -> Response[bytes]:
    del request
    return Response((_FOLDER / "docs.css").read_bytes(), media_type="text/css", headers=_HEADERS)


ROUTES = (docs, style)
