"""The values that feedback gives, one a row: a value itself, the entries of a list, the members of an object.

A value is a number, a boolean or a text, and spelled as in `feedback`: `number` for numbers, `label` for
short texts, both for booleans, neither for a text too long to be told from others. What is nested deeper is
left out.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from gateway.store.feedback_rows import MAX_LABEL_CHARS
from gateway.store.groups import member
from gateway.store.tables import feedback

_PLAIN = ("score", "number", "boolean", "text")
_ATOMS = ("integer", "real", "true", "false", "text")


def _plain() -> Select[Any]:
    return select(
        member.c.grp,
        member.c.name,
        cast(null(), Text).label("field"),
        member.c.seq,
        member.c.source_type,
        member.c.source_id,
        member.c.label,
        member.c.number,
        literal(1).label("single"),
    ).where(member.c.kind.in_(_PLAIN))


def _inner() -> Select[Any]:
    inner = func.json_each(feedback.c.value).table_valued("key", "atom", "type", name="inner_value")
    is_object = member.c.kind == "object"
    kind, atom = inner.c.type, inner.c.atom
    is_short = and_(kind == "text", func.length(atom) <= MAX_LABEL_CHARS)
    number = case((kind.in_(("integer", "real")), atom), (kind == "true", 1.0), (kind == "false", 0.0))
    return (
        select(
            member.c.grp,
            member.c.name,
            case((is_object, cast(inner.c.key, Text))).label("field"),
            member.c.seq,
            member.c.source_type,
            member.c.source_id,
            case((kind.in_(("true", "false")), kind), (is_short, atom)).label("label"),
            number.label("number"),
            case((is_object, 1), else_=0).label("single"),
        )
        .select_from(member.join(feedback, feedback.c.seq == member.c.seq).join(inner, literal(1)))
        .where(member.c.kind.in_(("list", "object")), kind.in_(_ATOMS))
        .distinct()
    )


items: CTE = union_all(_plain(), _inner()).cte("items")
"""Rows of every member: grp, name, field, seq, source_type, source_id, label, number, single.

`field` is the name of an object's member, null for everything else. `single` is 0 for a list's entries: one
piece of feedback may give several.
"""
