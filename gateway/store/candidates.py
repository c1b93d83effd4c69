"""Exchanges to learn from: those that people rated or corrected, in portions as in `export`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.store import export
from gateway.store.export import Kept, Portion
from gateway.store.verdicts import Verdict, verdicts
from gateway.store.walk import Path, Walk


@dataclass(slots=True, frozen=True)
class Candidate:
    kept: Kept
    verdict: Verdict


def portion(
    connection: Connection, path: Path, walk: Walk, *, name: str | None, min_score: float | None
) -> Portion[Candidate]:
    """Those with a correction, or with a rating of at least `min_score`; with None, with any.

    `name` is whose ratings count, see `verdicts`. `path` is one of exchanges.
    """
    rows, walk = export.exchange_rows(connection, path, walk, limit=export.PORTION_ROWS)
    found = {
        seq: verdict
        for seq, verdict in verdicts(connection, path.key_id, rows, name=name).items()
        if verdict.correction is not None or _is_rated(verdict, min_score)
    }
    if not found:
        return Portion((), walk)
    seqs = export.fitting(connection, list(found))
    kept = export.with_bodies(connection, {seq: rows[seq] for seq in seqs})
    items = tuple(Candidate(each, found[each.seq]) for each in kept)
    return Portion(items, walk if len(seqs) == len(found) else walk.passed(seqs[-1]))


def _is_rated(verdict: Verdict, min_score: float | None) -> bool:
    return verdict.rating is not None and (min_score is None or verdict.rating >= min_score)
