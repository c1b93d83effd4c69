"""What operations of the OpenAPI document are put together from; which there are is in its neighbours."""

from __future__ import annotations

from typing import Any

from gateway.api.idempotency import MAX_IDEMPOTENCY_KEY_CHARS
from gateway.api.openapi_schemas import Schema, ref
from gateway.api.params import DEFAULT_LIMIT, MAX_LIMIT

TEXT: Schema = {"type": "string", "minLength": 1}

ERRORS = {
    "400": "The request cannot be used; `error.message` says why.",
    "404": "There is nothing by that id.",
    "405": "The path does not take this method; `Allow` lists what it takes.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "422": "The Idempotency-Key was used before with another body.",
    "500": "Something went wrong inside the gateway.",
    "503": "The store cannot answer right now.",
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A create repeated with the same key and body gets the first answer again.",
    "schema": {"type": "string", "maxLength": MAX_IDEMPOTENCY_KEY_CHARS},
}


def operation(summary: str, answers: str, *errors: str, fails: str = "Error") -> dict[str, Any]:
    """An operation that answers with one schema and fails with another; 405 and 500 every one can."""
    responses = {"200": answer(summary, answers)}
    for status in sorted({*errors, "405", "500"}):
        responses[status] = answer(ERRORS[status], fails)
    return {"summary": summary, "responses": responses}


def answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def takes(schema: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": ref(schema)}}}


def in_path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": TEXT}


def in_query(name: str, description: str, schema: Schema, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": schema,
        "required": required,
    }


def paging() -> list[dict[str, Any]]:
    return [
        in_query("limit", "Length of the page.", LIMIT),
        in_query("after", "The `last_id` of the page before.", TEXT),
    ]
