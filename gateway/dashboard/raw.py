"""A stored body by itself, as plain text: what is too long for a page, and what is copied whole."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import body
from gateway.dashboard.guard import visitor
from gateway.dashboard.site import Site
from gateway.errors import NotFound
from gateway.store import talks

PARTS = ("request", "response", "curl")


def routes(site: Site) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        key_id, part = visitor(request).key_id, request.query_params.get("part", "")
        exchange_id = request.query_params.get("id", "")
        if part not in PARTS:
            raise NotFound(f"an exchange has the parts {', '.join(PARTS)}, not {part!r}")
        row, bodies = await site.services.database.read(
            lambda connection: talks.one(connection, key_id, exchange_id)
        )
        if part == "curl":
            return _text(body.curl(row, bodies, str(request.base_url).rstrip("/")))
        text = None if bodies is None else body.plain(bodies, "request" if part == "request" else "response")
        if text is not None:
            return _text(text)
        head = None if bodies is None else bodies.request_head if part == "request" else bodies.response_head
        if head is None:
            raise NotFound(f"the {part} of this exchange was not kept")
        name = f"{part}-{row.id}.bin"
        return Response(
            head,
            media_type="application/octet-stream",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    return [Route("/ui/raw", site.page(show))]


def _text(text: str) -> Response:
    return Response(text.encode("utf-8", "replace"), media_type="text/plain; charset=utf-8")
