"""All of our own endpoints as one router. The proxy's paths and the health pages are not here."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from gateway.api import export, feedback, feedback_tasks, logs, routing, summary, traces, vendors
from gateway.api.openapi import document
from gateway.api.resource import Resource, answer, openai_error
from gateway.api.services import Services
from gateway.errors import UnknownPath
from gateway.feedback.vendor import Vendor
from gateway.jsonio import dumps


def routes(services: Services, served: Sequence[Vendor]) -> list[BaseRoute]:
    of_feedback = {**summary.handlers(services), **feedback.handlers(services)}
    return [
        *vendors.routes(services, served, of_feedback),
        *feedback_tasks.routes(services),
        *traces.routes(services),
        *logs.routes(services),
        *export.routes(services),
        *routing.routes(services),
        Route("/openapi.json", Resource({"GET": _openapi})),
    ]


def router(services: Services, served: Sequence[Vendor], others: Sequence[BaseRoute] = ()) -> Router:
    """Our routes, those of the vendors `served`, and `others`, as an ASGI application.

    It never redirects: Portkey's SDK fails on a 307.
    """
    return Router([*routes(services, served), *others], redirect_slashes=False, default=_unknown_path)


async def _openapi(_: Request) -> Response:
    return answer(dumps(document()))


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    error = UnknownPath(f"{scope['path']!r} is not a path of the gateway; GET /openapi.json lists them")
    await openai_error(error, Request(scope))(scope, receive, send)
