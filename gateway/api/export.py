"""GET /v1/export/feedback, /v1/export/exchanges and /v1/export/finetuning: files, as streams of lines."""

from __future__ import annotations

from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.lines import LinesResponse
from gateway.api.params import exchange_export, feedback_export, finetuning_export
from gateway.api.resource import Resource
from gateway.api.services import Services
from gateway.api.shapes import feedback_shape, log_shape
from gateway.exports.service import Cut, ExportService, Lines
from gateway.feedback.service import canonical_id

PATH = "/v1/export"
DEFAULT_MIN_SCORE = 1.0
JSONL = "application/x-ndjson"
CSV = "text/csv; charset=utf-8"


def routes(services: Services) -> list[BaseRoute]:
    endpoints = ExportEndpoints(services)
    resources = {
        "feedback": Resource({"GET": endpoints.feedback}),
        "exchanges": Resource({"GET": endpoints.exchanges}),
        "finetuning": Resource({"GET": endpoints.finetuning}),
    }
    return [
        Route(f"{PATH}/{name}{slash}", resource)
        for name, resource in resources.items()
        for slash in ("", "/")
    ]


class ExportEndpoints:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._exports = ExportService(services.database, feedback_shape=feedback_shape, log_shape=log_shape)

    async def feedback(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, cut, how = feedback_export(request.scope["query_string"])
        if cut.after is not None:
            cut = Cut(canonical_id(cut.after), cut.limit)
        if how.get("format") == "csv":
            header = "present" if cut.after is None else "absent"
            lines = self._exports.feedback_csv(key_id, wanted, cut)
            return await self._answer(request, lines, "feedback.csv", f"{CSV}; header={header}")
        lines = self._exports.feedback_json(key_id, wanted, cut)
        return await self._answer(request, lines, "feedback.jsonl", JSONL)

    async def exchanges(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, cut = exchange_export(request.scope["query_string"])
        lines = self._exports.exchanges(key_id, wanted, cut)
        return await self._answer(request, lines, "exchanges.jsonl", JSONL)

    async def finetuning(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, cut, how = finetuning_export(request.scope["query_string"])
        name, ids = how.get("name"), how.get("ids", False)
        if how.get("format") == "dpo":
            lines = self._exports.preferences(key_id, wanted, cut, name=name, ids=ids)
            return await self._answer(request, lines, "preferences.jsonl", JSONL)
        min_score = how.get("min_score", DEFAULT_MIN_SCORE)
        lines = self._exports.supervised(key_id, wanted, cut, name=name, min_score=min_score, ids=ids)
        return await self._answer(request, lines, "finetuning.jsonl", JSONL)

    async def _answer(self, request: Request, lines: Lines, filename: str, media_type: str) -> Response:
        """Answers once the first piece is there: what is wrong with the request is found by then."""
        first = await anext(lines, b"")
        headers = {
            "content-type": media_type,
            "content-disposition": f'attachment; filename="{filename}"',
            "cache-control": "no-store",
        }
        if request.method == "HEAD":
            await lines.aclose()
        pieces = _from(first, lines)
        return LinesResponse(pieces, write_timeout_s=self._services.write_timeout_s, headers=headers)


async def _from(first: bytes, rest: Lines) -> Lines:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece
