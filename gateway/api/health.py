"""Is it up, can it work, and what is it: /healthz, /readyz and the page at /."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import __version__
from gateway.api.resource import Resource
from gateway.jsonio import dumps

Report = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]
"""Whether the gateway can do its work, and the details as JSON."""

_WHAT = "An OpenAI-compatible gateway that remembers what people thought of every answer."

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>feedback-gateway</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem;color:#222;
background:#fff}code{background:#f2f2f2;padding:.1em .3em;border-radius:.2em}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}code{background:#2a2a2a}
a{color:#8ab4f8}}</style>
<h1>feedback-gateway</h1>
<p>An OpenAI-compatible gateway that remembers what people thought of every answer.</p>
<p>Point your client's <code>base_url</code> at <code>/v1</code> here and, if you like, send an
<code>x-trace-id</code> header. Then:</p>
<ul>
<li><code>POST /v1/feedback</code>: <code>{"trace_id": "…", "value": 5, "weight": 1.0}</code></li>
<li><a href="/v1/traces">/v1/traces</a>: what was asked, and what people thought of it</li>
<li><a href="/v1/logs">/v1/logs</a>: every exchange</li>
<li><a href="/v1/feedback">/v1/feedback</a>: every piece of feedback</li>
<li><a href="/openapi.json">/openapi.json</a>: all endpoints</li>
<li><a href="/readyz">/readyz</a>: is it well</li>
</ul>
"""


def routes(report: Report) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Request) -> Response:
        ready, details = await report()
        status = "ready" if ready else "not_ready"
        return _json({"status": status, **details}, 200 if ready else 503)

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_PAGE)
        return _json(
            {
                "name": "feedback-gateway",
                "version": __version__,
                "description": _WHAT,
                "base_url": "/v1",
                "feedback": "/v1/feedback",
                "traces": "/v1/traces",
                "logs": "/v1/logs",
                "openapi": "/openapi.json",
                "ready": "/readyz",
            }
        )

    return [
        Route("/healthz", Resource({"GET": healthz})),
        Route("/readyz", Resource({"GET": readyz})),
        Route("/", Resource({"GET": index})),
    ]


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(dumps(body), status, media_type="application/json")
