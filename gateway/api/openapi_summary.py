"""Summaries and exports in the OpenAPI document: paths and schemas, for `openapi` to take in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.api.export import DEFAULT_MIN_SCORE
from gateway.api.openapi_parts import TEXT, failures, operation
from gateway.api.openapi_schemas import (
    BOOLEAN,
    COUNT,
    NUMBER,
    STRING,
    Schema,
    array,
    nullable,
    record,
    ref,
)
from gateway.api.params import EXCHANGE_EXPORT, FEEDBACK_EXPORT, FINETUNING_EXPORT, SUMMARY, ListParameters
from gateway.records import KINDS
from gateway.records.summary import GROUPINGS

Described = Mapping[str, tuple[str, Schema]]
Parameters = Callable[[ListParameters, Described], list[dict[str, Any]]]
"""Describes the parameters of a list; with words of one's own for some."""

_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_VALUES: dict[str, Schema] = {
    "value_count": COUNT,
    "distribution": array(ref("ValueShare")),
    "other_count": COUNT,
    "mean": nullable(NUMBER),
    "min": nullable(NUMBER),
    "max": nullable(NUMBER),
    "agreement": nullable(ref("Agreement")),
}

SCHEMAS: dict[str, Schema] = {
    "ValueShare": record(
        {"value": {"type": ["number", "boolean", "string"]}, "count": COUNT, "share": _SHARE},
        description="How often a value was given, and its part of all of them.",
    ),
    "Agreement": record(
        {
            "n": {"type": "integer", "minimum": 1},
            "votes": {"type": "integer", "minimum": 2},
            "exact": _SHARE,
            "alpha": nullable(NUMBER),
            "scale": {"enum": ["interval", "nominal"]},
        },
        description="Of `n` targets that two or more sources graded under this name, each by its last value. "
        "`exact` is the share of those that got the same value from all. `alpha` is Krippendorff's: 1 is "
        "perfect, 0 is chance, null is that only one value was ever given. `scale` is how far apart two "
        "values are taken to be: for numbers the square of their difference, else all alike.",
    ),
    "ValueSummary": record(
        _VALUES,
        description="`distribution` has the most frequent values and `other_count` counts the rest. A list "
        "counts under each of its entries. Means are of numbers, true and false are shares.",
    ),
    "NameSummary": record(
        {
            "name": STRING,
            "count": COUNT,
            "kinds": {
                "type": "object",
                "propertyNames": {"enum": list(KINDS)},
                "additionalProperties": COUNT,
            },
            **_VALUES,
            "weighted_mean": nullable(NUMBER),
            "mean_weighted_value": nullable(NUMBER),
            "fields": {"type": "object", "additionalProperties": ref("ValueSummary")},
        },
        description="Feedback of one name. The weighted figures are of scores; `fields` are the members of "
        "values that are objects.",
    ),
    "GroupSummary": record(
        {
            "group": nullable(STRING),
            "count": COUNT,
            "names": array(ref("NameSummary")),
            "other_count": COUNT,
        },
        description="`group` is null for what has no such thing. `other_count` counts what is of names not "
        "shown.",
    ),
    "FeedbackFigures": record(
        {
            "object": {"const": "feedback.summary"},
            "group_by": {"enum": [*GROUPINGS, None]},
            "data": array(ref("GroupSummary")),
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
            "has_more": BOOLEAN,
        }
    ),
}

_CUT: Described = {
    "limit": ("Lines at most; all without it.", {"type": "integer", "minimum": 1, "maximum": 999_999_999}),
    "after": ("From behind the line with this id.", TEXT),
}
_SUMMARY: Described = {
    "group_by": (
        "By what; one group of all without it. Model and metadata are the feedback's own or its exchanges'.",
        {"enum": list(GROUPINGS)},
    ),
    "limit": ("Groups at most.", {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 50}),
    "after": ("The `last_id` of the page before.", TEXT),
}
_FEEDBACK: Described = {
    **_CUT,
    "format": ("JSON lines, or a table.", {"enum": ["jsonl", "csv"], "default": "jsonl"}),
}
_FINETUNING: Described = {
    **_CUT,
    "format": (
        "OpenAI's chat format, or pairs of a better and a worse answer.",
        {"enum": ["openai", "dpo"], "default": "openai"},
    ),
    "name": ("Numbers and booleans of this name rate answers; scores do without it.", TEXT),
    "min_score": (
        "Answers rated this or better, by the weighted mean; not with `dpo`.",
        {**NUMBER, "minimum": -(10**15) + 1, "maximum": 10**15 - 1, "default": DEFAULT_MIN_SCORE},
    ),
    "ids": ("Each line with the `id` of its exchange, which the formats do not have.", BOOLEAN),
}


def paths(parameters: Parameters, of_feedback: Described) -> dict[str, Any]:
    """`of_feedback` are the words for the filters of feedback where they differ from others'."""
    summary = operation("Sums feedback up.", "FeedbackFigures", "400", "503", fails="FeedbackError")
    return {
        "/v1/feedback/summary": {
            "get": summary | {"parameters": parameters(SUMMARY, {**of_feedback, **_SUMMARY})}
        },
        "/v1/export/feedback": _export(
            "Feedback, in the order it was stored.",
            parameters(FEEDBACK_EXPORT, {**of_feedback, **_FEEDBACK}),
            "application/x-ndjson",
            "text/csv",
        ),
        "/v1/export/exchanges": _export(
            "Exchanges with messages, answer, metadata and all feedback.",
            parameters(EXCHANGE_EXPORT, _CUT),
            "application/x-ndjson",
        ),
        "/v1/export/finetuning": _export(
            "Examples to train a model with, from answers that were rated or corrected.",
            parameters(FINETUNING_EXPORT, _FINETUNING),
            "application/x-ndjson",
        ),
    }


def _export(summary: str, parameters: list[dict[str, Any]], *media_types: str) -> dict[str, Any]:
    lines = {media_type: {"schema": {**STRING, "contentMediaType": media_type}} for media_type in media_types}
    responses = {"200": {"description": summary, "content": lines}, **failures("400", "401", "503")}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}
