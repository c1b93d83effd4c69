"""The bytes that are sent to and fro: a 190-byte request, a 530-byte completion, 240-byte stream events."""

from __future__ import annotations

import json

EVENTS = 50
EVENT_PAUSE_S = 0.010
EVENT_BYTES = 240


def _padded(value: dict[str, object], path: list[object], size: int) -> bytes:
    """`value` as JSON of exactly `size` bytes: the text found along `path` is drawn out."""
    holder: object = value
    for step in path[:-1]:
        holder = holder[step]  # type: ignore[index]
    text = "The quick brown fox jumps over the lazy dog. " * 20
    missing = size - len(json.dumps(value))
    holder[path[-1]] = text[:missing]  # type: ignore[index]
    return json.dumps(value).encode()


def chat_request(*, stream: bool, max_tokens: int = EVENTS) -> bytes:
    """`max_tokens` is how many events the benchmark's upstream streams."""
    value: dict[str, object] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ""}]}
    if stream:
        value |= {"stream": True, "max_tokens": max_tokens}
    return _padded(value, ["messages", 0, "content"], 190)


COMPLETION = _padded(
    {
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60},
    },
    ["choices", 0, "message", "content"],
    530,
)  # fmt: skip

EVENT = (
    b"data: "
    + _padded(
        {
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}],
        },
        ["choices", 0, "delta", "content"],
        EVENT_BYTES - len(b"data: \n\n"),
    )
    + b"\n\n"
)  # fmt: skip

DONE = b"data: [DONE]\n\n"


def http_post(body: bytes, port: int) -> bytes:
    """A chat request as it goes over the wire."""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer sk-bench\r\nAccept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
