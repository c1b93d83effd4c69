"""Insights: figures over a chosen time and grouping, as charts, as tables and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import figure_tables, group_tables, period
from gateway.dashboard.figure_tables import Cell, Figure
from gateway.dashboard.group_tables import GROUP_HEAD
from gateway.dashboard.guard import visitor
from gateway.dashboard.links import Links
from gateway.dashboard.period import RANGE_WORDS, Known, Period
from gateway.dashboard.site import Site, url
from gateway.errors import InvalidField
from gateway.records.insights import DIMENSIONS, FEW, Dimension, Insights
from gateway.store import insights
from gateway.store.insights import RATED

PATH = "/ui/insights"
CSV_PATH = "/ui/insights.csv"
DEFAULT_BY: Dimension = "model"
MAX_GROUP_CHARS = 500

_PARAMETERS = ("range", "since", "until", "by", "group", "chart")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_RATED_HEAD = ("Weighted mean", "Spread", "Scores", "Few")


@dataclass(slots=True, frozen=True)
class View:
    """What the URL asks for, and what there is."""

    period: Period
    by: Dimension
    group: str | None
    found: Insights

    @property
    def links(self) -> Links:
        return Links(self.period.span, None if self.group is None else (self.by, self.group))

    def url(self, path: str = PATH, **changes: str | None) -> str:
        """The same view with some of its parameters changed."""
        return url(path, **{**self.period.query, "by": self.by, "group": self.group, **changes})

    def ranged(self, name: str) -> str:
        return url(PATH, range=name, by=self.by, group=self.group)


def routes(site: Site) -> list[BaseRoute]:
    pages = InsightPages(site)
    return [Route(PATH, site.page(pages.show)), Route(CSV_PATH, site.page(pages.csv))]


class InsightPages:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def show(self, request: Request) -> Response:
        view = await self._view(request)
        found, links = view.found, view.links
        context = {
            "title": "Insights",
            "active": "insights",
            "view": view,
            "ranges": RANGE_WORDS,
            "dimensions": DIMENSIONS,
            "total": found.total,
            "figures": figure_tables.over_time(found, links),
            "groups": group_tables.groups(found.groups, view.by, Links(view.period.span)),
            "group_head": GROUP_HEAD,
            "rated": {name: group_tables.rated(found, name, Links(view.period.span)) for name in RATED},
            "few": FEW,
            "step_words": _step_words(view.period.span.step),
            "is_empty": not found.total.requests.requests and not found.total.feedback.count,
        }
        return self._site.render(request, "insights.html", context)

    async def csv(self, request: Request) -> Response:
        view = await self._view(request)
        wanted = dict(parse_qsl(request.url.query)).get("chart", "")
        head, rows = _table(view, wanted)
        name = f"{wanted}-{view.period.since}-{view.period.until}.csv"
        return Response(
            _csv_text(head, rows),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    async def _view(self, request: Request) -> View:
        """Raises InvalidField."""
        wanted = _read(request.url.query)
        by, group = wanted.get("by") or DEFAULT_BY, wanted.get("group") or None
        if by not in DIMENSIONS:
            raise InvalidField(f"by: must be one of {', '.join(DIMENSIONS)}", param="by")
        key_id, services = visitor(request).key_id, self._site.services
        now_ms = services.now_ms()
        services.count_now()

        def read(connection: Any) -> tuple[Period, Insights]:
            hours = insights.hours(connection, key_id) if period.needs_known(wanted) else None
            chosen = period.read(wanted, Known(*hours) if hours else None, now_ms)
            return chosen, insights.read(connection, key_id, chosen.span, by=by, group=group)

        chosen, found = await services.database.read(read)
        return View(chosen, by, group, found)


def _read(query: str) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise InvalidField(
                f"{name[:40]}: this page has no such parameter; it takes {', '.join(_PARAMETERS)}"
            )
        wanted[name] = text.strip()[:MAX_GROUP_CHARS]
    return wanted


def _table(view: View, wanted: str) -> tuple[Sequence[str], Iterable[Sequence[Cell]]]:
    """The numbers of a chart. Raises InvalidField."""
    if wanted == "groups":
        rows = group_tables.groups(view.found.groups, view.by, view.links)
        return (view.by, *GROUP_HEAD), [(_text(row.label), *row.cells) for row in rows]
    for dimension in RATED:
        if wanted == f"rated-{dimension}":
            rows = group_tables.rated(view.found, dimension, view.links)
            return (dimension, *_RATED_HEAD), [(_text(row.label), *row.cells) for row in rows]
    charts = figure_tables.over_time(view.found, view.links)
    for chart in charts:
        if chart.name == wanted:
            return chart.head, [(label, *row.cells) for label, row in _labelled(view, chart)]
    names = (*(chart.name for chart in charts), "groups", *(f"rated-{dimension}" for dimension in RATED))
    raise InvalidField(f"chart: must be one of {', '.join(names)}", param="chart")


def _labelled(view: View, chart: Figure) -> Iterable[tuple[str, figure_tables.TableRow]]:
    """Times in a form that programs read; of scores the number."""
    if chart.name == "scores":
        return ((row.label.replace("\u2212", "-"), row) for row in chart.rows)
    return ((period.iso(hour), row) for hour, row in zip(view.found.steps, chart.rows, strict=True))


def _text(label: str) -> str:
    """What somebody wrote, so that no spreadsheet takes it for a formula."""
    return f"'{label}" if label.startswith(_FORMULA) else label


def _csv_text(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()


def _step_words(hours: int) -> str:
    if hours < 24:
        return "an hour" if hours == 1 else f"{hours} hours"
    return "a day" if hours == 24 else f"{hours // 24} days"
