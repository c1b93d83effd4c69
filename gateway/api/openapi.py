"""The OpenAPI document of our own endpoints, as data. What is proxied is the upstream's to describe."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway import __version__
from gateway.api import openapi_summary, openapi_tasks
from gateway.api.openapi_schemas import BOOLEAN, SCHEMAS, STRING, Schema, ref
from gateway.api.params import (
    DEFAULT_LIMIT,
    FEEDBACK,
    LOGS,
    MAX_LIMIT,
    MAX_METADATA_PARAMETERS,
    TRACES,
    ListParameters,
)
from gateway.records import KINDS, SIGNALS, SOURCE_TYPES

_VALUE: Schema = {"type": "integer", "minimum": -10, "maximum": 10}
_NUMBER: Schema = {"type": "number", "minimum": -(10**15) + 1, "maximum": 10**15 - 1}
_MEAN: Schema = {"type": "number", "minimum": -10, "maximum": 10}
_TIME: Schema = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": 0, "maximum": 253402300799},
    ]
}
_TEXT: Schema = {"type": "string", "minLength": 1}

_PARAMETERS: dict[str, tuple[str, Schema]] = {
    "trace_id": ("Of this trace.", _TEXT),
    "user": ("Metadata `_user`.", _TEXT),
    "organisation": ("Metadata `_organisation`.", _TEXT),
    "prompt": ("Metadata `_prompt`.", _TEXT),
    "environment": ("Metadata `_environment`.", _TEXT),
    "since": ("At this time or later: ISO 8601 or Unix seconds.", _TIME),
    "until": ("Before this time: ISO 8601 or Unix seconds.", _TIME),
    "request_id": ("Given to this exchange.", _TEXT),
    "name": ("Of this name.", _TEXT),
    "kind": ("Of this kind of value.", {"enum": list(KINDS)}),
    "signal": ("Rated, done or written.", {"enum": list(SIGNALS)}),
    "source_type": ("By this kind of source.", {"enum": list(SOURCE_TYPES)}),
    "source_id": ("By this user, reviewer or judge.", _TEXT),
    "task_id": ("Given for this task.", _TEXT),
    "label": ("Whose value is this text, `true` or `false`.", _TEXT),
    "include_retracted": ("With what was taken back.", BOOLEAN),
    "min_value": ("With a score of at least this.", _VALUE),
    "max_value": ("With a score of at most this.", _VALUE),
    "model": ("Requested or answering model.", _TEXT),
    "upstream": ("Name of the upstream.", _TEXT),
    "status": (
        "HTTP status, or `error` or `ok`.",
        {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599}, {"enum": ["error", "ok"]}]},
    ),
    "error_kind": ("What went wrong, e.g. `upstream_aborted`.", _TEXT),
    "streamed": ("Whether the answer was streamed.", BOOLEAN),
    "has_feedback": ("With feedback, or without any.", BOOLEAN),
    "min_weighted_mean": ("Weighted mean of at least this.", _MEAN),
    "max_weighted_mean": ("Weighted mean of at most this.", _MEAN),
    "limit": (
        "Length of the page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    "after": ("The `last_id` of the page before.", _TEXT),
}
_OF_FEEDBACK: dict[str, tuple[str, Schema]] = {
    "trace_id": ("Given to this trace or to an exchange of it, or under this id.", _TEXT),
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

_ERRORS = {
    "400": "The request cannot be used; `error.message` says why.",
    "404": "There is nothing by that id.",
    "405": "The path does not take this method; `Allow` lists what it takes.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "422": "The Idempotency-Key was used before with another body.",
    "500": "Something went wrong inside the gateway.",
    "503": "The store cannot answer right now.",
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
        "paths": {
            **openapi_summary.paths(_parameters, _OF_FEEDBACK),
            **_feedback_paths(),
            **openapi_tasks.paths(),
            **_read_paths(),
            **_health_paths(),
        },
        "components": {"schemas": {**SCHEMAS, **openapi_tasks.SCHEMAS, **openapi_summary.SCHEMAS}},
    }


def _feedback_paths() -> dict[str, Any]:
    idempotency_key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A create repeated with the same key and body gets the first answer again.",
        "schema": {"type": "string", "maxLength": 255},
    }
    body = ("408", "413", "500")
    fails = "FeedbackError"
    return {
        "/v1/feedback": {
            "get": _operation("Lists feedback, newest first.", "FeedbackList", "400", "503", fails=fails)
            | {"parameters": _parameters(FEEDBACK, _OF_FEEDBACK)},
            "post": _operation("Stores all items or none.", "FeedbackSaved", "400", "422", *body, fails=fails)
            | {"parameters": [idempotency_key], "requestBody": _takes("FeedbackDrafts")},
        },
        "/v1/feedback/{id}": {
            "parameters": [_in_path("id", "A feedback id.")],
            "get": _operation("Shows one piece of feedback.", "Feedback", "400", "404", "503", fails=fails),
            "put": _operation("Changes it.", "FeedbackSaved", "400", "404", *body, fails=fails)
            | {"requestBody": _takes("FeedbackChange")},
            "delete": _operation("Takes it back.", "FeedbackDeleted", "404", "503", fails=fails),
        },
        "/v1/feedback/{id}/history": {
            "parameters": [_in_path("id", "A feedback id, also of feedback that was taken back.")],
            "get": _operation(
                "Shows what it was before each change.", "FeedbackHistory", "400", "404", "503", fails=fails
            ),
        },
    }


def _read_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for noun, name, known in (("traces", "Trace", TRACES), ("logs", "Log", LOGS)):
        member = "trace_id" if noun == "traces" else "id"
        paths[f"/v1/{noun}"] = {
            "get": _operation(f"Lists {noun}, newest first.", f"{name}List", "400", "503")
            | {"parameters": _parameters(known)}
        }
        paths[f"/v1/{noun}/{{{member}}}"] = {
            "parameters": [_in_path(member, "Percent-encoded; a trace id may contain any visible ASCII.")],
            "get": _operation(f"Shows one of the {noun} in full.", f"{name}Detail", "400", "404", "503"),
        }
    return paths


def _health_paths() -> dict[str, Any]:
    readyz = _operation("Whether the gateway can do its work.", "Readiness")
    readyz["responses"]["503"] = _answer("It cannot; `store` says why.", "Readiness")
    index = _operation("What this is and where to go.", "Index")
    index["responses"]["200"]["content"]["text/html"] = {"schema": STRING}
    openapi = _operation("This document.", "Index")
    return {
        "/": {"get": index},
        "/healthz": {"get": _operation("Whether the process is up.", "Health")},
        "/readyz": {"get": readyz},
        "/openapi.json": {"get": openapi},
    }


def _operation(summary: str, answers: str, *errors: str, fails: str = "Error") -> dict[str, Any]:
    responses = {"200": _answer(summary, answers)}
    for status in sorted({*errors, "405", "500"}):
        responses[status] = _answer(_ERRORS[status], fails)
    return {"summary": summary, "responses": responses}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def _takes(schema: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": ref(schema)}}}


def _in_path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": _TEXT}


def _parameters(
    known: ListParameters, special: Mapping[str, tuple[str, Schema]] = MappingProxyType({})
) -> list[dict[str, Any]]:
    described = {**_PARAMETERS, **special}
    named = [
        {"name": name, "in": "query", "description": described[name][0], "schema": described[name][1]}
        for name in known.known
    ]
    return [*named, _METADATA]
