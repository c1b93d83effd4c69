"""Whether a query of conditional routing holds for a request.

What may be written is checked in `gateway.config.queries`, so nothing here is refused: a test that cannot be
made, as of text against an order of numbers, does not hold.

A field that a request does not have is equal to nothing: `$ne` and `$nin` hold for it, the others do not; but
`$eq: null` holds, as in MongoDB. Metadata often is text where a number or `true` is meant (Portkey allows
text only), so text that reads as one is compared as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from gateway.config.queries import Every, Query, Some, Test

if TYPE_CHECKING:
    from gateway.routing.plan import Context


def holds(query: Query, context: Context) -> bool:
    """Whether the request of `context` is one that the query describes."""
    if isinstance(query, Every):
        return all(holds(part, context) for part in query.parts)
    if isinstance(query, Some):
        return any(holds(part, context) for part in query.parts)
    return _passes(query, _value(query, context))


def _value(test: Test, context: Context) -> Any:
    """What the request has there, None for nothing."""
    if test.source == "url":
        return context.path
    value: Any = context.metadata if test.source == "metadata" else context.params
    if isinstance(value, Mapping) and len(test.path) > 1 and ".".join(test.path) in value:
        return value[".".join(test.path)]  # a key that has dots in it itself
    for name in test.path:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 6:
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def _passes(test: Test, value: Any) -> bool:
    operand = test.operand
    match test.operator:
        case "$eq":
            return _equal(value, operand)
        case "$ne":
            return not _equal(value, operand)
        case "$in":
            return any(_equal(value, one) for one in operand)
        case "$nin":
            return not any(_equal(value, one) for one in operand)
        case "$regex":
            return isinstance(value, str) and test.matches is not None and test.matches(value)
        case _:
            return _ordered(_ORDERS[test.operator], value, operand)


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}


def _equal(value: Any, operand: Any) -> bool:
    if isinstance(operand, bool) or isinstance(value, bool):
        return _as_bool(value) is _as_bool(operand) is not None
    if _is_number(operand) or _is_number(value):
        number = _as_number(value)
        return number is not None and number == _as_number(operand)
    return bool(value == operand)


def _ordered(order: Callable[[Any, Any], bool], value: Any, operand: Any) -> bool:
    """Numbers by size, also where one side or both are text that reads as one; other text by its letters."""
    left, right = _as_number(value), _as_number(operand)
    if left is not None and right is not None:
        return order(left, right)
    if isinstance(value, str) and isinstance(operand, str):
        return order(value, operand)
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_NUMBER = re.compile(r"[+-]?[0-9.]{1,40}([eE][+-]?[0-9]{1,4})?")


def _as_number(value: Any) -> int | float | None:
    if _is_number(value):
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return None


def _as_bool(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None
