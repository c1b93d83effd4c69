"""Pairs of a better and a worse answer to the same prompt, as a stream of lines.

An exchange makes at most one pair: of its correction and its answer, or else of its answer and the earlier
answer to the same prompt whose rating is furthest from its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gateway.exports import finetuning
from gateway.exports.conversation import Conversation, conversation
from gateway.exports.finetuning import Example
from gateway.store import candidates, export
from gateway.store.base import Database
from gateway.store.candidates import Candidate
from gateway.store.export import Kept
from gateway.store.prompts import PromptBook, RatedAnswer
from gateway.store.walk import Path


class _Pair(NamedTuple):
    """What an exchange makes a line of: an example, or its answer and `other`, which is yet to be read."""

    candidate: Candidate
    talk: Conversation
    example: Example | None
    other: RatedAnswer | None


async def stream(
    database: Database, path: Path, *, name: str | None, ids: bool, after: str | None
) -> AsyncGenerator[list[bytes], None]:
    """Lists of lines, some empty. Raises InvalidField, at the start, when there is no exchange `after`.

    All that was rated before it is read again: what comes after may make a pair with it.
    """
    behind = await database.read(lambda connection: path.start(connection, after))
    walk = behind.passed(0)
    with PromptBook() as book:
        while not walk.is_over:
            portion = await database.read(
                partial(candidates.portion, path=path, walk=walk, name=name, min_score=None)
            )
            pairs = await asyncio.to_thread(_pairs, portion.items, book)
            wanted = [pair for pair in pairs if pair.candidate.kept.seq > behind.last]
            async for lines in _lines(database, wanted, ids=ids):
                yield lines
            walk = portion.walk
            yield []


def _pairs(items: Sequence[Candidate], book: PromptBook) -> list[_Pair]:
    pairs = []
    for item in items:
        talk, verdict = conversation(item.kept.row, item.kept.bodies), item.verdict
        example = other = None
        if verdict.rating is not None and finetuning.supervised(talk) is not None:
            digest = finetuning.prompt_digest(talk)
            other = None if digest is None else book.enter(digest, RatedAnswer(verdict.rating, item.kept.seq))
        if verdict.correction is not None:
            corrected = finetuning.corrected(talk, verdict.correction)
            example = finetuning.preference(talk, preferred=corrected, other=talk.answer)
        if example is not None or other is not None:
            pairs.append(_Pair(item, talk, example, other))
    return pairs


async def _lines(database: Database, pairs: list[_Pair], *, ids: bool) -> AsyncGenerator[list[bytes], None]:
    """The lines of `pairs`, reading as many of the other answers at a time as fit."""
    while pairs:
        wanted = list(dict.fromkeys(pair.other.seq for pair in pairs if pair.example is None and pair.other))
        others = await database.read(partial(export.some_of, seqs=wanted)) if wanted else {}
        ready = next((at for at, pair in enumerate(pairs) if not _is_ready(pair, others)), len(pairs))
        yield await asyncio.to_thread(_rendered, pairs[:ready], others, ids=ids)
        pairs = pairs[ready:]


def _is_ready(pair: _Pair, others: Mapping[int, Kept]) -> bool:
    return pair.example is not None or pair.other is None or pair.other.seq in others


def _rendered(pairs: Sequence[_Pair], others: Mapping[int, Kept], *, ids: bool) -> list[bytes]:
    lines = []
    for pair in pairs:
        example = pair.example or _compared(pair, others)
        if example is not None:
            lines.append(finetuning.example_line(example, pair.candidate.kept.row.id if ids else None))
    return [line for line in lines if line is not None]


def _compared(pair: _Pair, others: Mapping[int, Kept]) -> Example | None:
    """The answer and the other one, the better first."""
    rating = pair.candidate.verdict.rating
    if pair.other is None or rating is None:
        return None
    other = others[pair.other.seq]
    answers = pair.talk.answer, conversation(other.row, other.bodies).answer
    better, worse = answers if rating > pair.other.rating else reversed(answers)
    return finetuning.preference(pair.talk, preferred=better, other=worse)
