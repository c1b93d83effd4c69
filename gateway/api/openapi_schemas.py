"""JSON Schemas of everything our endpoints take and answer, for the OpenAPI document.

They describe what `shapes.py`, `errors.py` and `feedback_errors.py` write; test_openapi.py holds them to it.
"""

from __future__ import annotations

from typing import Any

from gateway.feedback.portkey import (
    MAX_ITEMS,
    MAX_METADATA_BYTES,
    MAX_NUMBER_CHARS,
    MAX_VALUE,
    MIN_VALUE,
)
from gateway.ids import MAX_TRACE_ID_CHARS

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
TRACE_ID: Schema = {
    "type": "string",
    "pattern": r"^[\x21-\x7e]+$",
    "minLength": 1,
    "maxLength": MAX_TRACE_ID_CHARS,
}
ANYTHING: Schema = {}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def record(required: dict[str, Schema], **more: Any) -> Schema:
    """An object that always has all of these members."""
    return {"type": "object", "required": list(required), "properties": required, **more}


def list_of(name: str) -> Schema:
    return record(
        {
            "object": {"const": "list"},
            "data": array(ref(name)),
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
            "has_more": BOOLEAN,
        }
    )


_METADATA: Schema = {
    "type": "object",
    "description": f"At most {MAX_METADATA_BYTES} bytes as compact JSON. A string that holds such an object "
    "passes too. `_user`, `_organisation`, `_prompt` and `_environment` are indexed.",
}
_VALUE: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": MIN_VALUE, "maximum": MAX_VALUE},
        {"type": "string", "pattern": r"^-?([0-9]|10)(\.0+)?$", "maxLength": MAX_NUMBER_CHARS},
    ],
    "description": "0 is a value like any other.",
}
_WEIGHT: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)$", "maxLength": MAX_NUMBER_CHARS},
        {"type": "null"},
    ],
    "default": 1.0,
}

_LOG: dict[str, Schema] = {
    "object": {"const": "log"},
    "id": STRING,
    "trace_id": STRING,
    "started_at": TIME,
    "latency_ms": NUMBER,
    "first_byte_ms": nullable(NUMBER),
    "method": STRING,
    "path": STRING,
    "upstream": nullable(STRING),
    "requested_model": nullable(STRING),
    "answering_model": nullable(STRING),
    "streamed": BOOLEAN,
    "status": INTEGER,
    "error": nullable(record({"kind": STRING, "message": nullable(STRING)})),
    "finish_reason": nullable(STRING),
    "usage": record(
        {
            "prompt_tokens": nullable(COUNT),
            "completion_tokens": nullable(COUNT),
            "cached_tokens": nullable(COUNT),
            "reasoning_tokens": nullable(COUNT),
        }
    ),
    "cost_usd": nullable(NUMBER),
    "request_bytes": COUNT,
    "response_bytes": COUNT,
    "metadata": nullable({"type": "object"}),
    "body_user": nullable(STRING),
    "body_metadata": ANYTHING,
    "feedback": ref("FeedbackSummary"),
}
_TRACE: dict[str, Schema] = {
    "object": {"const": "trace"},
    "id": STRING,
    "trace_id": STRING,
    "first_at": TIME,
    "last_at": TIME,
    "exchange_count": COUNT,
    "error_count": COUNT,
    "models": array(STRING),
    "tokens": record({"prompt": COUNT, "completion": COUNT}),
    "cost_usd": nullable(NUMBER),
    "feedback": ref("FeedbackSummary"),
}
_FEEDBACK_ITEMS: dict[str, Schema] = {
    "feedback_items": array(ref("Feedback")),
    "feedback_items_has_more": BOOLEAN,
}
_CAUSE: dict[str, Schema] = {
    "message": STRING,
    "type": STRING,
    "code": STRING,
    "param": nullable(STRING),
}

SCHEMAS: dict[str, Schema] = {
    "FeedbackDraft": {
        "type": "object",
        "required": ["trace_id", "value"],
        "properties": {"trace_id": TRACE_ID, "value": _VALUE, "weight": _WEIGHT, "metadata": _METADATA},
    },
    "FeedbackDrafts": {
        "description": "One item, an array of items, or, from Node's SDK, an object with numeric keys.",
        "anyOf": [
            ref("FeedbackDraft"),
            {**array(ref("FeedbackDraft")), "minItems": 1, "maxItems": MAX_ITEMS},
        ],
    },
    "FeedbackChange": {
        "type": "object",
        "description": "What is left out stays as it is.",
        "required": ["value"],
        "properties": {"value": _VALUE, "weight": _WEIGHT, "metadata": _METADATA},
    },
    "FeedbackSaved": record(
        {"status": {"const": "success"}, "message": STRING, "feedback_ids": array(STRING)}
    ),
    "FeedbackDeleted": record(
        {"object": {"const": "feedback.deleted"}, "id": STRING, "deleted": {"const": True}}
    ),
    "Feedback": record(
        {
            "object": {"const": "feedback"},
            "id": STRING,
            "trace_id": STRING,
            "value": INTEGER,
            "weight": NUMBER,
            "metadata": nullable({"type": "object"}),
            "created_at": TIME,
            "updated_at": nullable(TIME),
            "matched": BOOLEAN,
        }
    ),
    "FeedbackSummary": record(
        {
            "count": COUNT,
            "pairs": array(record({"value": INTEGER, "weight": NUMBER, "count": COUNT})),
            "sum_weight": NUMBER,
            "weighted_mean": nullable(NUMBER),
            "mean_weighted_value": nullable(NUMBER),
        },
        description="weighted_mean is Σ(value·weight)/Σ(weight), mean_weighted_value Σ(value·weight)/count.",
    ),
    "Trace": record(_TRACE),
    "TraceDetail": record(
        {**_TRACE, "exchanges": array(ref("Log")), "exchanges_has_more": BOOLEAN, **_FEEDBACK_ITEMS}
    ),
    "Log": record(_LOG),
    "Body": record(
        {
            "headers": array(record({"name": STRING, "value": STRING})),
            "body": ANYTHING,
            "encoding": {"enum": ["json", "text", "base64", None]},
            "truncated": BOOLEAN,
            "tail": nullable(STRING),
            "content_encoding": nullable(STRING),
            "bytes": COUNT,
        },
        description="`encoding` says what `body` is; of a truncated one it is the head, and `tail` the end.",
    ),
    "LogDetail": record(
        {
            **_LOG,
            "request": nullable(ref("Body")),
            "response": nullable(ref("Body")),
            "message": {"description": "The final answer; for a stream, put together from its events."},
            **_FEEDBACK_ITEMS,
        }
    ),
    "FeedbackList": list_of("Feedback"),
    "TraceList": list_of("Trace"),
    "LogList": list_of("Log"),
    "Error": record({"error": record(_CAUSE)}),
    "FeedbackError": record({"status": {"const": "failure"}, "message": STRING, "error": record(_CAUSE)}),
    "Health": record({"status": {"const": "ok"}}),
    "Readiness": record(
        {
            "status": {"enum": ["ready", "not_ready"]},
            "store": {"type": "object"},
            "upstreams": {"type": "object"},
        }
    ),
    "Index": {"type": "object"},
}
