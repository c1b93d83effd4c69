"""Logging in with a key and out again, and the page of keyboard shortcuts, which needs no login."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.auth.keys import hash_of
from gateway.dashboard.guard import form, is_tls, visitor
from gateway.dashboard.session import SESSION_COOKIE, SESSION_S, local_path
from gateway.dashboard.site import Site, see_other


def routes(site: Site) -> list[BaseRoute]:
    pages = LoginPages(site)
    return [
        Route("/ui", site.page(_home, is_open=True)),
        Route("/ui/", site.page(_home, is_open=True)),
        Route("/ui/login", site.page(pages.show, pages.log_in, is_open=True)),
        Route("/ui/logout", site.page(None, pages.log_out, is_open=True)),
        Route("/ui/keys", site.page(pages.shortcuts, is_open=True)),
    ]


async def _home(_: Request) -> Response:
    return RedirectResponse("/ui/logs", 307)


class LoginPages:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def show(self, request: Request) -> Response:
        wanted = local_path(request.query_params.get("next", ""))
        if not self._site.needs_login or visitor(request).logged_in:
            return see_other(wanted)
        return self._page(request, wanted)

    async def log_in(self, request: Request) -> Response:
        sent = form(request)
        wanted = local_path(sent.get("next"))
        key_hash = hash_of(sent.get("key").strip().encode())
        keys = self._site.services.keys
        if keys is None:
            return see_other(wanted)
        if key_hash not in keys.hashes:
            return self._page(request, wanted, problem="This is not one of the gateway's keys.")
        response = see_other(wanted)
        response.set_cookie(
            SESSION_COOKIE,
            self._site.sessions.begin(key_hash, self._site.services.now_ms()),
            SESSION_S,
            path="/ui",
            secure=is_tls(request),
            httponly=True,
            samesite="lax",
        )
        return response

    async def log_out(self, request: Request) -> Response:
        response = see_other("/ui/login")
        response.delete_cookie(
            SESSION_COOKIE, path="/ui", secure=is_tls(request), httponly=True, samesite="lax"
        )
        return response

    async def shortcuts(self, request: Request) -> Response:
        return self._site.render(request, "keys.html", {"title": "Keyboard shortcuts", "narrow": True})

    def _page(self, request: Request, wanted: str, problem: str = "") -> Response:
        context = {"title": "Log in", "wanted": wanted, "problem": problem, "narrow": True}
        return self._site.render(request, "login.html", context, status=401 if problem else 200)
