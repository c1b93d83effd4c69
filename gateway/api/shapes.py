"""Records as JSON: what our endpoints answer with, in readable names. Nothing is read or decided here."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

from orjson import Fragment

from gateway.capture import attempts
from gateway.capture.attempts import Made
from gateway.capture.message import assemble
from gateway.jsonio import JSON, dumps, iso_time, loads
from gateway.records import (
    BodyRow,
    ExchangeRow,
    Feedback,
    FeedbackSummary,
    Item,
    Log,
    LogDetail,
    Page,
    Revision,
    Target,
    TraceDetail,
    TraceSummary,
)


def page_shape(page: Page[Item], shape: Callable[[Item], dict[str, Any]]) -> dict[str, Any]:
    """OpenAI's list. `last_id` is what `after` takes for the next page."""
    data = [shape(item) for item in page.items]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
    }


def feedback_shape(feedback: Feedback) -> dict[str, Any]:
    return {
        "object": "feedback",
        "id": feedback.id,
        "trace_id": feedback.trace_id,
        "targets": [_target_shape(target) for target in feedback.targets],
        "name": feedback.name,
        "kind": feedback.kind,
        "signal": feedback.signal,
        "value": feedback.value,
        "weight": feedback.weight,
        "comment": feedback.comment,
        "correction": feedback.correction,
        "source": {"type": feedback.source_type, "id": feedback.source_id},
        "task": None
        if feedback.task_id is None
        else {"id": feedback.task_id, "version": feedback.task_version},
        "metadata": feedback.metadata,
        "overrides": feedback.overrides,
        "valid": not feedback.superseded,
        "created_at": time_shape(feedback.created_at_ms),
        "updated_at": _time_or_null(feedback.updated_at_ms),
        "retracted_at": _time_or_null(feedback.retracted_at_ms),
        "matched": feedback.matched,
    }


def history_shape(feedback: Feedback, revisions: Iterable[Revision]) -> dict[str, Any]:
    """What a piece of feedback was before each change, oldest first, and what it is."""
    return {
        "object": "feedback.history",
        "id": feedback.id,
        "data": [
            {
                "number": revision.number,
                "changed_at": time_shape(revision.changed_at_ms),
                "action": revision.action,
                "fields": revision.fields,
            }
            for revision in revisions
        ],
        "feedback": feedback_shape(feedback),
    }


def trace_shape(trace: TraceSummary) -> dict[str, Any]:
    return {
        "object": "trace",
        "id": trace.trace_id,
        "trace_id": trace.trace_id,
        "first_at": time_shape(trace.first_at_ms),
        "last_at": time_shape(trace.last_at_ms),
        "exchange_count": trace.exchange_count,
        "error_count": trace.error_count,
        "models": trace.models,
        "tokens": {"prompt": trace.prompt_tokens, "completion": trace.completion_tokens},
        "cost_usd": trace.cost_usd,
        "feedback": summary_shape(trace.feedback),
    }


def trace_detail_shape(trace: TraceDetail) -> dict[str, Any]:
    """A trace with its newest exchanges and feedback, and whether there are more of them in their lists."""
    return {
        **trace_shape(trace.summary),
        "exchanges": [log_shape(log) for log in trace.exchanges.items],
        "exchanges_has_more": trace.exchanges.has_more,
        **_feedback_items(trace.feedback),
    }


def log_shape(log: Log) -> dict[str, Any]:
    row = log.row
    return {
        "object": "log",
        "id": row.id,
        "trace_id": row.trace_id,
        "started_at": time_shape(row.started_at_ms),
        "latency_ms": row.latency_ms,
        "queue_ms": row.queue_ms,
        "first_byte_ms": row.first_byte_ms,
        "method": row.method,
        "path": row.path,
        "upstream": row.upstream,
        "target": row.target,
        "cache_status": row.cache_status,
        "attempt_count": attempts.count(row),
        "attempts": [_attempt_shape(each) for each in attempts.made(row)],
        "requested_model": row.requested_model,
        "answering_model": row.answering_model,
        "streamed": bool(row.streamed),
        "status": row.status,
        "error": _error(row),
        "finish_reason": row.finish_reason,
        "usage": {
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "cached_tokens": row.cached_tokens,
            "reasoning_tokens": row.reasoning_tokens,
        },
        "cost_usd": row.cost_usd,
        "request_bytes": row.request_bytes,
        "response_bytes": row.response_bytes,
        "metadata": _stored_json(row.metadata),
        "tags": [] if row.tags is None else _stored_json(row.tags),
        "body_user": row.body_user,
        "body_metadata": _stored_json(row.body_metadata),
        "feedback": summary_shape(log.feedback),
    }


def log_detail_shape(detail: LogDetail) -> dict[str, Any]:
    """A log with both sides' headers and bodies (null when they were not kept), its message and feedback."""
    bodies, row = detail.log.row, detail.bodies
    return {
        **log_shape(detail.log),
        "request": None if row is None else _request(bodies, row),
        "response": None if row is None else _response(bodies, row),
        "message": None if row is None else _message(bodies, row),
        **_feedback_items(detail.feedback),
    }


def summary_shape(summary: FeedbackSummary) -> dict[str, Any]:
    return {
        "count": summary.count,
        "score_count": summary.score_count,
        "pairs": [
            {"value": pair.value, "weight": pair.weight, "count": pair.count} for pair in summary.pairs
        ],
        "sum_weight": summary.sum_weight,
        "weighted_mean": summary.weighted_mean,
        "mean_weighted_value": summary.mean_weighted_value,
    }


def time_shape(time_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds, such as 2026-01-31T12:00:00.000Z."""
    return f"{iso_time(time_ms)}Z"


def _time_or_null(time_ms: int | None) -> str | None:
    return None if time_ms is None else time_shape(time_ms)


def _target_shape(target: Target) -> dict[str, Any]:
    return {"trace_id": target.trace_id, "request_id": target.exchange_id, "matched": target.matched}


def _feedback_items(page: Page[Feedback]) -> dict[str, Any]:
    return {
        "feedback_items": [feedback_shape(item) for item in page.items],
        "feedback_items_has_more": page.has_more,
    }


def _attempt_shape(made: Made) -> dict[str, Any]:
    return {"number": made.number, **made.attempt._asdict()}


def _error(row: ExchangeRow) -> dict[str, Any] | None:
    if row.error_kind is None:
        return None
    return {"kind": row.error_kind, "message": row.error_message}


def _request(row: ExchangeRow, bodies: BodyRow) -> dict[str, Any]:
    return {
        "headers": _headers(bodies.request_headers),
        **_body(bodies.request_head, bodies.request_tail, bodies.request_encoding),
        "bytes": row.request_bytes,
    }


def _response(row: ExchangeRow, bodies: BodyRow) -> dict[str, Any]:
    return {
        "headers": _headers(bodies.response_headers),
        **_body(bodies.response_head, bodies.response_tail, bodies.response_encoding),
        "bytes": row.response_bytes,
    }


def _message(row: ExchangeRow, bodies: BodyRow) -> JSON:
    """The final answer: put together for a stream, the body itself otherwise; null where it is unreadable."""
    if bodies.response_head is None or bodies.response_encoding is not None:
        return None
    if row.streamed:
        message = assemble(bodies.response_head, bodies.response_tail)
        return message if _is_serialisable(message) else None
    return _json(bodies.response_head) if bodies.response_tail is None else None


def _headers(stored: str) -> list[dict[str, str]]:
    headers: Iterable[tuple[str, str]] = loads(stored)
    return [{"name": name, "value": value} for name, value in headers]


def _body(head: bytes | None, tail: bytes | None, content_encoding: str | None) -> dict[str, Any]:
    """`body` as `encoding` says: json (the value itself), text or base64; null when it was not kept.

    Of a truncated body, `body` is the head and `tail` its end, in the same encoding.
    """
    shown: dict[str, Any] = {
        "body": None,
        "encoding": None,
        "truncated": tail is not None,
        "tail": None,
        "content_encoding": content_encoding,
    }
    if head is None:
        return shown
    if tail is None and content_encoding is None and (value := _json(head)) is not None:
        return {**shown, "body": value, "encoding": "json"}
    texts = None if content_encoding else _texts(head, tail)
    if texts is not None:
        return {**shown, "body": texts[0], "tail": texts[1], "encoding": "text"}
    return {
        **shown,
        "body": b64encode(head).decode(),
        "tail": None if tail is None else b64encode(tail).decode(),
        "encoding": "base64",
    }


def _texts(head: bytes, tail: bytes | None) -> tuple[str, str | None] | None:
    """Both as text, None when they are not UTF-8. A character that the cut went through is left out."""
    try:
        if tail is None:
            return head.decode("utf-8"), None
        return _without_cut_end(head).decode("utf-8"), _without_cut_start(tail).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _without_cut_end(head: bytes) -> bytes:
    for length in range(1, min(4, len(head)) + 1):
        first = head[-length]
        if first & 0xC0 != 0x80:  # not a continuation byte: the last character begins here
            needs = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return head if needs == length else head[:-length]
    return head


def _without_cut_start(tail: bytes) -> bytes:
    start = 0
    while start < min(3, len(tail)) and tail[start] & 0xC0 == 0x80:
        start += 1
    return tail[start:]


def _json(text: bytes) -> Fragment | None:
    """JSON as it was stored, so that numbers keep their digits and depth is no matter; None if it is not."""
    try:
        loads(text)
    except ValueError:
        return None
    return Fragment(text)


def _stored_json(text: str | None) -> Fragment | None:
    return None if text is None else _json(text.encode("utf-8", "replace"))


def _is_serialisable(value: JSON) -> bool:
    try:
        dumps([value])
    except TypeError:
        return False
    return True
