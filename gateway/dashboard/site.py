"""The frame that every page is put into: templates, what they all may use, and errors as pages.

A page is a module with a function `routes(site)`; see `gateway.dashboard.routes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from gateway import __version__
from gateway.dashboard import figures, text
from gateway.dashboard.guard import Guarded, Handler, visitor
from gateway.dashboard.services import DashboardServices
from gateway.dashboard.session import Sessions
from gateway.dashboard.static_files import StaticFiles
from gateway.errors import GatewayError, MethodNotAllowed

NAVIGATION = (
    ("logs", "/ui/logs", "Logs"),
    ("inbox", "/ui/inbox", "Inbox"),
    ("insights", "/ui/insights", "Insights"),
    ("status", "/ui/status", "Status"),
)
"""Name, address and words of what stands in every page's header."""

_TITLES = {
    400: "This cannot be done",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
    413: "Too large",
    503: "Not available right now",
}


class Site:
    """Templates are escaped throughout, and one that uses a name it was not given fails."""

    def __init__(self, services: DashboardServices, secret: bytes) -> None:
        self.services = services
        self.static = _static_files()
        self.sessions = Sessions(secret, services.keys.hashes if services.keys is not None else {})
        self.templates = _templates()
        self.compiling: asyncio.Task[None] | None = None

    def compile(self) -> None:
        """Make all templates ready, so that no page is slow the first time it is looked at."""
        for name in self.templates.list_templates():
            self.templates.get_template(name)

    @property
    def needs_login(self) -> bool:
        return self.services.keys is not None

    def page(
        self, get: Handler | None = None, post: Handler | None = None, *, is_open: bool = False
    ) -> ASGIApp:
        """The endpoint of a page, for a Route. `post` gets a form whose token was checked."""
        handlers = {"GET": get, "POST": post}
        return Guarded(
            self, {name: handler for name, handler in handlers.items() if handler}, is_open=is_open
        )

    def render(
        self, request: Request, template: str, context: Mapping[str, Any], *, status: int = 200
    ) -> HTMLResponse:
        """A page. `context` needs a `title` and, where it is in the header, the `active` page's name."""
        return HTMLResponse(self.fragment(request, template, context), status)

    def fragment(self, request: Request, template: str, context: Mapping[str, Any]) -> str:
        """The same as text, for parts of pages that are sent later."""
        return self.templates.get_template(template).render(self._context(request, context))

    def macros(self, request: Request, template: str) -> Any:
        """The macros of a template, as functions that return HTML."""
        return self.templates.get_template(template).make_module(self._context(request, {}))

    def _context(self, request: Request, context: Mapping[str, Any]) -> dict[str, Any]:
        looking = visitor(request)
        return {
            "active": None,
            "narrow": False,
            "request_path": request.scope["path"],
            "csrf": looking.csrf,
            "key_id": looking.key_id,
            "logged_in": looking.logged_in,
            "needs_login": self.needs_login,
            "base_url": str(request.base_url).rstrip("/"),
            **context,
        }

    def error(self, request: Request, error: GatewayError) -> Response:
        title = _TITLES.get(error.status, "Something went wrong")
        context = {"title": title, "message": error.message, "status": error.status}
        response = self.render(request, "error.html", context, status=error.status)
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = ", ".join(error.allow)
        return response


@cache
def _static_files() -> StaticFiles:
    return StaticFiles()


@cache
def _templates() -> Environment:
    """Compiled once in a process: they are code, alike for every site."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.globals.update(
        static=_static_files().url,
        navigation=NAVIGATION,
        version=__version__,
        trace_url=trace_url,
        url=url,
    )
    templates.filters.update(
        visible=text.visible,
        one_line=text.one_line,
        number=figures.number,
        compact=figures.compact,
        duration=figures.duration,
        cost=figures.cost,
        size=figures.size,
        mean=figures.mean,
        iso=figures.iso,
        clock=figures.clock,
    )
    return templates


def trace_url(trace_id: str, fragment: str = "") -> str:
    return f"/ui/trace?id={quote(trace_id, safe='')}" + (f"#{fragment}" if fragment else "")


def url(path: str, /, **parameters: Any) -> str:
    """`path` with those of the parameters that are not None or empty, in their order."""
    pairs = [
        f"{quote(name, safe='[]')}={quote(str(value), safe='')}"
        for name, value in parameters.items()
        if value is not None and value != ""
    ]
    return path + ("?" + "&".join(pairs) if pairs else "")


def see_other(location: str) -> Response:
    """What a form that was carried out answers: a reload then does nothing twice."""
    return RedirectResponse(location, 303)
