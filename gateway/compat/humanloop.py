"""Humanloop: ratings, actions, issues, corrections and comments of its v4 API, judgments of its v5 API.

Only what its clients send and read, and what taking feedback back means here; source of every rule:
docs/wire/humanloop.md. Projects, evaluators and their allowed labels do not exist here: any name and label
passes.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from gateway.compat.fields import (
    MAX_ID_CHARS,
    BadField,
    Fields,
    Place,
    as_fields,
    read_json,
    read_object,
)
from gateway.errors import GatewayError, MethodNotAllowed, PayloadTooLarge
from gateway.feedback.item import json_type
from gateway.feedback.services import FeedbackServices
from gateway.feedback.signals import signal_of
from gateway.feedback.vendor import Call, Endpoint, Refusal, Shared, Vendor
from gateway.jsonio import dumps, iso_time
from gateway.records import (
    UNSET,
    Feedback,
    FeedbackDraft,
    Kind,
    Retraction,
    Signal,
    SourceType,
    TargetId,
    kind_of,
)

MAX_ITEMS = 1_000
MAX_UNSETS = 100
"""Items of one request, and how many of them may take back: each of those is looked for on its own, and until
the last is done nothing else is stored."""
CORRECTION, COMMENT, ACTION = "correction", "comment", "action"

_SOURCES: Mapping[Any, SourceType] = {"llm": "LLM_JUDGE", "python": "CODE", "external": "API"}
"""Evaluator types; every other is a person's."""

_FAULTS = {
    "json": "value_error.jsondecode",
    "missing": "value_error.missing",
    "type": "type_error",
    "value": "value_error",
}
"""FastAPI's words for what is wrong, as the vendor's server has them in `type`."""


@dataclass(slots=True, frozen=True)
class Given:
    """One item of a request: what to do, and what its answer repeats."""

    act: FeedbackDraft | Retraction
    name: str
    target_id: str
    user: str | None


def vendor(services: FeedbackServices) -> Vendor:
    async def feedback(call: Call) -> bytes:
        content = read_json(call.body)
        items = parse_feedback(content)
        return await services.feedback.apply(
            call.key_id,
            [item.act for item in items],
            render=lambda results: given_back(items, results, is_batch=isinstance(content, list)),
            once=call.once,
        )

    async def shared_feedback(call: Call) -> bytes:
        if read_json(call.body) == []:
            raise BadField("has no items; type, value and data_id are required", place=(), fault="value")
        return await feedback(call)

    async def judgment(call: Call) -> bytes:
        item = parse_judgment(call.body)
        return await services.feedback.apply(
            call.key_id, [item.act], render=lambda results: logged(item, results[0]), once=call.once
        )

    return Vendor(
        name="humanloop",
        render_error=render_error,
        endpoints=(
            Endpoint("/v4/feedback", {"POST": feedback}),
            Endpoint("/v5/evaluators/log", {"POST": judgment}),
        ),
        shared=Shared(claims=claims, create=shared_feedback, headers=("x-api-key",)),
    )


def claims(probe: Mapping[str, Any], _: Any) -> bool:
    return "type" in probe and any(name in probe for name in ("data_id", "value", "unset"))


# --- v4 ---


def parse_feedback(content: Any) -> list[Given]:
    """The items of a body that is one object or an array of them, in order. Raises BadField."""
    if not isinstance(content, list):
        return [_item(as_fields(content, ()))]
    _check_count(len(content), MAX_ITEMS, "items")
    items = [_item(as_fields(member, (index,))) for index, member in enumerate(content)]
    _check_count(sum(isinstance(item.act, Retraction) for item in items), MAX_UNSETS, "items with unset")
    return items


def _check_count(count: int, limit: int, what: str) -> None:
    if count > limit:
        problem = f"has {count} {what}, the limit is {limit}; split it over several requests"
        raise BadField(problem, place=(), fault="value")


def _item(fields: Fields) -> Given:
    name = fields.required_text("type", max_chars=MAX_ID_CHARS)
    is_unset = fields.flag("unset", default=False)
    label = _label(fields, "value")
    if label is None and not is_unset:
        raise fields.missing("value", "is required unless unset is true")
    written = name if name in (CORRECTION, COMMENT) else None
    if written and label is not None:
        _check_words(fields, "value", written)
    target = TargetId(fields.required_text("data_id", max_chars=MAX_ID_CHARS), first="exchange")
    user = fields.text("user", max_chars=MAX_ID_CHARS)
    created_at_ms = fields.time_ms("created_at")
    act: FeedbackDraft | Retraction
    if is_unset:
        act = Retraction(target=target, name=name, value=UNSET if label is None else label, source_id=user)
    else:
        act = FeedbackDraft(
            targets=(target,),
            name=name,
            source_type="HUMAN",
            source_id=user,
            created_at_ms=created_at_ms,
            **_content(name, label, written),
        )
    return Given(act, name, target.id, user)


def given_back(items: Sequence[Given], results: Sequence[Feedback | None], *, is_batch: bool) -> bytes:
    """The answer mirrors the request: an object for an object, an array for an array."""
    shapes = [_item_shape(item, result) for item, result in zip(items, results, strict=True)]
    return dumps(shapes if is_batch else shapes[0])


def _item_shape(item: Given, result: Feedback | None) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": item.name, "value": None, "data_id": item.target_id}
    if item.user is not None:
        shape["user"] = item.user
    if result is not None:
        shape["value"] = _value_of(result)
        shape["created_at"] = f"{iso_time(result.created_at_ms)}000Z"
    shape["id"] = _id(result)
    return shape


# --- v5 ---


def parse_judgment(body: bytes) -> Given:
    """The judgment of an evaluator; null takes earlier ones back. Raises BadField."""
    fields = read_object(body)
    target = TargetId(fields.required_text("parent_id", max_chars=MAX_ID_CHARS), first="exchange")
    path = fields.text("path", max_chars=MAX_ID_CHARS)
    name = path or fields.text("id", max_chars=MAX_ID_CHARS)
    if not name:
        raise fields.missing("path", "or id is required")
    if "judgment" not in fields.content:
        raise fields.missing("judgment", "is required; null takes feedback back")
    judgment = _label(fields, "judgment")
    written = CORRECTION if path == CORRECTION else None
    if written and judgment is not None:
        _check_words(fields, "judgment", written)
    user = fields.text("user", max_chars=MAX_ID_CHARS)
    metadata = fields.metadata()
    created_at_ms = fields.time_ms("created_at")
    source_type = _source_type(fields)
    fields.flag("save", default=True)
    act: FeedbackDraft | Retraction
    if judgment is None:
        act = Retraction(target=target, name=name, source_id=user)
    else:
        act = FeedbackDraft(
            targets=(target,),
            name=name,
            source_type=source_type,
            source_id=user,
            metadata=metadata,
            created_at_ms=created_at_ms,
            **_content(name, judgment, written),
        )
    return Given(act, name, target.id, user)


def logged(item: Given, result: Feedback | None) -> bytes:
    return dumps({"id": _id(result), "parent_id": item.target_id, "version_id": f"evv_{item.name}"})


def _source_type(fields: Fields) -> SourceType:
    spec = fields.fields("spec")
    evaluator_type = spec.content.get("evaluator_type") if spec else None
    return _SOURCES.get(evaluator_type, "HUMAN") if isinstance(evaluator_type, str) else "HUMAN"


# --- both ---


class _Content(TypedDict):
    kind: Kind
    signal: Signal
    value: Any
    comment: str | None
    correction: str | None


def _content(name: str, label: Any, written: str | None) -> _Content:
    """What a label says. One that is `written` (a correction, a comment) is kept as that, not as a value."""
    value = None if written else label
    kind = kind_of(value)
    return {
        "kind": kind,
        "signal": "implicit" if name == ACTION else signal_of(name, kind, value),
        "value": value,
        "comment": label if written == COMMENT else None,
        "correction": label if written == CORRECTION else None,
    }


def _label(fields: Fields, name: str) -> Any:
    """A boolean, number, string or array of strings; None when it is left out or null."""
    given = fields.content.get(name)
    if isinstance(given, list):
        return list(fields.texts(name) or ())
    if isinstance(given, dict):
        raise fields.wrong_type(name, "a boolean, a number, a string or an array of strings")
    return given


def _check_words(fields: Fields, name: str, written: str) -> None:
    words = fields.content[name]
    if not isinstance(words, str):
        raise fields.bad(name, f"must be a string for a {written}, not {json_type(words)}", "type")
    if not words:
        raise fields.bad(name, f"must not be empty for a {written}")


def _value_of(feedback: Feedback) -> Any:
    if feedback.value is not None:
        return feedback.value
    return feedback.comment if feedback.correction is None else feedback.correction


def _id(feedback: Feedback | None) -> str:
    """The vendor's spelling of the id: of a new one where nothing was found to take back."""
    return f"ann_{uuid.UUID(feedback.id).hex if feedback else uuid.uuid4().hex}"


# --- errors ---


def render_error(error: GatewayError, _: str) -> Refusal:
    if isinstance(error, BadField):
        return _unprocessable(("body", *error.place), error.local_message, _FAULTS[error.fault])
    if error.status == 422:  # a client's own model of a 422 wants the array
        return _unprocessable(("header", "Idempotency-Key"), error.message, "value_error")
    status = min(500, error.status)  # its clients know one failure of a server
    return Refusal(status, dumps({"detail": _words(error)}))


def _unprocessable(loc: Place, msg: str, fault: str) -> Refusal:
    return Refusal(422, dumps({"detail": [{"loc": loc, "msg": msg, "type": fault}]}))


def _words(error: GatewayError) -> str:
    if isinstance(error, MethodNotAllowed):
        return "Method Not Allowed"
    if isinstance(error, PayloadTooLarge):
        return "Request body too large"
    if error.status == 401:
        return "Invalid API key"
    return "Internal error" if error.status >= 500 else error.message
