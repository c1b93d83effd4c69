"""Exports as streams of lines: read portion by portion, rendered beside the event loop, never held in full.

Each piece that is yielded is whole lines, or nothing where a portion gave none: the caller can see there
whether anybody still listens. What a line looks like is in the modules next door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from gateway.exports import feedback as table
from gateway.exports import finetuning, preferences
from gateway.exports.conversation import conversation
from gateway.exports.exchanges import exchange_line
from gateway.exports.lines import json_line
from gateway.records import Feedback, FeedbackFilter, Item, Log, LogFilter
from gateway.store import candidates, export
from gateway.store.base import Database
from gateway.store.candidates import Candidate
from gateway.store.export import Portion, Rated, Read
from gateway.store.walk import Path, Walk

Lines = AsyncGenerator[bytes, None]
"""Whole lines. Close it when you stop in the middle."""

_NO_LIMIT: Final = 2**62


@dataclass(slots=True, frozen=True)
class Cut:
    """Which part of an export is wanted: from behind the line with the id `after`, `limit` lines at most."""

    after: str | None = None
    limit: int | None = None


class ExportService:
    """Every method is a stream. It raises InvalidField, before the first piece, when there is no line
    `Cut.after`, and StoreUnavailable at any time.

    `feedback_shape` and `log_shape` are the API's.
    """

    def __init__(
        self,
        database: Database,
        *,
        feedback_shape: Callable[[Feedback], dict[str, Any]],
        log_shape: Callable[[Log], dict[str, Any]],
    ) -> None:
        self._database = database
        self._feedback_shape = feedback_shape
        self._log_shape = log_shape

    def feedback_json(self, key_id: str, wanted: FeedbackFilter, cut: Cut) -> Lines:
        """Feedback as the API shows it."""
        return self._feedback(key_id, wanted, cut, lambda item: json_line(self._feedback_shape(item)))

    async def feedback_csv(self, key_id: str, wanted: FeedbackFilter, cut: Cut) -> Lines:
        """The same as a table. Its header is left out with `after`, so that the pieces make one file."""
        rows = self._feedback(key_id, wanted, cut, lambda item: table.csv_row(self._feedback_shape(item)))
        header = table.header() if cut.after is None else b""
        async with aclosing(rows):
            async for piece in rows:
                yield header + piece
                header = b""
        if header:
            yield header

    def exchanges(self, key_id: str, wanted: LogFilter, cut: Cut) -> Lines:
        """Exchanges with their conversation and what people said of it."""
        path = export.exchange_path(key_id, wanted)
        return self._lines(
            path,
            lambda connection, walk, limit: export.exchange_portion(connection, path, walk, limit=limit),
            self._exchange_line,
            cut,
        )

    def supervised(
        self, key_id: str, wanted: LogFilter, cut: Cut, *, name: str | None, min_score: float, ids: bool
    ) -> Lines:
        """Examples from answers that were rated `min_score` or better, or corrected.

        `name` is whose ratings count, without it scores do. With `ids` a line has the `id` of its exchange.
        """
        path = _path_of_graded(key_id, wanted)
        return self._lines(
            path,
            lambda connection, walk, _: candidates.portion(
                connection, path, walk, name=name, min_score=min_score
            ),
            partial(_supervised_line, ids=ids),
            cut,
        )

    async def preferences(
        self, key_id: str, wanted: LogFilter, cut: Cut, *, name: str | None, ids: bool
    ) -> Lines:
        """Pairs of a better and a worse answer to the same prompt. `name` and `ids` as in `supervised`."""
        path = _path_of_graded(key_id, wanted)
        left = _NO_LIMIT if cut.limit is None else cut.limit
        stream = preferences.stream(self._database, path, name=name, ids=ids, after=cut.after)
        async with aclosing(stream):
            async for lines in stream:
                yield b"".join(lines[:left])
                left -= min(len(lines), left)
                if not left:
                    return

    def _feedback(
        self, key_id: str, wanted: FeedbackFilter, cut: Cut, render: Callable[[Feedback], bytes]
    ) -> Lines:
        path = export.feedback_path(key_id, wanted)
        return self._lines(
            path,
            lambda connection, walk, limit: export.feedback_portion(connection, path, walk, limit=limit),
            render,
            cut,
        )

    async def _lines(
        self, path: Path, read: Read[Item], render: Callable[[Item], bytes | None], cut: Cut
    ) -> Lines:
        walk = await self._database.read(lambda connection: path.start(connection, cut.after))
        left = _NO_LIMIT if cut.limit is None else cut.limit
        while not walk.is_over and left:
            portion = await self._next(read, walk, left)
            lines = await _rendered(portion.items, render)
            yield b"".join(lines[:left])
            left -= min(len(lines), left)
            walk = portion.walk

    async def _next(self, read: Read[Item], walk: Walk, limit: int) -> Portion[Item]:
        return await self._database.read(lambda connection: read(connection, walk, limit))

    def _exchange_line(self, item: Rated) -> bytes:
        return exchange_line(
            self._log_shape(item.log),
            conversation(item.kept.row, item.kept.bodies),
            [self._feedback_shape(each) for each in item.feedback],
            has_more=item.has_more,
        )


def _path_of_graded(key_id: str, wanted: LogFilter) -> Path:
    return export.exchange_path(key_id, replace(wanted, failed=False, has_feedback=True))


def _supervised_line(item: Candidate, *, ids: bool) -> bytes | None:
    kept = item.kept
    example = finetuning.supervised(conversation(kept.row, kept.bodies), item.verdict.correction)
    return None if example is None else finetuning.example_line(example, kept.row.id if ids else None)


async def _rendered(items: Sequence[Item], render: Callable[[Item], bytes | None]) -> list[bytes]:
    if not items:
        return []
    return await asyncio.to_thread(lambda: [line for item in items if (line := render(item)) is not None])
