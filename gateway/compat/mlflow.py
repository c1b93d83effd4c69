"""MLflow: assessments of a trace (feedback and expectations), created, read, changed, overridden, deleted.

Only what its client sends and reads; source of every rule: docs/wire/mlflow.md. The client parses every
answer into a protobuf message, so no field may have another type than that message gives it. Traces
themselves, label schemas and issues are not here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.compat.fields import MAX_ID_CHARS, BadField, Fields, read_json, read_object
from gateway.errors import ClientError, GatewayError, NotFound, UnknownPath
from gateway.feedback.item import MAX_METADATA_BYTES, json_type
from gateway.feedback.service import FeedbackService
from gateway.feedback.services import FeedbackServices
from gateway.feedback.signals import signal_of
from gateway.feedback.vendor import Call, Endpoint, Refusal, Vendor
from gateway.jsonio import dumps, dumps_text, iso_time
from gateway.records import (
    DEFAULT_NAME,
    MAX_SCORE,
    MIN_SCORE,
    UNSET,
    Feedback,
    FeedbackChange,
    FeedbackDraft,
    SourceType,
    TargetId,
    Unset,
    kind_of,
)

PREFIX = "/api/3.0/mlflow"
ASSESSMENTS = PREFIX + "/traces/{trace_id}/assessments"
ASSESSMENT = ASSESSMENTS + "/{assessment_id}"

MAX_NAME_CHARS = 250
MAX_SOURCE_ID_CHARS = 250
MAX_SPAN_ID_CHARS = 50

SPAN_ID, ERROR = "_span_id", "_error"
"""Metadata keys for what a record has no field for. Answers keep them out of `metadata`."""

_RESERVED = frozenset({SPAN_ID, ERROR})

_DEFAULT_SOURCE_ID = "default"
_UNSPECIFIED = "SOURCE_TYPE_UNSPECIFIED"
_SOURCE_TYPES: Mapping[str, SourceType] = {
    "HUMAN": "HUMAN",
    "LLM_JUDGE": "LLM_JUDGE",
    "AI_JUDGE": "LLM_JUDGE",
    "CODE": "CODE",
    _UNSPECIFIED: "API",
}
_JSON_FORMAT = "JSON_FORMAT"
_MASK = {"assessmentName": "assessment_name"} | {
    name: name for name in ("assessment_name", "feedback", "expectation", "rationale", "metadata")
}
_EXACT_FLOATS = 2**53
"""Up to it every float without a fraction is one integer."""


def vendor(services: FeedbackServices) -> Vendor:
    assessments = Assessments(services.feedback)
    one = {"GET": assessments.get, "PATCH": assessments.update, "DELETE": assessments.delete}
    return Vendor(
        name="mlflow",
        render_error=render_error,
        endpoints=(Endpoint(ASSESSMENTS, {"POST": assessments.create}), Endpoint(ASSESSMENT, one)),
        prefix=PREFIX,
    )


class Assessments:
    def __init__(self, feedback: FeedbackService) -> None:
        self._feedback = feedback

    async def create(self, call: Call) -> bytes:
        trace_id = _trace_id(call)
        draft = parse_create(call.body, trace_id)
        overridden = await self._find(call.key_id, draft.overrides)

        def render(results: Sequence[Feedback | None]) -> bytes:
            # Checked here, where it undoes the create, so that a repeated one still gets its first answer.
            if draft.overrides is not None:
                on_trace(overridden, draft.overrides, trace_id)
            return b"".join(answer(result, trace_id) for result in results if result is not None)

        return await self._feedback.apply(call.key_id, [draft], render=render, once=call.once)

    async def get(self, call: Call) -> bytes:
        return answer(await self._stored(call), _trace_id(call))

    async def update(self, call: Call) -> bytes:
        wanted = parse_update(call.body)
        while True:
            seen = await self._stored(call)
            try:
                changed = await self._feedback.change(
                    call.key_id, seen.id, change_of(seen, wanted), check=partial(check_same, seen)
                )
            except ChangedMeanwhile:
                continue
            return answer(changed, _trace_id(call))

    async def delete(self, call: Call) -> bytes:
        """The vendor's server tells nobody that there was nothing to delete."""
        with suppress(NotFound):
            found = await self._stored(call)
            await self._feedback.retract(call.key_id, found.id)
        return b"{}"

    async def _stored(self, call: Call) -> Feedback:
        """Raises NotFound, also for an assessment of another trace than the path's."""
        assessment_id = call.path_params["assessment_id"]
        return on_trace(await self._find(call.key_id, assessment_id), assessment_id, _trace_id(call))

    async def _find(self, key_id: str, assessment_id: str | None) -> Feedback | None:
        if assessment_id is None:
            return None
        with suppress(NotFound):
            return await self._feedback.get(key_id, assessment_id)
        return None


class ChangedMeanwhile(ClientError):
    """What was read is not what is stored any more: read it again."""


def check_same(seen: Feedback, found: Feedback) -> None:
    if found != seen:
        raise ChangedMeanwhile("changed by somebody else at the same moment")


def on_trace(found: Feedback | None, assessment_id: str, trace_id: str) -> Feedback:
    """`found` if it is about the trace or exchange that the path names. Raises NotFound."""
    if found is None or not any(trace_id in (about.trace_id, about.exchange_id) for about in found.targets):
        raise NotFound(f"no assessment {assessment_id!r} on trace {trace_id!r}; it may have been deleted")
    return found


def _trace_id(call: Call) -> str:
    trace_id = call.path_params["trace_id"]
    if len(trace_id) > MAX_ID_CHARS:
        problem = f"has {len(trace_id)} characters, the limit is {MAX_ID_CHARS}"
        raise BadField(problem, place=("trace_id",), fault="value")
    return trace_id


# --- requests ---


@dataclass(slots=True, frozen=True)
class Given:
    """What `feedback` holds. `error` is a judge's, in place of a value or beside it."""

    value: Any
    error: Mapping[str, str] | None


@dataclass(slots=True, frozen=True)
class Update:
    """What the mask of a PATCH names. `metadata` is merged key by key."""

    name: str | Unset = UNSET
    feedback: Given | Unset = UNSET
    expectation: Any = UNSET
    rationale: str | Unset | None = UNSET
    metadata: Mapping[str, str] | Unset = UNSET


def parse_create(body: bytes, trace_id: str) -> FeedbackDraft:
    """A draft for the trace of the path, which wins over that of the body. Raises BadField."""
    fields = _assessment(read_object(body))
    if fields.has("feedback") == fields.has("expectation"):
        problem = "must have exactly one of feedback and expectation"
        raise BadField(problem, place=fields.place, fault="value")
    given = _feedback(fields) if fields.has("feedback") else Given(None, None)
    name = _name(fields) if fields.has("assessment_name") else DEFAULT_NAME
    span_id = fields.text("span_id", max_chars=MAX_SPAN_ID_CHARS) or None
    kind = kind_of(given.value)
    source_type, source_id = _source(fields)
    kept = {SPAN_ID: span_id, ERROR: given.error}
    metadata = _metadata(fields) | {key: value for key, value in kept.items() if value is not None}
    return FeedbackDraft(
        targets=(TargetId(trace_id, first="trace", exchange_id=span_id),),
        name=name,
        kind=kind,
        signal=signal_of(name, kind, given.value),
        value=given.value,
        comment=fields.text("rationale") or None,
        correction=_expectation(fields) if fields.has("expectation") else None,
        source_type=source_type,
        source_id=source_id,
        metadata=metadata or None,
        overrides=fields.text("overrides", max_chars=MAX_ID_CHARS) or None,
    )


def parse_update(body: bytes) -> Update:
    """Raises BadField."""
    request = read_object(body)
    fields = _assessment(request)
    mask = _mask(request)
    if {"feedback", "expectation"} <= mask:
        raise request.bad("update_mask", "names feedback and expectation; an assessment has one of them")
    return Update(
        name=_name(fields) if "assessment_name" in mask else UNSET,
        feedback=_feedback(fields) if "feedback" in mask else UNSET,
        expectation=_expectation(fields) if "expectation" in mask else UNSET,
        rationale=fields.text("rationale") or None if "rationale" in mask else UNSET,
        metadata=_metadata(fields) if "metadata" in mask else UNSET,
    )


def _assessment(request: Fields) -> Fields:
    fields = request.required_fields("assessment")
    if fields.has("issue"):
        raise fields.bad("issue", "is not supported; log it as feedback")
    return fields


def _mask(request: Fields) -> set[str]:
    names = request.required_text("update_mask").split(",")
    for name in names:
        if name not in _MASK:
            known = "assessmentName, feedback, expectation, rationale, metadata"
            raise request.bad("update_mask", f"names {name[:40]!r}; known are {known}")
    return {_MASK[name] for name in names}


def _name(fields: Fields) -> str:
    return fields.required_text("assessment_name", max_chars=MAX_NAME_CHARS)


def _feedback(fields: Fields) -> Given:
    inside = fields.required_fields("feedback")
    value, error = _integral(inside.value("value")), inside.fields("error")
    if error is None:
        if value is None:
            raise inside.missing("value")
        return Given(value, None)
    texts = {
        "error_code": error.required_text("error_code"),
        "error_message": error.text("error_message"),
        "stack_trace": error.text("stack_trace"),
    }
    inside.value("error")
    return Given(value, {name: text for name, text in texts.items() if text})


def _expectation(fields: Fields) -> Any:
    """The expected answer: plain, or as JSON text where the client would turn integers into floats."""
    inside = fields.required_fields("expectation")
    serialized = inside.fields("serialized_value")
    if serialized is None:
        value = _integral(inside.value("value"))
        if value is None:
            raise inside.missing("value")
        return value
    if inside.has("value"):
        raise inside.bad("value", "does not go with serialized_value; send one of them")
    if serialized.content.get("serialization_format") != _JSON_FORMAT:
        raise serialized.bad("serialization_format", f"must be {_JSON_FORMAT}")
    try:
        value = read_json(serialized.required_text("value").encode())
    except BadField as error:
        raise serialized.bad("value", error.problem) from error
    if value is None:
        raise serialized.bad("value", "must not be null")
    return Fields({"value": value}, serialized.place).value("value")


def _integral(value: Any) -> Any:
    """`value` with its whole numbers as integers: the client sends every number as a float."""
    match value:
        case float():
            return int(value) if value.is_integer() and abs(value) <= _EXACT_FLOATS else value
        case list():
            return [_integral(member) for member in value]
        case dict():
            return {name: _integral(member) for name, member in value.items()}
        case _:
            return value


def _source(fields: Fields) -> tuple[SourceType, str]:
    source = fields.fields("source")
    if source is None:
        return "API", _DEFAULT_SOURCE_ID
    given = source.text("source_type") or _UNSPECIFIED
    source_type = _SOURCE_TYPES.get(given.upper())
    if source_type is None:
        raise source.bad("source_type", f"must be HUMAN, LLM_JUDGE or CODE, not {given[:40]!r}")
    return source_type, source.text("source_id", max_chars=MAX_SOURCE_ID_CHARS) or _DEFAULT_SOURCE_ID


def _metadata(fields: Fields) -> dict[str, Any]:
    metadata = fields.metadata() or {}
    for key, text in metadata.items():
        if not isinstance(text, str):
            raise fields.bad("metadata", f"has {json_type(text)} at {key!r}; its values are strings", "type")
        if key in _RESERVED:
            raise fields.bad("metadata", f"has {key!r}, which the gateway keeps for itself; rename it")
    return metadata


# --- changes ---


def change_of(stored: Feedback, wanted: Update) -> FeedbackChange:
    """Raises BadField for an expectation's value on feedback, the reverse, and metadata grown too large."""
    change = FeedbackChange(name=wanted.name, comment=wanted.rationale)
    metadata = dict(stored.metadata or {})
    if wanted.feedback is not UNSET:
        if is_expectation(stored):
            raise _of_the_other_kind("feedback", "an expectation")
        change = _with_value(change, stored, wanted.feedback.value)
        metadata.pop(ERROR, None)
        if wanted.feedback.error is not None:
            metadata[ERROR] = wanted.feedback.error
    if wanted.expectation is not UNSET:
        if not is_expectation(stored):
            raise _of_the_other_kind("expectation", "feedback")
        change = replace(change, correction=wanted.expectation)
    if wanted.metadata is not UNSET:
        metadata |= wanted.metadata
        _check_merged(metadata)
    return change if metadata == (stored.metadata or {}) else replace(change, metadata=metadata or None)


def is_expectation(feedback: Feedback) -> bool:
    return feedback.value is None and feedback.correction is not None


def _with_value(change: FeedbackChange, stored: Feedback, value: Any) -> FeedbackChange:
    """A score stays one as long as the new value can be one, so that it goes on counting."""
    stays_score = stored.kind == "score" and type(value) is int and MIN_SCORE <= value <= MAX_SCORE
    kind = "score" if stays_score else kind_of(value)
    is_new = stored.value is None or value is None
    signal = signal_of(stored.name, kind, value) if is_new else stored.signal
    return replace(change, value=value, kind=kind, signal=signal)


def _check_merged(metadata: Mapping[str, Any]) -> None:
    size = len(dumps({key: value for key, value in metadata.items() if key not in _RESERVED}))
    if size > MAX_METADATA_BYTES:
        problem = f"has {size} bytes with what is stored, the limit is {MAX_METADATA_BYTES}"
        raise BadField(problem, place=("assessment", "metadata"), fault="value")


def _of_the_other_kind(name: str, stored_as: str) -> BadField:
    return BadField(
        f"cannot be set: this assessment is {stored_as}", place=("assessment", name), fault="value"
    )


# --- answers ---


def answer(feedback: Feedback, trace_id: str) -> bytes:
    return dumps({"assessment": assessment_shape(feedback, trace_id)})


def assessment_shape(feedback: Feedback, trace_id: str) -> dict[str, Any]:
    """Any record as an assessment. What it does not have is left out; `trace_id` is the path's."""
    metadata = feedback.metadata or {}
    shape: dict[str, Any] = {
        "assessment_id": f"a-{uuid.UUID(feedback.id).hex}",
        "assessment_name": feedback.name,
        "trace_id": trace_id,
        "span_id": span_id if isinstance(span_id := metadata.get(SPAN_ID), str) else None,
        "source": {
            "source_type": _UNSPECIFIED if feedback.source_type == "API" else feedback.source_type,
            "source_id": feedback.source_id,
        },
        "create_time": f"{iso_time(feedback.created_at_ms)}Z",
        "last_update_time": f"{iso_time(feedback.updated_at_ms or feedback.created_at_ms)}Z",
        **_content_shape(feedback, _stored_error(metadata)),
        "rationale": feedback.comment,
        "metadata": {key: _text(value) for key, value in metadata.items() if key not in _RESERVED},
        "overrides": f"a-{uuid.UUID(feedback.overrides).hex}" if feedback.overrides else None,
        "valid": not feedback.superseded,
    }
    return {name: value for name, value in shape.items() if value not in (None, {})}


def _content_shape(feedback: Feedback, error: Mapping[str, str] | None) -> dict[str, Any]:
    if not is_expectation(feedback):
        value = feedback.comment if feedback.value is None and error is None else feedback.value
        return {"feedback": {"value": value} if error is None else {"value": value, "error": error}}
    expected = feedback.correction
    if not isinstance(expected, list | dict):
        return {"expectation": {"value": expected}}
    serialized = {"serialization_format": _JSON_FORMAT, "value": dumps_text(expected)}
    return {"expectation": {"serialized_value": serialized}}


def _stored_error(metadata: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The error under our key, should another client not have put something else there."""
    error = metadata.get(ERROR)
    if not isinstance(error, dict) or "error_code" not in error:
        return None
    return {
        name: _text(error[name]) for name in ("error_code", "error_message", "stack_trace") if name in error
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps_text(value)


# --- errors ---

_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
}


def render_error(error: GatewayError, _: str) -> Refusal:
    """The client knows no other codes than these; it repeats 408, 429 and 5xx by itself."""
    status = min(500, error.status)
    code = "INTERNAL_ERROR" if status == 500 else _CODES.get(status, "BAD_REQUEST")
    if isinstance(error, UnknownPath):
        code = "ENDPOINT_NOT_FOUND"
    return Refusal(status, dumps({"error_code": code, "message": error.message}))
