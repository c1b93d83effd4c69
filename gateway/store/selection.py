"""Selectors as queries: which exchanges have every tag and every pair of metadata, oldest first.

Oldest first means in the order they were stored (`seq`), so that what comes later is always found behind
what was seen. As in `search`, the choice between looking rows up and walking past them is made by counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, union_all

from gateway.errors import InvalidField
from gateway.records import Selector
from gateway.store.search import SPECIAL_COLUMNS, Condition, Ids, carries, unindexed
from gateway.store.tables import exchange, exchange_tag

FEW_ROWS = 20_000
"""Rows whose numbers can be looked up and sorted in about 10 ms."""

MAX_ENTRIES = 100
"""Each is a condition of its own; SQLite takes a thousand."""

MAX_SEQ = 2**63 - 1

_OTHER = exchange.alias()
_WALKED = exchange_tag.alias()
_TAGGED = exchange_tag.alias()
_SPECIAL = {f"_{name}": column for name, column in SPECIAL_COLUMNS.items()}


def matching(connection: Connection, key_id: str, selector: Selector, limit: int) -> list[tuple[str, str]]:
    """The id and trace id of the oldest exchanges that fit `selector`, at most `limit`.

    Raises InvalidField, as `oldest_first` does.
    """
    query = oldest_first(connection, key_id, selector, [exchange.c.id, exchange.c.trace_id]).limit(limit)
    return [(row.id, row.trace_id) for row in connection.execute(query)]


def oldest_first(
    connection: Connection,
    key_id: str,
    selector: Selector,
    columns: Sequence[ColumnElement[Any]],
    *,
    after_seq: int = 0,
) -> Select[Any]:
    """`columns` of the exchanges that fit `selector` and come behind `after_seq`, in order of `seq`.

    Raises InvalidField when the selector has more than MAX_ENTRIES.
    """
    entries = len(selector.tags) + len(selector.metadata)
    if entries > MAX_ENTRIES:
        raise InvalidField(f"selector: has {entries} entries, the limit is {MAX_ENTRIES}", param="selector")
    query, seq = select(*columns), exchange.c.seq
    conditions = _conditions(key_id, selector, seq)
    few = _few(connection, [*(condition.ids for condition in conditions), _own(key_id)])
    if few is not None:
        query = query.where(seq.in_(few))
    elif selector.tags and not selector.ids_too:
        # A tag's exchanges are stored in order: walking them passes only what has the tag.
        query, seq = query.join(_WALKED, _WALKED.c.exchange_seq == seq), _WALKED.c.exchange_seq
        first, last = _bounds(connection, key_id, selector.tags, after_seq)
        query = query.where(_WALKED.c.key_id == key_id, _WALKED.c.tag == selector.tags[0])
        query = query.where(seq >= first, seq <= last)
        conditions = _conditions(key_id, selector, seq)
    query = query.where(*(condition.holds for condition in conditions))
    return query.where(unindexed(exchange.c.key_id) == key_id, seq > after_seq).order_by(seq)


def _bounds(connection: Connection, key_id: str, tags: Sequence[str], after_seq: int) -> tuple[int, int]:
    """Numbers between which all exchanges behind `after_seq` are that have all of `tags`."""
    first, last = after_seq + 1, MAX_SEQ
    for tag in tags:
        seq = _tagged(key_id, tag).subquery().c.exchange_seq
        first = connection.execute(select(func.min(seq)).where(seq >= first)).scalar() or MAX_SEQ
        last = min(last, connection.execute(select(func.max(seq))).scalar() or 0)
    return first, last


def _few(connection: Connection, some: Sequence[Ids | None]) -> Ids | None:
    """The first of `some` that are few, counted to one more than a few."""
    for ids in some:
        if ids is not None:
            counted = select(func.count()).select_from(ids.limit(FEW_ROWS + 1).subquery())
            if connection.execute(counted).scalar_one() <= FEW_ROWS:
                return ids
    return None


def _conditions(key_id: str, selector: Selector, seq: ColumnElement[int]) -> list[Condition]:
    """What the exchange with the number `seq` must fulfil."""
    fits = _tag_or_id if selector.ids_too else _tag
    conditions = [fits(key_id, entry, seq) for entry in selector.tags]
    for name, value in selector.metadata:
        if name in _SPECIAL:
            conditions.append(_special(key_id, _SPECIAL[name], value))
        else:
            conditions.append(Condition(carries(exchange.c.metadata, name, value)))
    return conditions


def _own(key_id: str, *more: ColumnElement[bool]) -> Select[Any]:
    return select(_OTHER.c.seq).where(_OTHER.c.key_id == key_id, *more)


def _special(key_id: str, column: str, value: str) -> Condition:
    return Condition(unindexed(exchange.c[column]) == value, _own(key_id, _OTHER.c[column] == value))


def _tag(key_id: str, tag: str, seq: ColumnElement[int]) -> Condition:
    ids = _tagged(key_id, tag)
    return Condition(_is_in(ids, seq), ids)


def _tag_or_id(key_id: str, entry: str, seq: ColumnElement[int]) -> Condition:
    """What an entry of log10's selectors means. Source: docs/wire/log10.md."""
    tagged = _tagged(key_id, entry)
    by_id = select(_OTHER.c.seq).where(_OTHER.c.id == entry, unindexed(_OTHER.c.key_id) == key_id)
    return Condition(
        or_(_is_in(tagged, seq), unindexed(exchange.c.trace_id) == entry, unindexed(exchange.c.id) == entry),
        union_all(tagged, _own(key_id, _OTHER.c.trace_id == entry), by_id),
    )


def _tagged(key_id: str, tag: str) -> Select[Any]:
    return select(_TAGGED.c.exchange_seq).where(_TAGGED.c.key_id == key_id, _TAGGED.c.tag == tag)


def _is_in(tagged: Select[Any], seq: ColumnElement[int]) -> ColumnElement[bool]:
    return tagged.where(_TAGGED.c.exchange_seq == seq).correlate_except(_TAGGED).exists()
