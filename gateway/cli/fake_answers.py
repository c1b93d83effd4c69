"""What the fake OpenAI upstream says: plausible answers, the same for the same request.

Pure functions from a request's JSON to a response's JSON, in the shapes of OpenAI's API reference
(https://platform.openai.com/docs/api-reference). No HTTP here; that is `gateway.cli.fake_upstream`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway import jsonio
from gateway.cli.fake_words import TOKEN, answer_to, count, pieces, question_in

if TYPE_CHECKING:
    from collections.abc import Iterator

Body = dict[str, Any]

MODELS = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
    "gpt-3.5-turbo-instruct": "gpt-3.5-turbo-instruct",
    "text-embedding-3-small": "text-embedding-3-small",
    "whisper-1": "whisper-1",
    "omni-moderation-latest": "omni-moderation-2024-09-26",
}
"""A model's name as it is asked for, and as it answers."""

FAMILIES = ("gpt-", "o1", "o3", "o4", "text-embedding-", "ft:")


class Refused(Exception):
    """The fake upstream's own error answers: status and OpenAI's error object."""

    def __init__(
        self, status: int, message: str, kind: str, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: Body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(slots=True, frozen=True)
class Say:
    """One choice of an answer: text, or a call of a tool."""

    text: str
    finish: str
    tool_calls: tuple[Body, ...] = ()


def seed(body: Body) -> int:
    """A number that is the same for the same request."""
    return int.from_bytes(hashlib.sha256(jsonio.dumps(body)).digest()[:6], "big")


def check_model(body: Body) -> str:
    """The model's answering name. Raises Refused for the two that show errors, and for unknown ones."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(400, "you must provide a model parameter", "invalid_request_error", param="model")
    if model == "broken-model":
        raise Refused(
            500, "The server had an error while processing your request. Sorry about that!", "server_error"
        )
    if model == "busy-model":
        raise Refused(429, "Rate limit reached for busy-model.", "requests", "rate_limit_exceeded")
    if model not in MODELS and not model.startswith(FAMILIES):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(404, message, "invalid_request_error", "model_not_found")
    return MODELS.get(model, model)


def chat(body: Body, created_s: int) -> Body:
    """A `chat.completion`. `created_s` is in seconds since the epoch."""
    model, says = check_model(body), _says(body)
    return {
        "id": f"chatcmpl-{seed(body):014x}",
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [
            {"index": index, "message": _message(say), "logprobs": None, "finish_reason": say.finish}
            for index, say in enumerate(says)
        ],
        "usage": _usage(body, says),
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def chat_events(body: Body, created_s: int) -> Iterator[Body]:
    """The same answer as `chat.completion.chunk`s, usage last where `stream_options` asks for it."""
    model, says = check_model(body), _says(body)
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    frame: Body = {
        "id": f"chatcmpl-{seed(body):014x}",
        "object": "chat.completion.chunk",
        "created": created_s,
        "model": model,
        "system_fingerprint": "fp_fake",
    }
    if wants_usage:
        frame["usage"] = None
    for index, say in enumerate(says):
        for delta in _deltas(say):
            yield frame | {"choices": [_choice(index, delta, None)]}
        yield frame | {"choices": [_choice(index, {}, say.finish)]}
    if wants_usage:
        yield frame | {"choices": [], "usage": _usage(body, says)}


def completion(body: Body, created_s: int) -> Body:
    """A `text_completion`, the older API."""
    model = check_model(body)
    prompts = body.get("prompt") or ""
    texts = [answer_to(str(prompt)) for prompt in (prompts if isinstance(prompts, list) else [prompts])]
    prompt_tokens, completion_tokens = count(str(prompts)), sum(map(count, texts))
    return {
        "id": f"cmpl-{seed(body):014x}",
        "object": "text_completion",
        "created": created_s,
        "model": model,
        "choices": [
            {"text": text, "index": index, "logprobs": None, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def completion_events(body: Body, created_s: int) -> Iterator[Body]:
    whole = completion(body, created_s)
    frame = {name: whole[name] for name in ("id", "object", "created", "model")}
    for choice in whole["choices"]:
        for piece in pieces(choice["text"]):
            yield frame | {"choices": [choice | {"text": piece, "finish_reason": None}]}
        yield frame | {"choices": [choice | {"text": ""}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield frame | {"choices": [], "usage": whole["usage"]}


def embeddings(body: Body) -> Body:
    """A list of unit vectors, as floats or base64 of little-endian float32."""
    model, given = check_model(body), body.get("input")
    if given is None or given in ("", []):
        raise Refused(400, "'input' is a required property", "invalid_request_error", param="input")
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    size = int(body.get("dimensions") or 1536)
    vectors = [_vector(jsonio.dumps(item), size) for item in inputs]
    as_base64 = body.get("encoding_format") == "base64"
    tokens = sum(count(str(item)) for item in inputs)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def response(body: Body, created_s: int) -> Body:
    """A `response` of the Responses API."""
    model, text = check_model(body), answer_to(question_in(body.get("input")))
    number = seed(body)
    usage = _usage(body, [Say(text, "stop")])
    return {
        "id": f"resp_{number:014x}",
        "object": "response",
        "created_at": created_s,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "model": model,
        "output": [_output_item(number, text, "completed")],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": usage["prompt_tokens_details"],
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {
                "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"]
            },
            "total_tokens": usage["total_tokens"],
        },
    }


def response_events(body: Body, created_s: int) -> Iterator[Body]:
    """The Responses API's typed events, numbered; the last one carries the whole response."""
    whole = response(body, created_s)
    for number, event in enumerate(_response_steps(whole)):
        yield event | {"sequence_number": number}


def _response_steps(whole: Body) -> Iterator[Body]:
    item = whole["output"][0]
    text = item["content"][0]["text"]
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part: Body = {"type": "output_text", "text": "", "annotations": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    opened = item | {"status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": opened}
    yield {"type": "response.content_part.added", "part": part, **place}
    for piece in pieces(text):
        yield {"type": "response.output_text.delta", "delta": piece, **place}
    yield {"type": "response.output_text.done", "text": text, **place}
    yield {"type": "response.content_part.done", "part": part | {"text": text}, **place}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": whole}


def moderation(body: Body) -> Body:
    model = check_model({"model": "omni-moderation-latest"} | body)
    return {
        "id": f"modr-{seed(body):014x}",
        "model": model,
        "results": [
            {"flagged": False, "categories": {"violence": False}, "category_scores": {"violence": 0.0001}}
        ],
    }


def model_card(name: str) -> Body:
    if name not in MODELS:
        message = f"The model `{name}` does not exist"
        raise Refused(404, message, "invalid_request_error", "model_not_found", "model")
    return {"id": name, "object": "model", "created": 1_715_367_049, "owned_by": "fake-openai"}


def _says(body: Body) -> list[Say]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        message = "Missing required parameter: 'messages'."
        raise Refused(400, message, "invalid_request_error", "missing_required_parameter", "messages")
    calls = _tool_calls(body, messages)
    if calls:
        return [Say("", "tool_calls", calls)]
    question = question_in(messages)
    return [_within_limit(answer_to(question, variant), body) for variant in range(int(body.get("n") or 1))]


def _within_limit(text: str, body: Body) -> Say:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(limit, int) and count(text) > limit:
        words = text.split(" ")
        while len(words) > 1 and count(" ".join(words)) > limit:
            words.pop()
        return Say(" ".join(words), "length")
    return Say(text, "stop")


def _tool_calls(body: Body, messages: list[Any]) -> tuple[Body, ...]:
    """A call of the tool that `tool_choice` names, else of the first; none after a tool has answered."""
    tools = [tool["function"] for tool in body.get("tools") or [] if "function" in tool]
    choice = body.get("tool_choice") or "auto"
    if not tools or choice == "none" or messages[-1].get("role") == "tool":
        return ()
    wanted = choice["function"]["name"] if isinstance(choice, dict) else tools[0]["name"]
    tool = next((tool for tool in tools if tool["name"] == wanted), tools[0])
    arguments = _arguments(tool.get("parameters") or {}, question_in(messages))
    function = {"name": tool["name"], "arguments": jsonio.dumps_text(arguments)}
    return ({"id": f"call_{seed(body):014x}", "type": "function", "function": function},)


def _arguments(schema: Body, question: str) -> Body:
    """Values that fit a tool's JSON Schema: the first of an enum, else something of the right type."""
    names = [word for word in TOKEN.findall(question)[1:] if word[0].isupper()]
    plain: Body = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None}
    return {
        name: (rule.get("enum") or [plain.get(rule.get("type", "string"), names[0] if names else "Paris")])[0]
        for name, rule in (schema.get("properties") or {}).items()
    }


def _message(say: Say) -> Body:
    message: Body = {"role": "assistant", "content": say.text or None, "refusal": None, "annotations": []}
    return message | {"tool_calls": list(say.tool_calls)} if say.tool_calls else message


def _deltas(say: Say) -> Iterator[Body]:
    if not say.tool_calls:
        yield {"role": "assistant", "content": "", "refusal": None}
        for piece in pieces(say.text):
            yield {"content": piece}
        return
    yield {"role": "assistant", "content": None}
    for index, call in enumerate(say.tool_calls):
        arguments = call["function"]["arguments"]
        yield {"tool_calls": [call | {"index": index, "function": call["function"] | {"arguments": ""}}]}
        for start in range(0, len(arguments), 6):
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[start : start + 6]}}]}


def _choice(index: int, delta: Body, finish: str | None) -> Body:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _usage(body: Body, says: list[Say]) -> Body:
    """Token counts: a system message counts as cached, a reasoning model as having thought for a while."""
    asked = body.get("messages") or body.get("input") or ""
    prompt = count(str(asked)) + count(str(body.get("instructions") or ""))
    said = sum(count(say.text) + count(str(say.tool_calls or "")) for say in says)
    reasoning = 64 + seed(body) % 8 * 16 if str(body.get("model")).startswith("o") else 0
    has_system = isinstance(asked, list) and any(
        isinstance(message, dict) and message.get("role") in ("system", "developer") for message in asked
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": said + reasoning,
        "total_tokens": prompt + said + reasoning,
        "prompt_tokens_details": {"cached_tokens": prompt // 2 if has_system else 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def _output_item(number: int, text: str, status: str) -> Body:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "type": "message",
        "id": f"msg_{number:014x}",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _vector(data: bytes, size: int) -> list[float]:
    noise = hashlib.shake_128(data).digest(size * 2)
    raw = [value / 32768 for value in struct.unpack(f"<{size}h", noise)]
    length = math.sqrt(math.fsum(value * value for value in raw)) or 1.0
    return [round(value / length, 8) for value in raw]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
