"""What operations of the OpenAPI document are put together from; which there are is in its neighbours."""

from __future__ import annotations

from typing import Any

from gateway.api.idempotency import MAX_IDEMPOTENCY_KEY_CHARS
from gateway.api.openapi_schemas import Schema, ref
from gateway.api.params import DEFAULT_LIMIT, MAX_LIMIT
from gateway.auth.keys import KEY_HEADERS

TEXT: Schema = {"type": "string", "minLength": 1}

ERRORS = {
    "400": "The request cannot be used; `error.message` says why.",
    "401": "The configuration has `keys`, and none of them was sent.",
    "404": "There is nothing by that id.",
    "405": "The path does not take this method; `Allow` lists what it takes.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is compressed; `content-encoding` must be left out.",
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
SECURITY_SCHEMES: dict[str, Schema] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of the gateway's, where it has any.",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "The key as password; any user name."},
    **{
        name: {"type": "apiKey", "in": "header", "name": name}
        for name in (header.decode() for header in KEY_HEADERS)
        if name != "authorization"
    },
}
SECURITY: list[dict[str, Any]] = [{}, *({name: []} for name in SECURITY_SCHEMES)]
"""Optional: without `keys` in the configuration nothing is asked for."""


def operation(summary: str, answers: str, *errors: str, fails: str = "Error") -> dict[str, Any]:
    """An operation that answers with one schema and fails with another; 401, 405 and 500 every one can."""
    return {
        "summary": summary,
        "responses": {"200": answer(summary, answers), **failures("401", *errors, fails=fails)},
    }


def open_operation(summary: str, answers: str) -> dict[str, Any]:
    """The same for one that asks for no key."""
    return {
        "summary": summary,
        "security": [],
        "responses": {"200": answer(summary, answers), **failures()},
    }


def failures(*errors: str, fails: str = "Error") -> dict[str, Any]:
    return {status: answer(ERRORS[status], fails) for status in sorted({*errors, "405", "500"})}


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
