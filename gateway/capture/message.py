"""What a kept body says: JSON kept whole, and the final message of a stream, put together from its events.

A streamed answer gets the shape of an unstreamed one. Computed when somebody reads it, never on the request
path: the raw events are what is stored.
"""

from __future__ import annotations

from typing import Any

from gateway.capture import sse
from gateway.jsonio import JSON, loads, loads_lenient

_CONCATENATED = ("content", "refusal", "reasoning_content", "reasoning")


def whole_json(head: bytes | None, tail: bytes | None, content_encoding: str | None) -> JSON:
    """A body as JSON; None where it was not kept whole, is still encoded, or is no JSON."""
    if head is None or tail is not None or content_encoding is not None:
        return None
    try:
        return loads_lenient(head)
    except ValueError:
        return None


def assemble(head: bytes, tail: bytes | None) -> JSON:
    """The message that the SSE bytes `head` (and `tail`, where the middle was cut) amount to.

    Chat completions and completions become `{"object", "id", "model", "choices", "usage"}`, a Responses API
    stream its last `response`, an Anthropic stream its message. None when no event could be read. What a cut
    took away is missing from the text; the caller knows that the body is cut.
    """
    bodies = [body for part in (head, tail or b"") for body in _bodies(part)]
    if any("choices" in body for body in bodies):
        return _completion(bodies)
    if any(body.get("type") == "message_start" for body in bodies):
        return _anthropic(bodies)
    return _response(bodies)


def _bodies(part: bytes) -> list[dict[str, Any]]:
    found = []
    for event in sse.parse(part):
        try:
            body = loads(event.data)
        except ValueError:
            continue
        if isinstance(body, dict):
            found.append(body)
    return found


def _completion(bodies: list[dict[str, Any]]) -> JSON:
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for body in bodies:
        answer |= {name: value for name, value in body.items() if name != "choices" and value is not None}
        for delta in _list(body.get("choices")):
            index = delta.get("index")
            if isinstance(index, int):
                _add_choice(choices.setdefault(index, {"index": index}), delta)
    if answer.get("object") == "chat.completion.chunk":
        answer["object"] = "chat.completion"
    answer["choices"] = [choices[index] for index in sorted(choices)]
    return answer


def _add_choice(choice: dict[str, Any], event: dict[str, Any]) -> None:
    if isinstance(event.get("delta"), dict):
        _add_delta(choice.setdefault("message", {"role": "assistant", "content": None}), event["delta"])
    if isinstance(event.get("text"), str):
        choice["text"] = choice.get("text", "") + event["text"]
    if event.get("finish_reason") is not None:
        choice["finish_reason"] = event["finish_reason"]
    logprobs = event.get("logprobs")
    if isinstance(logprobs, dict):
        _add_lists(choice.setdefault("logprobs", {}), logprobs)


def _add_lists(into: dict[str, Any], more: dict[str, Any]) -> None:
    for name, values in more.items():
        if isinstance(values, list):
            into[name] = [*(into.get(name) or []), *values]


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _add_tool_calls(message.setdefault("tool_calls", []), _list(value))
        elif name == "function_call" and isinstance(value, dict):
            _add_function(message.setdefault("function_call", {}), value)
        elif name in _CONCATENATED and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif value is not None:
            message[name] = value


def _add_tool_calls(calls: list[dict[str, Any]], deltas: list[dict[str, Any]]) -> None:
    for delta in deltas:
        index = delta.get("index", 0)
        call = next((call for call in calls if call["index"] == index), None)
        if call is None:
            call = {"index": index}
            calls.append(call)
        for name, value in delta.items():
            if name == "function" and isinstance(value, dict):
                _add_function(call.setdefault("function", {}), value)
            elif value is not None:
                call[name] = value


def _add_function(function: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "arguments" and isinstance(value, str):
            function[name] = function.get(name, "") + value
        elif value is not None:
            function[name] = value


def _response(bodies: list[dict[str, Any]]) -> JSON:
    """The Responses API ends with the whole response; a stream that was cut short has only its pieces."""
    response: dict[str, Any] | None = None
    text: dict[Any, str] = {}
    for body in bodies:
        if isinstance(body.get("response"), dict):
            response = body["response"]
        elif body.get("type") in ("response.output_text.delta", "response.refusal.delta"):
            key = (str(body.get("output_index")), str(body.get("content_index")))
            text[key] = text.get(key, "") + str(body.get("delta") or "")
    if response is not None and not response.get("output") and text:
        return {**response, "output_text": "".join(text.values())}
    return response


def _anthropic(bodies: list[dict[str, Any]]) -> JSON:
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for body in bodies:
        index = body.get("index")
        if isinstance(body.get("message"), dict):
            message.update(body["message"])
        elif isinstance(body.get("content_block"), dict) and isinstance(index, int):
            blocks[index] = dict(body["content_block"])
        elif isinstance(body.get("delta"), dict):
            if isinstance(index, int):
                _add_block(blocks.setdefault(index, {}), body["delta"])
            else:
                message.update(body["delta"])
        if isinstance(body.get("usage"), dict):
            message["usage"] = {**(message.get("usage") or {}), **body["usage"]}
    message["content"] = [blocks[index] for index in sorted(blocks)]
    return message


def _add_block(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "partial_json":
            block["input_json"] = block.get("input_json", "") + str(value)
        elif name in ("text", "thinking", "signature"):
            block[name] = str(block.get(name) or "") + str(value)


def _list(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
