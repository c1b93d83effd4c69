"""The OpenAPI document of our own endpoints, as data. What is proxied is the upstream's to describe."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway import __version__
from gateway.api import openapi_routing, openapi_summary, openapi_tasks
from gateway.api.openapi_parts import (
    IDEMPOTENCY_KEY,
    LIMIT,
    SECURITY,
    SECURITY_SCHEMES,
    TEXT,
    answer,
    in_path,
    open_operation,
    operation,
    takes,
)
from gateway.api.openapi_schemas import BOOLEAN, SCHEMAS, STRING, Schema
from gateway.api.params import (
    FEEDBACK,
    LAST_TIME_S,
    LOGS,
    MAX_METADATA_PARAMETERS,
    TRACES,
    ListParameters,
)
from gateway.capture.attempts import CACHE_STATUSES
from gateway.records import KINDS, SIGNALS, SOURCE_TYPES

_VALUE: Schema = {"type": "integer", "minimum": -10, "maximum": 10}
_NUMBER: Schema = {"type": "number", "minimum": -(10**15) + 1, "maximum": 10**15 - 1}
_MEAN: Schema = {"type": "number", "minimum": -10, "maximum": 10}
_TIME: Schema = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": 0, "maximum": LAST_TIME_S},
    ]
}

_PARAMETERS: dict[str, tuple[str, Schema]] = {
    "trace_id": ("Of this trace.", TEXT),
    "user": ("Metadata `_user`.", TEXT),
    "organisation": ("Metadata `_organisation`.", TEXT),
    "prompt": ("Metadata `_prompt`.", TEXT),
    "environment": ("Metadata `_environment`.", TEXT),
    "since": ("At this time or later: ISO 8601 or Unix seconds.", _TIME),
    "until": ("Before this time: ISO 8601 or Unix seconds.", _TIME),
    "request_id": ("Given to this exchange.", TEXT),
    "name": ("Of this name.", TEXT),
    "kind": ("Of this kind of value.", {"enum": list(KINDS)}),
    "signal": ("Rated, done or written.", {"enum": list(SIGNALS)}),
    "source_type": ("By this kind of source.", {"enum": list(SOURCE_TYPES)}),
    "source_id": ("By this user, reviewer or judge.", TEXT),
    "task_id": ("Given for this task.", TEXT),
    "label": ("Whose value is this text, `true` or `false`.", TEXT),
    "include_retracted": ("With what was taken back.", BOOLEAN),
    "min_value": ("With a score of at least this.", _VALUE),
    "max_value": ("With a score of at most this.", _VALUE),
    "model": ("Requested or answering model.", TEXT),
    "upstream": ("Name of the upstream.", TEXT),
    "target": ("Label of the target that answered, where a plan has several.", TEXT),
    "cache_status": ("What the response cache did.", {"enum": list(CACHE_STATUSES)}),
    "retried": ("With more than one attempt, or with one at most.", BOOLEAN),
    "status": (
        "HTTP status, or `error` or `ok`.",
        {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"enum": ["error", "ok"]}]},
    ),
    "error_kind": ("What went wrong, e.g. `upstream_aborted`.", TEXT),
    "streamed": ("Whether the answer was streamed.", BOOLEAN),
    "has_feedback": ("With feedback, or without any.", BOOLEAN),
    "min_weighted_mean": ("Weighted mean of at least this.", _MEAN),
    "max_weighted_mean": ("Weighted mean of at most this.", _MEAN),
    "limit": ("Length of the page.", LIMIT),
    "after": ("The `last_id` of the page before.", TEXT),
}
_OF_FEEDBACK: dict[str, tuple[str, Schema]] = {
    "trace_id": ("Given to this trace or to an exchange of it, or under this id.", TEXT),
    "min_value": ("A number of at least this; true is 1 and false 0.", _NUMBER),
    "max_value": ("A number of at most this; true is 1 and false 0.", _NUMBER),
}
_METADATA = {
    "name": "metadata",
    "in": "query",
    "description": "`metadata[key]=value`: metadata has this value, compared as text.",
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "maxProperties": MAX_METADATA_PARAMETERS},
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1. Every answer of every endpoint is in it; test_openapi.py tries."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "feedback-gateway",
            "version": __version__,
            "description": "Feedback on traces, and what was recorded of them. Everything else under /v1 is "
            "forwarded to an upstream.",
        },
        "security": SECURITY,
        "paths": {
            **openapi_summary.paths(_parameters, _OF_FEEDBACK),
            **_feedback_paths(),
            **openapi_tasks.paths(),
            **_read_paths(),
            **openapi_routing.paths(),
            **_health_paths(),
        },
        "components": {
            "schemas": {
                **SCHEMAS,
                **openapi_tasks.SCHEMAS,
                **openapi_summary.SCHEMAS,
                **openapi_routing.SCHEMAS,
            },
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _feedback_paths() -> dict[str, Any]:
    body = ("408", "413", "415")
    fails = "FeedbackError"
    return {
        "/v1/feedback": {
            "get": operation("Lists feedback, newest first.", "FeedbackList", "400", "503", fails=fails)
            | {"parameters": _parameters(FEEDBACK, _OF_FEEDBACK)},
            "post": operation("Stores all items or none.", "FeedbackSaved", "400", "422", *body, fails=fails)
            | {
                "description": "Other vendors' SDKs post here, too: what has their bodies or is refused with "
                "their key's header, is answered in their shapes.",
                "parameters": [IDEMPOTENCY_KEY],
                "requestBody": takes("FeedbackDrafts"),
            },
        },
        "/v1/feedback/{id}": {
            "parameters": [in_path("id", "A feedback id.")],
            "get": operation("Shows one piece of feedback.", "Feedback", "400", "404", "503", fails=fails),
            "put": operation("Changes it.", "FeedbackSaved", "400", "404", *body, fails=fails)
            | {"requestBody": takes("FeedbackChange")},
            "delete": operation("Takes it back.", "FeedbackDeleted", "404", "503", fails=fails),
        },
        "/v1/feedback/{id}/history": {
            "parameters": [in_path("id", "A feedback id, also of feedback that was taken back.")],
            "get": operation(
                "Shows what it was before each change.", "FeedbackHistory", "400", "404", "503", fails=fails
            ),
        },
    }


def _read_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for noun, name, known in (("traces", "Trace", TRACES), ("logs", "Log", LOGS)):
        member = "trace_id" if noun == "traces" else "id"
        paths[f"/v1/{noun}"] = {
            "get": operation(f"Lists {noun}, newest first.", f"{name}List", "400", "503")
            | {"parameters": _parameters(known)}
        }
        paths[f"/v1/{noun}/{{{member}}}"] = {
            "parameters": [in_path(member, "Percent-encoded; a trace id may contain any visible ASCII.")],
            "get": operation(f"Shows one of the {noun} in full.", f"{name}Detail", "400", "404", "503"),
        }
    return paths


def _health_paths() -> dict[str, Any]:
    readyz = open_operation("Whether the gateway can do its work.", "Readiness")
    readyz["responses"]["503"] = answer("It cannot; `store` says why.", "Readiness")
    index = open_operation("What this is and where to go.", "Index")
    index["responses"]["200"]["content"]["text/html"] = {"schema": STRING}
    openapi = open_operation("This document.", "Index")
    return {
        "/": {"get": index},
        "/healthz": {"get": open_operation("Whether the process is up.", "Health")},
        "/readyz": {"get": readyz},
        "/openapi.json": {"get": openapi},
    }


def _parameters(
    known: ListParameters, special: Mapping[str, tuple[str, Schema]] = MappingProxyType({})
) -> list[dict[str, Any]]:
    described = {**_PARAMETERS, **special}
    named = [
        {"name": name, "in": "query", "description": described[name][0], "schema": described[name][1]}
        for name in known.known
    ]
    return [*named, _METADATA]
