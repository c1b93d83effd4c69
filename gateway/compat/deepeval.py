"""deepeval (Confident AI): a rating with an explanation and an expected answer, on two endpoints.

Only what its clients send and read; source of every rule: docs/wire/deepeval.md. Two of them are traps: a
client from 3.4.0 takes an error for success unless `success` is false and `error` a string, and an old one
asks a question on standard input after a 409.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gateway.compat.fields import MAX_ID_CHARS, BadField, Fields, read_json, whole_number
from gateway.errors import GatewayError, InvalidField, MethodNotAllowed, PayloadTooLarge
from gateway.feedback.services import FeedbackServices
from gateway.feedback.vendor import Call, Endpoint, Refusal, Shared, Vendor
from gateway.jsonio import dumps
from gateway.records import Feedback, FeedbackDraft, TargetId

_Lookup = Literal["trace", "exchange"]

FEEDBACK_IDS: Mapping[str, _Lookup] = {
    "eventId": "exchange",
    "traceUuid": "trace",
    "spanUuid": "exchange",
    "threadSuppliedId": "trace",
}
ANNOTATION_IDS: Mapping[str, _Lookup] = {"traceUuid": "trace", "spanUuid": "exchange", "threadId": "trace"}
"""The ids each endpoint knows, and what each is looked up as first."""

THUMBS, STARS = "THUMBS_RATING", "FIVE_STAR_RATING"
_SCALES = {THUMBS: (0, 1), STARS: (1, 5)}
_NAMES = {THUMBS: "thumbs_rating", STARS: "five_star_rating"}
"""Two names, so that two scales are never averaged."""


def vendor(services: FeedbackServices) -> Vendor:
    async def feedback(call: Call) -> bytes:
        draft = parse_feedback(call.body)
        return await services.feedback.apply(call.key_id, [draft], render=saved, once=call.once)

    async def annotation(call: Call) -> bytes:
        draft = parse_annotation(call.body)
        return await services.feedback.apply(call.key_id, [draft], render=saved, once=call.once)

    return Vendor(
        name="deepeval",
        render_error=render_error,
        endpoints=(Endpoint("/v1/annotations", {"POST": annotation}),),
        shared=Shared(claims=claims, create=feedback, headers=("confident_api_key", "confident-api-key")),
    )


def claims(_: Mapping[str, Any], body: Any) -> bool:
    """Only a plain object: no client of this vendor sends several at once."""
    return isinstance(body, dict) and any(name in body for name in FEEDBACK_IDS)


def parse_feedback(body: bytes) -> FeedbackDraft:
    """The rating of `send_feedback` (to 3.0.8) and `collect_feedback` (to 3.3.9). Raises BadField."""
    fields = _object(body)
    id_name, target = _target(fields, FEEDBACK_IDS)
    return _draft(
        fields,
        target,
        name="rating",
        scale=(1 if id_name == "eventId" else 0, 5),
        correction=fields.text("expectedResponse"),
    )


def parse_annotation(body: bytes) -> FeedbackDraft:
    """The thumbs or stars of `send_annotation` (from 3.4.0). Raises BadField."""
    fields = _object(body)
    id_name, target = _target(fields, ANNOTATION_IDS)
    rating_type = fields.text("type") or THUMBS
    if rating_type not in _SCALES:
        raise fields.bad("type", f"must be {THUMBS} or {STARS}")
    return _draft(
        fields,
        target,
        name=_NAMES[rating_type],
        scale=_SCALES[rating_type],
        correction=_expected(fields, is_thread=id_name == "threadId"),
        source_id=fields.text("userId", max_chars=MAX_ID_CHARS),
    )


def saved(results: Sequence[Feedback | None]) -> bytes:
    created = [feedback.id for feedback in results if feedback is not None]
    return dumps({"success": True, "data": {"id": created[0]}})


def render_error(error: GatewayError, _: str) -> Refusal:
    status = min(500, error.status)  # its clients know one failure of a server
    return Refusal(status, dumps({"success": False, "error": _words(error)}))


def _words(error: GatewayError) -> str:
    if isinstance(error, MethodNotAllowed):
        return "Method not allowed"
    if isinstance(error, PayloadTooLarge):
        return "Request body too large"
    if error.status == 401:
        return "Invalid API key"
    return "Internal error" if error.status >= 500 else error.message


def _object(body: bytes) -> Fields:
    try:
        content = read_json(body)
    except BadField:
        content = None
    if not isinstance(content, dict):
        raise BadField("must be a JSON object", place=(), fault="type")
    return Fields(content)


def _target(fields: Fields, ids: Mapping[str, _Lookup]) -> tuple[str, TargetId]:
    given = [name for name in ids if fields.has(name)]
    if len(given) != 1 or fields.content[given[0]] == "":
        raise InvalidField(f"exactly one of {', '.join(ids)} is required")
    name = given[0]
    return name, TargetId(fields.required_text(name, max_chars=MAX_ID_CHARS), first=ids[name])


def _expected(fields: Fields, *, is_thread: bool) -> str | None:
    """A thread has an outcome, a trace or a span an output."""
    wanted, other = (
        ("expectedOutcome", "expectedOutput") if is_thread else ("expectedOutput", "expectedOutcome")
    )
    if fields.has(other):
        wrong_with = "threadId" if is_thread else "traceUuid or spanUuid"
        raise fields.bad(other, f"does not go with {wrong_with}; use {wanted}")
    return fields.text(wanted)


def _draft(
    fields: Fields,
    target: TargetId,
    *,
    name: str,
    scale: tuple[int, int],
    correction: str | None,
    source_id: str | None = None,
) -> FeedbackDraft:
    least, most = scale
    rating = whole_number(fields.content.get("rating"))
    if rating is None or not least <= rating <= most:
        raise fields.bad("rating", f"must be an integer from {least} to {most}")
    return FeedbackDraft(
        targets=(target,),
        name=name,
        kind="number",
        value=rating,
        comment=fields.text("explanation"),
        correction=correction,
        source_type="HUMAN",
        source_id=source_id,
    )
