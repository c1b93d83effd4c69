"""Two answers beside each other, and what differs between them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard.conversation import talk
from gateway.dashboard.difference import compare
from gateway.dashboard.guard import visitor
from gateway.dashboard.site import Site
from gateway.records import ExchangeRow
from gateway.store import talks

MAX_CHARS = 40_000
"""Of one answer on this page."""


def routes(site: Site) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        key_id = visitor(request).key_id
        wanted = [request.query_params.get(name, "").strip() for name in ("a", "b")]
        sides: list[tuple[ExchangeRow, str]] = []
        if all(wanted):
            rows = await site.services.database.read(
                lambda connection: [talks.one(connection, key_id, each) for each in wanted]
            )
            sides = [
                (row, "\n\n".join(turn.words for turn in talk(row, bodies).answered)) for row, bodies in rows
            ]
        texts = [text[:MAX_CHARS] for _, text in sides]
        context = {
            "title": "Compare two answers",
            "active": "logs",
            "wanted": wanted,
            "sides": [(row, text) for (row, _), text in zip(sides, texts, strict=True)],
            "is_cut": any(len(text) > MAX_CHARS for _, text in sides),
            "pieces": compare(texts[0], texts[1]) if sides else None,
        }
        return site.render(request, "diff.html", context)

    return [Route("/ui/diff", site.page(show))]
