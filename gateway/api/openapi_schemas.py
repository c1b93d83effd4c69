"""JSON Schemas of everything our endpoints take and answer, for the OpenAPI document.

They describe what `shapes.py`, `errors.py` and native feedback's errors write; test_openapi.py holds them to
it.
"""

from __future__ import annotations

from typing import Any

from gateway.capture.attempts import CACHE_STATUSES
from gateway.feedback.body import (
    DEFAULT_MATCHED,
    MAX_ITEMS,
    MAX_MATCHED,
    MAX_METADATA_PAIRS,
    MAX_SOURCE_CHARS,
    MAX_TAG_CHARS,
    MAX_TAGS,
)
from gateway.feedback.item import MAX_METADATA_BYTES, MAX_NAME_CHARS, MAX_NUMBER_CHARS, MAX_VALUE_BYTES
from gateway.ids import MAX_TRACE_ID_CHARS
from gateway.records import KINDS, SIGNALS, SOURCE_TYPES
from gateway.records.health import STATES

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
    "description": "Of the kind that `kind` says. Without one, a score: an integer from -10 to 10, or a "
    "string that spells one. Where there is a `name` or a `task_id`, the kind is that of the JSON. At most "
    f"{MAX_VALUE_BYTES} bytes as compact JSON. 0 is a value like any other.",
}
_WEIGHT: Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)$", "maxLength": MAX_NUMBER_CHARS},
        {"type": "null"},
    ],
    "default": 1.0,
}

_CORRECTION: Schema = {"description": "What the answer should have been, any JSON. `expected` is the same."}
_COMMENT: Schema = nullable({"type": "string", "maxLength": MAX_VALUE_BYTES})
_NAME: Schema = nullable({"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS})
_SOURCE_ID: Schema = nullable({"type": "string", "maxLength": MAX_SOURCE_CHARS})
_TAGS: Schema = nullable(
    {**array({"type": "string", "minLength": 1, "maxLength": MAX_TAG_CHARS}), "maxItems": MAX_TAGS}
)
_SELECTOR: Schema = nullable(
    {
        "type": "object",
        "description": "Every exchange with all of these tags and this metadata, compared as text.",
        "properties": {
            "tags": _TAGS,
            "metadata": nullable(
                {
                    "type": "object",
                    "maxProperties": MAX_METADATA_PAIRS,
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                }
            ),
        },
        "additionalProperties": False,
    }
)
_DRAFT: dict[str, Schema] = {
    "trace_id": {
        "anyOf": [TRACE_ID, {"enum": ["", None]}],
        "description": "What it is about: a trace, or an exchange by its request id. Give one of `trace_id`, "
        "`request_id`, and `tags` or `selector`.",
    },
    "request_id": nullable(TRACE_ID),
    "tags": _TAGS,
    "selector": _SELECTOR,
    "allow_unmatched": nullable(BOOLEAN),
    "max_matched": nullable(
        {"type": "integer", "minimum": 1, "maximum": MAX_MATCHED, "default": DEFAULT_MATCHED}
    ),
    "name": _NAME,
    "kind": {"enum": [*KINDS, None]},
    "value": _VALUE,
    "weight": _WEIGHT,
    "comment": _COMMENT,
    "correction": _CORRECTION,
    "signal": {"enum": [*SIGNALS, None]},
    "source_type": {"enum": [*SOURCE_TYPES, None]},
    "source_id": _SOURCE_ID,
    "task_id": _SOURCE_ID,
    "overrides": {**_SOURCE_ID, "description": "The id of feedback that no longer counts, because of this."},
    "metadata": _METADATA,
}

_ATTEMPT = record(
    {
        "number": {"type": "integer", "minimum": 1},
        "target": {**STRING, "description": "The target's name, else `upstream` or `upstream/model`."},
        "upstream": STRING,
        "model": nullable({**STRING, "description": "The model that was asked for, where the plan says."}),
        "status": nullable({**INTEGER, "description": "Null where there was no answer."}),
        "error_kind": nullable(STRING),
        "started_ms": {**NUMBER, "description": "Since the exchange began."},
        "latency_ms": {**NUMBER, "description": "Until the answer's head, or until it failed."},
        "key": nullable({**INTEGER, "description": "Which of the upstream's keys, from 1."}),
    },
    description="One try at one target.",
)
_LOG: dict[str, Schema] = {
    "object": {"const": "log"},
    "id": STRING,
    "trace_id": STRING,
    "started_at": TIME,
    "latency_ms": NUMBER,
    "queue_ms": nullable(NUMBER),
    "first_byte_ms": nullable(NUMBER),
    "method": STRING,
    "path": STRING,
    "upstream": nullable(STRING),
    "target": nullable({**STRING, "description": "Which target answered, where the plan has several."}),
    "cache_status": {"enum": [*CACHE_STATUSES, None]},
    "attempt_count": COUNT,
    "attempts": {
        **array(ref("Attempt")),
        "description": "In the order they were made. Of very many, those in the middle are left out.",
    },
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
    "tags": array(STRING),
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
        "properties": _DRAFT,
        "anyOf": [{"required": [name]} for name in ("trace_id", "request_id", "tags", "selector")],
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
        "description": "What is left out stays as it is. `value` may be left out where a field is changed "
        "that Portkey has not.",
        "properties": {
            name: _DRAFT[name]
            for name in ("name", "kind", "value", "weight", "comment", "correction", "signal", "metadata")
        },
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
            "trace_id": nullable(STRING),
            "targets": array(
                record({"trace_id": STRING, "request_id": nullable(STRING), "matched": BOOLEAN})
            ),
            "name": STRING,
            "kind": {"enum": list(KINDS)},
            "signal": {"enum": list(SIGNALS)},
            "value": ANYTHING,
            "weight": NUMBER,
            "comment": nullable(STRING),
            "correction": ANYTHING,
            "source": record({"type": {"enum": list(SOURCE_TYPES)}, "id": nullable(STRING)}),
            "task": nullable(record({"id": STRING, "version": nullable(INTEGER)})),
            "metadata": nullable({"type": "object"}),
            "overrides": nullable(STRING),
            "valid": {**BOOLEAN, "description": "False while live feedback overrides it."},
            "created_at": TIME,
            "updated_at": nullable(TIME),
            "retracted_at": nullable(TIME),
            "matched": BOOLEAN,
        }
    ),
    "FeedbackHistory": record(
        {
            "object": {"const": "feedback.history"},
            "id": STRING,
            "data": array(
                record(
                    {
                        "number": INTEGER,
                        "changed_at": TIME,
                        "action": {"enum": ["changed", "retracted"]},
                        "fields": {"type": "object", "description": "The old values of what changed."},
                    }
                )
            ),
            "feedback": ref("Feedback"),
        }
    ),
    "FeedbackSummary": record(
        {
            "count": COUNT,
            "score_count": COUNT,
            "pairs": array(record({"value": INTEGER, "weight": NUMBER, "count": COUNT})),
            "sum_weight": NUMBER,
            "weighted_mean": nullable(NUMBER),
            "mean_weighted_value": nullable(NUMBER),
        },
        description="`count` is of all feedback, `score_count` of the scores, which the rest is about. "
        "weighted_mean is Σ(value·weight)/Σ(weight), mean_weighted_value Σ(value·weight)/score_count.",
    ),
    "Trace": record(_TRACE),
    "TraceDetail": record(
        {
            **_TRACE,
            "exchanges": array(ref("Log")),
            "exchanges_has_more": BOOLEAN,
            **_FEEDBACK_ITEMS,
            "feedback_by_name": array(ref("NameSummary")),
        }
    ),
    "Attempt": _ATTEMPT,
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
            "upstreams": {"type": "object", "additionalProperties": ref("Upstream")},
        }
    ),
    "Upstream": {
        "type": "object",
        "properties": {
            "base_url": STRING,
            "provider": STRING,
            "transport": STRING,
            "in_flight": COUNT,
            "retries_left": nullable(NUMBER),
            "keys": COUNT,
            "keys_resting": COUNT,
            "targets": array(ref("TargetHealth")),
        },
        "description": "Its settings, and how it is right now as this process sees it.",
    },
    "TargetHealth": record(
        {
            "target": STRING,
            "state": {"enum": list(STATES)},
            "failures": {**COUNT, "description": "In a row, up to now."},
            "rests_until": nullable(TIME),
            "last_error": nullable(STRING),
            "in_flight": COUNT,
        }
    ),
    "Index": {"type": "object"},
}
