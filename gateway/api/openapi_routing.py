"""Routing in the OpenAPI document: paths and schemas, for `openapi` to take in."""

from __future__ import annotations

from typing import Any

from gateway.api.openapi_parts import operation
from gateway.api.openapi_schemas import (
    BOOLEAN,
    COUNT,
    NUMBER,
    STRING,
    TIME,
    Schema,
    array,
    nullable,
    record,
    ref,
)

_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_AMOUNT: Schema = {"type": "number", "minimum": 0}

SCHEMAS: dict[str, Schema] = {
    "SteeredTarget": record(
        {
            "target": STRING,
            "labels": array(STRING),
            "weight": _AMOUNT,
            "share": _SHARE,
            "chance_best": _SHARE,
            "reason": STRING,
            "count": COUNT,
            "effective_count": _AMOUNT,
            "weighted_mean": nullable(NUMBER),
        },
        description="`share` of the requests. `labels` are the targets whose feedback counts for it, "
        "`weight` is the configured one, `chance_best` how likely it is thought the best. `count` pieces of "
        "feedback are, by weight and age, worth `effective_count` fresh ones of weight 1.",
    ),
    "SteeredStrategy": record(
        {
            "place": STRING,
            "name": STRING,
            "half_life_s": _AMOUNT,
            "explore": _SHARE,
            "refresh_s": _AMOUNT,
            "targets": array(ref("SteeredTarget")),
            "refreshed_at": nullable(TIME),
            "only_newest": BOOLEAN,
            "failures": COUNT,
            "last_error": nullable(STRING),
        },
        description="A strategy with `by_feedback`, as the answering process sees it; `place` is where the "
        "configuration has it. `refreshed_at` is null until feedback was looked at: then weights hold. "
        "`only_newest` is whether there is more feedback than is looked at. `failures` counts looks that "
        "failed; shares stay as they were then.",
    ),
    "Routing": record({"object": {"const": "routing"}, "steered": array(ref("SteeredStrategy"))}),
}


def paths() -> dict[str, Any]:
    return {"/v1/routing": {"get": operation("Shows which targets feedback prefers, and why.", "Routing")}}
