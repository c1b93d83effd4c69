"""Feedback tasks and their inboxes in the OpenAPI document: paths and schemas, for `openapi` to take in."""

from __future__ import annotations

from typing import Any

from gateway.api.openapi_parts import IDEMPOTENCY_KEY, in_path, in_query, operation, paging, takes
from gateway.api.openapi_schemas import (
    BOOLEAN,
    COUNT,
    STRING,
    TIME,
    Schema,
    array,
    list_of,
    nullable,
    record,
)
from gateway.api.openapi_schemas import SCHEMAS as OTHERS
from gateway.feedback.task_body import (
    DEFAULT_CLAIM_S,
    DEFAULT_CLAIMS,
    MAX_CLAIM_S,
    MAX_CLAIMS,
    MAX_REVIEWER_CHARS,
)
from gateway.feedback.tasks import (
    MAX_INSTRUCTION_CHARS,
    MAX_METADATA_PAIRS,
    MAX_NAME_CHARS,
    MAX_TAG_CHARS,
    MAX_TAGS,
)

_VERSION: Schema = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
_REVIEWER: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_REVIEWER_CHARS}
_SCHEMA: Schema = {
    "type": "object",
    "description": "A JSON Schema of any draft from 4 to 2020-12, as `$schema` says; `$ref` stays inside.",
}
_SELECTOR: Schema = {
    "type": "object",
    "description": "Which exchanges the task is about: those with every tag and every piece of metadata.",
    "properties": {
        "tags": nullable(
            {
                **array({"type": "string", "minLength": 1, "maxLength": MAX_TAG_CHARS}),
                "maxItems": MAX_TAGS,
            }
        ),
        "metadata": nullable(
            {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                "maxProperties": MAX_METADATA_PAIRS,
            }
        ),
    },
    "additionalProperties": False,
}
_FIELDS: dict[str, Schema] = {
    "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_CHARS},
    "schema": _SCHEMA,
    "json_schema": {"description": "Another name for `schema`.", **_SCHEMA},
    "instruction": nullable({"type": "string", "maxLength": MAX_INSTRUCTION_CHARS}),
    "selector": nullable(_SELECTOR),
}

SCHEMAS: dict[str, Schema] = {
    "FeedbackTaskDraft": {
        "type": "object",
        "properties": _FIELDS,
        "additionalProperties": False,
        "required": ["name"],
        "oneOf": [{"required": ["schema"]}, {"required": ["json_schema"]}],
    },
    "FeedbackTaskChange": {
        "type": "object",
        "description": "What is left out stays as it is. Anything but the name makes a new version.",
        "properties": _FIELDS,
        "additionalProperties": False,
        "minProperties": 1,
        "not": {"required": ["schema", "json_schema"]},
    },
    "FeedbackTask": record(
        {
            "object": {"const": "feedback_task"},
            "id": STRING,
            "name": STRING,
            "version": _VERSION,
            "schema": {"type": "object"},
            "instruction": STRING,
            "selector": record(
                {
                    "tags": array(STRING),
                    "metadata": {"type": "object", "additionalProperties": STRING},
                }
            ),
            "created_at": TIME,
            "updated_at": nullable(TIME),
            "archived_at": nullable(TIME),
        }
    ),
    "FeedbackTaskList": list_of("FeedbackTask"),
    "InboxItem": record(
        {
            **OTHERS["Log"]["properties"],
            "claim": nullable(record({"by": STRING, "until": TIME})),
        }
    ),
    "Inbox": list_of("InboxItem"),
    "InboxClaim": {
        "type": "object",
        "properties": {
            "reviewer": _REVIEWER,
            "limit": nullable(
                {"type": "integer", "minimum": 1, "maximum": MAX_CLAIMS, "default": DEFAULT_CLAIMS}
            ),
            "seconds": nullable(
                {"type": "integer", "minimum": 1, "maximum": MAX_CLAIM_S, "default": DEFAULT_CLAIM_S}
            ),
        },
        "additionalProperties": False,
        "required": ["reviewer"],
    },
    "InboxReleased": record({"object": {"const": "inbox.released"}, "released": COUNT}),
}


def paths() -> dict[str, Any]:
    body = ("400", "408", "413", "415", "503")
    task = [in_path("id", "A feedback task's id.")]
    one = operation("Shows a task, or an older version of it.", "FeedbackTask", "400", "404", "503")
    inbox = operation("Lists what nobody has graded yet, oldest first.", "Inbox", "400", "404", "503")
    release = operation("Gives claims back.", "InboxReleased", "400", "404", "503")
    return {
        "/v1/feedback-tasks": {
            "get": operation("Lists feedback tasks, newest first.", "FeedbackTaskList", "400", "503")
            | {"parameters": [in_query("include_archived", "With archived ones.", BOOLEAN), *paging()]},
            "post": operation("Stores a feedback task.", "FeedbackTask", *body, "422")
            | {"parameters": [IDEMPOTENCY_KEY], "requestBody": takes("FeedbackTaskDraft")},
        },
        "/v1/feedback-tasks/{id}": {
            "parameters": task,
            "get": one | {"parameters": [in_query("version", "The newest without it.", _VERSION)]},
            "put": operation("Changes a task by a new version.", "FeedbackTask", *body, "404")
            | {"requestBody": takes("FeedbackTaskChange")},
            "delete": _archive(),
        },
        "/v1/feedback-tasks/{id}/archive": {"parameters": task, "post": _archive()},
        "/v1/feedback-tasks/{id}/inbox": {
            "parameters": task,
            "get": inbox
            | {
                "parameters": [
                    in_query("reviewer", "Without what others than this one have claimed.", _REVIEWER),
                    *paging(),
                ]
            },
        },
        "/v1/feedback-tasks/{id}/inbox/claims": {
            "parameters": task,
            "post": operation("Claims the oldest that are free.", "Inbox", *body, "404")
            | {"requestBody": takes("InboxClaim")},
            "delete": release
            | {
                "parameters": [
                    in_query("reviewer", "Whose claims.", _REVIEWER, required=True),
                    in_query("request_id", "Only on this exchange.", {"type": "string", "minLength": 1}),
                ]
            },
        },
    }


def _archive() -> dict[str, Any]:
    return operation("Closes a task to new feedback.", "FeedbackTask", "400", "404", "503")
