"""What `gateway demo` sends: an afternoon at a small company, as requests and feedback.

The script is data; `send` and `give` turn one entry into one HTTP call. Nothing is printed here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway import jsonio

if TYPE_CHECKING:
    import httpx

CHAT = "/v1/chat/completions"
KEY = "sk-demo-no-real-key"


@dataclass(slots=True, frozen=True)
class Call:
    """One request of the application. Without a `trace` the gateway makes up an id."""

    trace: str | None
    user: str
    prompt: str
    body: dict[str, Any]
    path: str = CHAT
    environment: str = "production"


@dataclass(slots=True, frozen=True)
class Sent:
    """How a call went. `trace` is the id the gateway answered with."""

    call: Call
    trace: str
    status: int
    latency_ms: float
    said: str


@dataclass(slots=True, frozen=True)
class Opinion:
    """One post to `/v1/feedback`: one piece of feedback, or several at once."""

    who: str
    items: tuple[dict[str, Any], ...]
    why: str = field(default="")


def _ask(model: str, question: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], **more}


def _support(question: str, **more: Any) -> dict[str, Any]:
    system = {"role": "system", "content": "You answer customers of a bicycle shop in two sentences."}
    return {"model": "gpt-4o-mini", "messages": [system, {"role": "user", "content": question}], **more}


WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius"]}},
        },
    },
}

STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

FALLBACK_MODEL = "always-there"
"""A name that the demo's configuration gives to two targets, the first of which is down."""

BICYCLES = {"model": "text-embedding-3-small", "input": ["red bicycle", "blue bicycle"]}

CALLS = (
    Call("support-4711", "ana", "support_v2", _support("How do I get a refund for my helmet?")),
    Call("support-4711", "ana", "support_v2", _support("And in short: can you summarize that?", **STREAM)),
    Call("haiku-1", "ben", "poet", _ask("gpt-4o", "Write a haiku about an API gateway", **STREAM)),
    Call("weather-88", "cleo", "assistant", _ask("gpt-4o", "Is it raining in Lisbon?", tools=[WEATHER_TOOL])),
    Call(
        "weather-88", "cleo", "assistant",
        _ask("gpt-4o", "Is it raining in Lisbon?", tools=[WEATHER_TOOL], tool_choice="none", **STREAM),
    ),
    Call("title-9", "dev", "titles", _ask("broken-model", "Give me a title for my talk")),
    Call("title-9", "dev", "titles", _ask("gpt-4.1-mini", "Give me a title for my talk", n=2)),
    Call("proof-3", "ana", "thinker", _ask("o4-mini", "Is 97 prime? Write the function.", **STREAM)),
    Call("outage-5", "ben", "assistant", _ask(FALLBACK_MODEL, "What do you do when a provider is down?")),
    Call("search-12", "ben", "index", BICYCLES, path="/v1/embeddings", environment="staging"),
    Call("agent-5", "cleo", "agent", {"model": "gpt-4.1", "input": "hello, who are you?", "stream": True},
         path="/v1/responses", environment="staging"),
    Call(None, "dev", "support_v2", _support("What is the capital of France?", max_tokens=4)),
)  # fmt: skip

OPINIONS = (
    Opinion("ana", ({"trace_id": "support-4711", "value": 10},), "solved it"),
    Opinion("a judge model", ({"trace_id": "support-4711", "value": 4, "weight": 0.5},), "complete, but dry"),
    Opinion("ben", ({"trace_id": "haiku-1", "value": 10},), "made me smile"),
    Opinion("a strict teacher", ({"trace_id": "haiku-1", "value": -10, "weight": 0.3},), "syllables!"),
    Opinion("cleo", ({"trace_id": "weather-88", "value": 1},) * 3, "three thumbs up, one post"),
    Opinion("dev", ({"trace_id": "title-9", "value": -7, "weight": 0.8},), "it failed first"),
    Opinion("ana", ({"trace_id": "proof-3", "value": 0},), "zero is a value too"),
    Opinion(
        "the night shift",
        ({"trace_id": "order-2026", "value": 5, "weight": 0.9},),
        "its request is yet to come",
    ),
)


def send(client: httpx.Client, call: Call) -> Sent:
    """Make the call as an application would, reading its answer to the end. `client` has the base URL."""
    metadata = {"_user": call.user, "_prompt": call.prompt, "_environment": call.environment}
    headers = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "x-metadata": jsonio.dumps_text(metadata),
        **({"x-trace-id": call.trace} if call.trace else {}),
    }
    started_ns = time.perf_counter_ns()
    response = client.post(call.path, content=jsonio.dumps(call.body), headers=headers)
    latency_ms = (time.perf_counter_ns() - started_ns) / 1e6
    trace = response.headers.get("x-trace-id", "")
    return Sent(call, trace, response.status_code, latency_ms, _said(response))


def give(client: httpx.Client, opinion: Opinion) -> list[str]:
    """Post the opinion; the ids of what was stored. Raises httpx.HTTPStatusError when it was refused."""
    items = [{**item, "metadata": {"_user": opinion.who, "text": opinion.why}} for item in opinion.items]
    body = jsonio.dumps(items if len(items) > 1 else items[0])
    response = client.post("/v1/feedback", content=body, headers={"content-type": "application/json"})
    response.raise_for_status()
    ids: list[str] = jsonio.loads(response.content)["feedback_ids"]
    return ids


def question(call: Call) -> str:
    """What was asked, in the words of the last user."""
    if "messages" in call.body:
        return str(call.body["messages"][-1]["content"])
    asked = call.body["input"]
    return asked if isinstance(asked, str) else ", ".join(asked)


def _said(response: httpx.Response) -> str:
    """One line on the answer: its text where it has one."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return _streamed_text(response.text)
    answer = jsonio.loads(response.content)
    if "error" in answer:
        return str(answer["error"]["message"])
    if answer.get("object") == "list":
        return f"{len(answer['data'])} vectors of {len(answer['data'][0]['embedding']):,} numbers"
    message = answer["choices"][0]["message"]
    if message.get("tool_calls"):
        function = message["tool_calls"][0]["function"]
        return f"{function['name']}({function['arguments']})"
    return str(message["content"])


def _streamed_text(stream: str) -> str:
    """The text of a chat stream, or of the Responses API's."""
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    events = [jsonio.loads(line) for line in lines]
    chat = [event["choices"][0]["delta"].get("content") or "" for event in events if event.get("choices")]
    return "".join(chat) or "".join(event["delta"] for event in events if isinstance(event.get("delta"), str))
