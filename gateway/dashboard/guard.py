"""What stands before every page: the login, the check of forms, security headers and errors as pages.

Pages behind it may trust `visitor(request)` and, for a POST, `form(request)`. No page's content is here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.dashboard.posted import Form, read_form
from gateway.dashboard.session import SESSION_COOKIE, VISIT_COOKIE, Visitor, new_visit
from gateway.errors import ClientError, GatewayError, MethodNotAllowed
from gateway.records import DEFAULT_KEY_ID

if TYPE_CHECKING:
    from gateway.dashboard.site import Site

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_VISIT_S = 30 * 86_400


class BadToken(ClientError):
    """A form came without its token: from another site, or from a page that is too old."""

    status = 403
    code = "bad_form_token"


def visitor(request: Request) -> Visitor:
    return cast("Visitor", request.scope["gateway.visitor"])


def form(request: Request) -> Form:
    """The posted form, its token checked."""
    return cast("Form", request.scope["gateway.form"])


class Guarded:
    """An ASGI endpoint: `handlers` maps methods to functions. HEAD is GET without a body.

    With `is_open` it needs no login; its forms need their token all the same.
    """

    def __init__(self, site: Site, handlers: Mapping[str, Handler], *, is_open: bool = False) -> None:
        self._site = site
        self._handlers = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        if request.method == "HEAD":
            send = _without_body(send)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        looking = self._visitor(request)
        request.scope["gateway.visitor"] = looking
        try:
            response = await self._handle(request, looking)
        except GatewayError as error:
            response = self._site.error(request, error)
        except Exception:
            logger.exception("dashboard: %s %s failed", request.method, request.scope["path"])
            response = self._site.error(request, GatewayError("Something went wrong on this page"))
        if looking.visit is not None:
            response.set_cookie(
                VISIT_COOKIE, looking.visit, _VISIT_S, path="/ui", secure=is_tls(request), httponly=True,
                samesite="lax",
            )  # fmt: skip
        return response

    async def _handle(self, request: Request, looking: Visitor) -> Response:
        if request.method not in self._handlers:
            allow = tuple(sorted(self._handlers))
            raise MethodNotAllowed(f"{request.method} is not a method of this page", allow=allow)
        if not self._is_open and self._site.needs_login and not looking.logged_in:
            return _to_login(request)
        if request.method not in ("GET", "HEAD"):
            await self._check_form(request)
        return await self._handlers[request.method](request)

    def _visitor(self, request: Request) -> Visitor:
        sessions = self._site.sessions
        cookie = request.cookies.get(SESSION_COOKIE, "") if self._site.needs_login else ""
        key_id = sessions.key_id(cookie, self._site.services.now_ms()) if cookie else None
        if key_id is not None:
            return Visitor(key_id, sessions.csrf(cookie), logged_in=True)
        known = request.cookies.get(VISIT_COOKIE, "")
        fresh = None if known else new_visit()
        return Visitor(DEFAULT_KEY_ID, sessions.csrf(known or fresh or ""), fresh)

    async def _check_form(self, request: Request) -> None:
        services = self._site.services
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise BadToken("this form came from another site; nothing was done")
        sent = await read_form(
            request,
            max_bytes=services.max_form_bytes,
            timeout_s=services.settings.server.body_timeout_s,
        )
        sessions, looking = self._site.sessions, visitor(request)
        # Who has a session is known by it alone: a visit's cookie may have been planted.
        names = [SESSION_COOKIE] if looking.logged_in else [VISIT_COOKIE]
        if self._is_open:
            names = [SESSION_COOKIE, VISIT_COOKIE]
        known = [request.cookies.get(name, "") for name in names]
        if not any(sessions.is_csrf(sent.get("csrf"), cookie) for cookie in known):
            raise BadToken("this page is too old to send its form; reload it and try again")
        request.scope["gateway.form"] = sent


def is_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to the proxy before us. One that lies only hurts itself."""
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return request.url.scheme == "https" or forwarded == "https"


def secured(send: Send) -> Send:
    """`send` that adds the security headers to every answer, and keeps pages out of caches."""

    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            headers += [field for field in SECURITY_HEADERS if field[0] not in names]
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await send(message)

    return send_secured


def _to_login(request: Request) -> Response:
    if request.method not in ("GET", "HEAD"):
        return RedirectResponse("/ui/login", 303)
    query = request.url.query
    wanted = request.scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/ui/login?next={quote(wanted, safe='')}", 303)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        is_body: Any = message["type"] == "http.response.body"
        await send({**message, "body": b""} if is_body else message)

    return send_head
