"""The logs: traces, newest first, by any filter. What a row shows is here and in `rows.html`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import filters
from gateway.dashboard.asked import first_words
from gateway.dashboard.filters import FIELDS, Filters
from gateway.dashboard.guard import visitor
from gateway.dashboard.site import Site, see_other
from gateway.errors import InvalidField
from gateway.store import browse
from gateway.store.browse import Found
from gateway.store.trace_rows import TraceRow

PAGE_ROWS = 50
SEARCH_MS = 110.0
"""A search ends after this time, so that every page answers within 200 ms; it goes on when asked to."""

_DATED = re.compile(r"(.+)-[0-9]{4}-?[0-9]{2}-?[0-9]{2}", re.ASCII)


@dataclass(slots=True, frozen=True)
class Line:
    """A row of the list, with what was asked first. Of a model and its dated version the first is named."""

    row: TraceRow
    asked: str | None
    models: tuple[str, ...]


def routes(site: Site) -> list[BaseRoute]:
    pages = LogPages(site)
    return [Route(filters.PATH, site.page(pages.show))]


class LogPages:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def show(self, request: Request) -> Response:
        query_string = request.scope["query_string"]
        short = filters.canonical(query_string)
        if short is not None:
            return see_other(short)
        chosen = filters.read(query_string, self._site.services.now_ms())
        found = Found((), None) if chosen.problems else await find(self._site, request, chosen)
        context = {
            "title": "Logs",
            "active": "logs",
            "chosen": chosen,
            "fields": FIELDS,
            "lines": lines(found),
            "found": found,
            "next_url": None if found.after is None else chosen.url(after=found.after),
            "live_url": None if chosen.after or chosen.problems else chosen.url("/ui/live/logs"),
            "is_fresh": not chosen.given and not chosen.after and not found.rows,
        }
        status = 400 if chosen.problems else 200
        return self._site.render(request, "logs.html", context, status=status)


async def find(site: Site, request: Request, chosen: Filters) -> Found:
    key_id = visitor(request).key_id
    budget = browse.Budget(SEARCH_MS, _clock_ms)
    try:
        return await site.services.database.read(
            lambda connection: browse.find(
                connection, key_id, chosen.query, limit=PAGE_ROWS, budget=budget, after=chosen.after
            )
        )
    except InvalidField:  # a trace that has gone since: the list begins anew
        return await site.services.database.read(
            lambda connection: browse.find(connection, key_id, chosen.query, limit=PAGE_ROWS, budget=budget)
        )


def lines(found: Found) -> list[Line]:
    return [Line(row, first_words(row.request), _plain_names(row.summary.models)) for row in found.rows]


def _plain_names(models: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that are another one of them with a date behind it, such as gpt-4o-2024-08-06."""
    return tuple(
        model for model in models if not (dated := _DATED.fullmatch(model)) or dated[1] not in models
    )


def _clock_ms() -> float:
    return time.monotonic_ns() / 1e6
