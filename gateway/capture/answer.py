"""What an answer says about itself: model, usage, finish reason. From JSON or SSE, whole or cut.

Reads the shapes of OpenAI (chat, completions, embeddings, responses) and of Anthropic's messages, which pass
through. Never raises on a body: what cannot be read is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

from gateway.capture import sse
from gateway.jsonio import loads, loads_start
from gateway.records import Payload


class Usage(NamedTuple):
    """Token counts. `prompt` includes `cached`, `completion` includes `reasoning`, as OpenAI counts."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


class Answer(NamedTuple):
    model: str | None = None
    usage: Usage = Usage()
    finish_reason: str | None = None


NO_ANSWER = Answer()

_END_BYTES = 2048
"""Of a stream, in which its last events usually say all that is looked for."""

_UNSAID_COUNT = -1
_UNSAID = Answer(usage=Usage(_UNSAID_COUNT, _UNSAID_COUNT, _UNSAID_COUNT, _UNSAID_COUNT))

_MAX_COUNT = 2**53
# An event without any of these changes nothing below. Each with the text it begins with, which is found
# missing sooner than the expression is. One expression for the three would be slower for the same reason.
_TELLS = tuple(
    (begins, re.compile(begins + rest))
    for begins, rest in ((b'"usage"', b" ?: ?{"), (b'"response"', b" ?: ?{"), (b'_reason"', b' ?: ?"'))
)
_MEMBER = re.compile(rb'"(usage|model|finish_reason)"\s*:\s*')


def read_json(payload: Payload) -> Answer:
    """The answer in a JSON body."""
    if not payload.is_whole:
        return _read_cut(payload)
    try:
        body = loads(payload.head)
    except ValueError:
        return NO_ANSWER
    return _take(body, NO_ANSWER) if isinstance(body, dict) else NO_ANSWER


def read_events(payload: Payload) -> Answer:
    """The answer in an SSE body: usage from the last event that carries it."""
    parts = [_with_newlines(part) for part in (payload.head, payload.tail) if part]
    if not parts:
        return NO_ANSWER
    last = parts.pop()
    middle = last.rfind(b"\n\n", 0, -_END_BYTES) + 2 if len(last) > _END_BYTES else 0
    end = list(_telling(last, middle, len(last)))
    answer = _merge(end, _UNSAID)
    if answer.model is not None and answer.finish_reason is not None and _UNSAID_COUNT not in answer.usage:
        return answer  # an event's word takes the place of those before it, so these need not be read
    # Of a cut stream the first event of the tail is a fragment; it does not parse and is passed over.
    earlier = [_telling(part, 0, len(part)) for part in parts]
    return _merge(chain(*earlier, _telling(last, 0, middle), end), NO_ANSWER)


def _with_newlines(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in body else body


def _telling(body: bytes, start: int, stop: int) -> Iterable[Any]:
    """The JSON of the events that tell anything: a stream has hundreds, and two or three of them do.

    Between `start` and `stop`, where events begin. The first of the body is always taken to tell something.
    """
    starts = {0} if start == 0 < stop else set()
    for begins, tell in _TELLS:
        if body.rfind(begins, start, stop) >= 0:  # which takes half as long as `find`
            starts.update(
                body.rfind(b"\n\n", 0, match.start()) + 2 for match in tell.finditer(body, start, stop)
            )
    starts.discard(1)  # of the first event, which begins without a boundary
    for begin in sorted(starts):
        end = body.find(b"\n\n", begin)
        for event in sse.parse(body[begin:] if end < 0 else body[begin:end]):
            try:
                yield loads(event.data)
            except ValueError:
                continue


def _merge(bodies: Iterable[Any], answer: Answer) -> Answer:
    """What `bodies` say one after the other, over what `answer` did."""
    for body in bodies:
        if not isinstance(body, dict):
            continue
        inner = body.get("response") or body.get("message")  # Responses API; Anthropic's message_start
        if isinstance(inner, dict):
            answer = _take(inner, answer)
        answer = _take(body, answer)
    return answer


def _take(body: dict[str, Any], known: Answer) -> Answer:
    """What `body` says, over what was `known` from earlier events."""
    said = body.get("model")
    return Answer(
        said if said and isinstance(said, str) else known.model,
        _usage(body.get("usage"), known.usage),
        _finish_reason(body) or known.finish_reason,
    )


def _finish_reason(body: dict[str, Any]) -> str | None:
    choices = body.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and isinstance(choice.get("finish_reason"), str):
                return str(choice["finish_reason"])
        return None
    if body.get("object") == "response":
        return _text(body.get("status"))
    delta = body.get("delta")  # Anthropic's message_delta
    if isinstance(delta, dict) and "stop_reason" in delta:
        return _text(delta["stop_reason"])
    return _text(body.get("stop_reason"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _usage(said: object, known: Usage) -> Usage:
    if not isinstance(said, dict):
        return known
    if "prompt_tokens" in said or "completion_tokens" in said:
        cached = _count(said.get("prompt_tokens_details"), "cached_tokens")
        return Usage(
            _count(said, "prompt_tokens"),
            _count(said, "completion_tokens"),
            _count(said, "prompt_cache_hit_tokens") if cached is None else cached,
            _count(said.get("completion_tokens_details"), "reasoning_tokens"),
        )
    return _input_output(said, known)


def _input_output(said: dict[str, Any], known: Usage) -> Usage:
    """Responses API and Anthropic. Anthropic leaves cached tokens out of `input_tokens`; we count them in."""
    prompt = _count(said, "input_tokens")
    cached = _count(said.get("input_tokens_details"), "cached_tokens")
    anthropic_cached = _count(said, "cache_read_input_tokens")
    if anthropic_cached is not None or "cache_creation_input_tokens" in said:
        cached = anthropic_cached
        if prompt is not None:
            prompt += (anthropic_cached or 0) + (_count(said, "cache_creation_input_tokens") or 0)
    return Usage(
        prompt=_first(prompt, known.prompt),
        completion=_first(_count(said, "output_tokens"), known.completion),
        cached=_first(cached, known.cached),
        reasoning=_first(_count(said.get("output_tokens_details"), "reasoning_tokens"), known.reasoning),
    )


def _first(value: int | None, other: int | None) -> int | None:
    return other if value is None else value


def _count(said: object, name: str) -> int | None:
    if not isinstance(said, dict):
        return None
    value = said.get(name)
    return value if type(value) is int and 0 <= value < _MAX_COUNT else None


def _read_cut(payload: Payload) -> Answer:
    """Members found by name in what is left of a cut body; an embedding's usage is in its tail."""
    found: dict[str, Any] = {}
    for part in (payload.head, payload.tail):
        for match in _MEMBER.finditer(part):
            text = part[match.end() : match.end() + 4096].decode("utf-8", "replace")
            try:
                value = loads_start(text)
            except ValueError:
                continue
            found[match[1].decode()] = value
    return Answer(
        _text(found.get("model")), _usage(found.get("usage"), Usage()), _text(found.get("finish_reason"))
    )
