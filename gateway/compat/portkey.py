"""Portkey: create, bulk create and update, and its errors, which everything native under feedback has too.

Bodies are read by `gateway.feedback.body`, which knows more fields than the vendor. Source of every answer
and code: docs/wire/portkey.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import ClientError, GatewayError, InvalidField, MethodNotAllowed, NotFound
from gateway.feedback.body import TARGETS_OF_OURS, fits, parse_create, parse_update, refused
from gateway.feedback.services import FeedbackServices
from gateway.feedback.vendor import Call, Endpoint, Refusal, Shared, Vendor
from gateway.jsonio import dumps, readable
from gateway.records import Feedback

_TRACE_ID_SPELLINGS = ("trace_id", "traceID", "traceId")
_METHOD_CODE = "01"
_KEY_CODE = "03"
_VENDORS_METHODS = ("POST", "PUT")

_ID_IN_BODY = "undefined"
"""What Node's SDK has for an id when a published sample misspells the argument's name."""


def vendor(services: FeedbackServices) -> Vendor:
    async def create(call: Call) -> bytes:
        drafts = parse_create(call.body)
        try:
            return await services.feedback.apply(call.key_id, drafts, render=_saved, once=call.once)
        except ClientError as error:
            if error.item is None:
                raise
            raise refused(error, call.body) from error

    async def change(call: Call) -> bytes:
        wanted, id_in_body = parse_update(call.body)
        feedback_id = call.path_params["id"]
        if feedback_id == _ID_IN_BODY and id_in_body is not None:
            feedback_id = id_in_body
        try:
            changed = await services.feedback.change(call.key_id, feedback_id, wanted, check=fits(wanted))
        except InvalidField as error:
            raise refused(error) from error
        return _answer("Feedback successfully updated", [changed])

    return Vendor(
        name="portkey",
        render_error=render_error,
        endpoints=(
            Endpoint("/v1/feedback/{id}", {"PUT": change}),
            Endpoint("/feedback/{id}", {"PUT": change}),
        ),
        shared=Shared(claims=claims, create=create, also_claims=also_claims),
    )


def claims(probe: Mapping[str, Any], _: Any) -> bool:
    return any(name in probe for name in _TRACE_ID_SPELLINGS)


def also_claims(probe: Mapping[str, Any]) -> bool:
    """Native bodies that the vendor does not have."""
    return "overrides" in probe or any(name in probe for name in TARGETS_OF_OURS)


def render_error(error: GatewayError, method: str) -> Refusal:
    """Python shows `error.message`, Node the top-level `message`, so both carry the same text."""
    status, code, kind, message = error.status, error.code, error.type, error.message
    if isinstance(error, MethodNotAllowed):
        code, message = _METHOD_CODE, f"{message}. Error code: {_METHOD_CODE}"
    elif isinstance(error, NotFound) and method == "PUT":
        message = "Invalid Feedback Id passed. Nothing to update"
    elif status == 401:
        code, kind = _KEY_CODE, "authentication_error"
    elif status >= 500 and method in _VENDORS_METHODS:
        # The vendor's calls know one failure of the server; ours tell them apart.
        status, code, message = 500, "internal", "Something went wrong"
    text = readable(message)
    cause = {
        "message": text,
        "type": kind,
        "code": code,
        "param": None if error.param is None else readable(error.param),
    }
    return Refusal(status, dumps({"status": "failure", "message": text, "error": cause}))


def _saved(results: Sequence[Feedback | None]) -> bytes:
    return _answer("Feedback successfully saved", [result for result in results if result is not None])


def _answer(message: str, stored: Sequence[Feedback]) -> bytes:
    return dumps(
        {"status": "success", "message": message, "feedback_ids": [feedback.id for feedback in stored]}
    )
