"""What was asked and what was answered, in OpenAI's chat form, from the stored bodies of an exchange.

Reads Chat Completions as they are, and Completions, Responses and Anthropic's Messages where their meaning
survives. Never raises on a body: what cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.capture.message import assemble, whole_json
from gateway.jsonio import JSON, dumps_text
from gateway.records import BodyRow, ExchangeRow

Message = dict[str, Any]

Asked = tuple[list[Message] | None, tuple[str, ...]]
"""Messages, and the names of the members that they were made of."""

_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(slots=True, frozen=True)
class Conversation:
    """`messages` is the prompt, None where the request has none or was not kept whole; `answer` is the
    assistant's message, None likewise. `request` holds the request's members that are not in `messages`."""

    messages: list[Message] | None
    request: dict[str, Any] | None
    answer: Message | None


NOTHING = Conversation(None, None, None)


def conversation(row: ExchangeRow, bodies: BodyRow | None) -> Conversation:
    if bodies is None:
        return NOTHING
    request = whole_json(bodies.request_head, bodies.request_tail, bodies.request_encoding)
    messages, rest = _asked(row.path, request) if isinstance(request, dict) else (None, None)
    return Conversation(messages, rest, _answered(_final(row, bodies)))


def _final(row: ExchangeRow, bodies: BodyRow) -> JSON:
    """The answer's JSON; of a stream, what its events amount to."""
    head = bodies.response_head
    if not row.streamed:
        return whole_json(head, bodies.response_tail, bodies.response_encoding)
    if head is None or bodies.response_tail is not None or bodies.response_encoding is not None:
        return None
    return assemble(head, None)


# --- the request ---


def _asked(path: str, request: dict[str, Any]) -> tuple[list[Message] | None, dict[str, Any]]:
    """The prompt as messages, and the members that it was not made of."""
    messages: list[Message] | None
    used: tuple[str, ...]
    if path.endswith("/messages"):
        messages, used = _anthropic(request)
    elif _is_messages(request.get("messages")):
        messages, used = request["messages"], ("messages",)
    elif path.endswith("/responses"):
        messages, used = _input(request)
    elif path.endswith("/completions") and isinstance(request.get("prompt"), str):
        messages, used = [{"role": "user", "content": request["prompt"]}], ("prompt",)
    else:
        messages, used = None, ()
    if messages is None:
        return None, request
    return messages, {name: value for name, value in request.items() if name not in used}


def _is_messages(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(message, dict) for message in value)


def _anthropic(request: dict[str, Any]) -> Asked:
    """A Messages request of text only, which keeps the system's words beside the messages."""
    return _spoken(request.get("system"), request.get("messages")), ("messages", "system")


def _input(request: dict[str, Any]) -> Asked:
    """A Responses request of text only. One that goes on from another does not hold the whole prompt."""
    if request.get("previous_response_id") is not None or request.get("conversation") is not None:
        return None, ()
    given = request.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return _spoken(request.get("instructions"), items), ("input", "instructions")


def _spoken(system: JSON, items: JSON) -> list[Message] | None:
    """Messages of text alone, the system's first; None where anything is something else."""
    if not _is_messages(items):
        return None
    spoken = [*([] if system is None else [{"role": "system", "content": system}]), *items]
    messages = [{"role": item.get("role"), "content": _text(item.get("content"))} for item in spoken]
    return messages if all(isinstance(value, str) for each in messages for value in each.values()) else None


def _text(content: object) -> str | None:
    """A string, or a list of text parts as one string; None for anything else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in _TEXT_PARTS:
            return None
        if not isinstance(part.get("text"), str):
            return None
        texts.append(part["text"])
    return "".join(texts)


# --- the answer ---


def _answered(answer: JSON) -> Message | None:
    if not isinstance(answer, dict):
        return None
    if isinstance(answer.get("choices"), list):
        return _choice(answer["choices"])
    if isinstance(answer.get("output"), list):
        return _output(answer["output"])
    if answer.get("type") == "message" and isinstance(answer.get("content"), list):
        return _blocks(answer["content"])
    return None


def _choice(choices: list[Any]) -> Message | None:
    """The first choice's message. A stream numbers the calls of tools, an answer at once does not."""
    first = choices[0] if choices else None
    if not isinstance(first, dict):
        return None
    if isinstance(first.get("text"), str):
        return {"role": "assistant", "content": first["text"]}
    message = first.get("message")
    if not isinstance(message, dict):
        return None
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_without_index(call) for call in calls]}


def _without_index(call: JSON) -> JSON:
    return (
        {name: value for name, value in call.items() if name != "index"} if isinstance(call, dict) else call
    )


def _output(items: Iterable[Any]) -> Message | None:
    texts: list[str] = []
    calls: list[Message] = []
    for item in items:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "message":
            texts.append(_text(item.get("content")) or "")
        elif item.get("type") == "function_call":
            calls.append(_call(item.get("call_id"), item.get("name"), item.get("arguments")))
    return _message(texts, calls)


def _blocks(blocks: Iterable[Any]) -> Message | None:
    texts: list[str] = []
    calls: list[Message] = []
    for block in blocks:
        if not isinstance(block, dict):
            continue
        if block.get("type") == "text":
            texts.append(str(block.get("text") or ""))
        elif block.get("type") == "tool_use":
            calls.append(_call(block.get("id"), block.get("name"), _arguments(block)))
    return _message(texts, calls)


def _arguments(block: dict[str, Any]) -> str:
    streamed = block.get("input_json")
    return streamed if isinstance(streamed, str) else dumps_text(block.get("input") or {})


def _call(call_id: JSON, name: JSON, arguments: JSON) -> Message:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _message(texts: list[str], calls: list[Message]) -> Message | None:
    if not texts and not calls:
        return None
    message: Message = {"role": "assistant", "content": "".join(texts) or None}
    return {**message, "tool_calls": calls} if calls else message
