"""All of our own endpoints as one router. The proxy's paths and the health pages are not here."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from gateway.api import feedback, logs, traces
from gateway.api.openapi import document
from gateway.api.resource import Resource, answer, openai_error
from gateway.api.services import Services
from gateway.errors import UnknownPath
from gateway.jsonio import dumps


def routes(services: Services) -> list[BaseRoute]:
    return [
        *feedback.routes(services),
        *traces.routes(services),
        *logs.routes(services),
        Route("/openapi.json", Resource({"GET": _openapi})),
    ]


def router(services: Services, others: Sequence[BaseRoute] = ()) -> Router:
    """The routes and `others` as an ASGI application that never redirects: Portkey's SDK fails on a 307."""
    return Router([*routes(services), *others], redirect_slashes=False, default=_unknown_path)


async def _openapi(_: Request) -> Response:
    return answer(dumps(document()))


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    error = UnknownPath(f"{scope['path']!r} is not a path of the gateway; GET /openapi.json lists them")
    await openai_error(error, Request(scope))(scope, receive, send)
