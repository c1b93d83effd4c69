"""An exchange as a conversation: turns of text, images, calls and results, whichever API it went through.

Pure. Reads Chat Completions, Completions, Responses and Anthropic's Messages as far as they can be read; what
is not understood is shown as its JSON, and nothing raises on a body. No address of an image is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gateway.capture.message import assemble, whole_json
from gateway.jsonio import JSON, dumps_text
from gateway.records import BodyRow, ExchangeRow

MAX_IMAGE_CHARS = 2 * 1024 * 1024
MAX_TURNS = 300

_SAFE_IMAGE = re.compile(r"data:image/(?:png|jpeg|jpg|gif|webp);base64,[A-Za-z0-9+/=]+", re.ASCII)
_TEXTS = ("text", "input_text", "output_text")


@dataclass(slots=True, frozen=True)
class Part:
    """A piece of a turn. `label` is the name of a tool or of what the piece is; `text` what it says.

    An image has its data: URL as `text`, or none where it is not shown.
    """

    kind: Literal["text", "image", "call", "result", "thinking", "note"]
    text: str | None
    label: str = ""


@dataclass(slots=True, frozen=True)
class Turn:
    role: str
    parts: tuple[Part, ...]

    @property
    def words(self) -> str:
        """All it says, for comparing."""
        return "\n".join(part.text for part in self.parts if part.text and part.kind != "image")


@dataclass(slots=True, frozen=True)
class Talk:
    """`asked` and `answered` are turns, in order; `notes` say what is missing, and why."""

    asked: tuple[Turn, ...]
    answered: tuple[Turn, ...]
    notes: tuple[str, ...]


def talk(row: ExchangeRow, bodies: BodyRow | None) -> Talk:
    """What was said in an exchange."""
    if bodies is None or (bodies.request_head is None and bodies.response_head is None):
        return Talk((), (), ("The bodies of this exchange were not kept (capture.bodies).",))
    notes: list[str] = []
    asked: tuple[Turn, ...] = ()
    request = whole_json(bodies.request_head, bodies.request_tail, bodies.request_encoding)
    if isinstance(request, dict):
        turns = list(_asked(request))
        if len(turns) > MAX_TURNS:
            notes.append(f"Of {len(turns)} messages, the last {MAX_TURNS} are shown.")
        asked = tuple(turns[-MAX_TURNS:])
    elif bodies.request_tail is not None:
        notes.append("The request was longer than capture.max_body_bytes, so its middle was not kept.")
    answer = _answer(row, bodies)
    answered = tuple(_answered(answer))
    if bodies.response_tail is not None:
        notes.append("The answer was longer than capture.max_body_bytes, so its middle was not kept.")
    elif not answered and bodies.response_head and answer is None:
        answered = tuple(_unread(bodies))
    return Talk(asked, answered, tuple(notes))


def repeated(turns: Iterable[Turn], before: Iterable[Turn]) -> int:
    """How many turns at the start of `turns` were in the conversation `before` already, one after another."""
    count = 0
    for now, then in zip(turns, before, strict=False):
        if now.role != then.role or now.words != then.words:
            break
        count += 1
    return count


def _answer(row: ExchangeRow, bodies: BodyRow) -> JSON:
    if bodies.response_head is None or bodies.response_encoding is not None:
        return None
    if row.streamed:
        return assemble(bodies.response_head, bodies.response_tail)
    return whole_json(bodies.response_head, bodies.response_tail, None)


def _unread(bodies: BodyRow) -> Iterator[Turn]:
    head = bodies.response_head or b""
    if bodies.response_encoding is not None:
        yield Turn("answer", (Part("note", f"{len(head)} bytes, encoded as {bodies.response_encoding}"),))
        return
    try:
        yield Turn("answer", (Part("text", head.decode()),))
    except UnicodeDecodeError:
        yield Turn("answer", (Part("note", f"{len(head)} bytes that are not text"),))


# --- what was asked ---


def _asked(request: dict[str, Any]) -> Iterator[Turn]:
    for name in ("system", "instructions"):
        if request.get(name):
            yield Turn("system", tuple(_parts(request[name])))
    messages = request.get("messages")
    if isinstance(messages, list):
        yield from map(_message, messages)
        return
    given = request.get("input", request.get("prompt"))
    if isinstance(given, str):
        yield Turn("user", (Part("text", given),))
    elif isinstance(given, list) and all(isinstance(item, str) for item in given):
        yield Turn("user", tuple(Part("text", item) for item in given))
    elif isinstance(given, list):
        yield from map(_message, given)


def _message(message: Any) -> Turn:
    """A message of any API, or an item of a Responses input or output."""
    if not isinstance(message, dict):
        return Turn("user", (Part("note", _shown(message)),))
    kind = message.get("type")
    if kind == "function_call":
        return Turn("assistant", (_call(message),))
    if kind == "function_call_output":
        return Turn("tool", (Part("result", _shown(message.get("output")), _word(message.get("call_id"))),))
    if kind == "reasoning":
        return Turn("assistant", tuple(_reasoning(message)))
    role = _word(message.get("role")) or "assistant"
    parts = [
        Part("thinking", message[name])
        for name in ("reasoning_content", "reasoning")
        if isinstance(message.get(name), str) and message[name]
    ]
    content = message.get("content")
    if role in ("tool", "function"):
        label = _word(message.get("name") or message.get("tool_call_id"))
        parts += [
            Part("result", part.text, label) if part.kind == "text" else part for part in _parts(content)
        ]
    else:
        parts += _parts(content)
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append(Part("text", message["refusal"], "refusal"))
    calls = message.get("tool_calls")
    parts += [_call(call) for call in calls] if isinstance(calls, list) else []
    if isinstance(message.get("function_call"), dict):
        parts.append(_call(message))
    return Turn(role, tuple(parts))


def _reasoning(item: dict[str, Any]) -> Iterator[Part]:
    summary = item.get("summary")
    for piece in summary if isinstance(summary, list) else ():
        if isinstance(piece, dict) and isinstance(piece.get("text"), str):
            yield Part("thinking", piece["text"])


def _parts(content: Any) -> Iterator[Part]:
    if content is None:
        return
    if isinstance(content, str):
        if content:
            yield Part("text", content)
    elif isinstance(content, list):
        for piece in content:
            yield from _part(piece)
    else:
        yield Part("note", _shown(content))


def _part(piece: Any) -> Iterator[Part]:
    if isinstance(piece, str):
        yield Part("text", piece)
        return
    if not isinstance(piece, dict):
        yield Part("note", _shown(piece))
        return
    kind = piece.get("type")
    if kind in _TEXTS and isinstance(piece.get("text"), str):
        yield Part("text", piece["text"])
    elif kind in ("image_url", "input_image", "image"):
        yield _image(piece)
    elif kind == "tool_use":
        yield Part(
            "call", _shown(piece.get("input_json") or piece.get("input") or {}), _word(piece.get("name"))
        )
    elif kind == "tool_result":
        yield Part("result", _plain(piece.get("content")), _word(piece.get("tool_use_id")))
    elif kind in ("thinking", "reasoning"):
        yield Part("thinking", _plain(piece.get("thinking") or piece.get("text")))
    elif kind == "refusal":
        yield Part("text", _plain(piece.get("refusal")), "refusal")
    elif kind in ("input_audio", "audio", "file", "input_file", "document"):
        yield Part("note", f"{kind}: not shown here; it is in the raw request")
    else:
        yield Part("note", _shown(piece))


def _image(piece: dict[str, Any]) -> Part:
    """An image that the body holds itself; of any other only that it was there."""
    source = piece.get("source")
    if isinstance(source, dict) and source.get("type") == "base64":
        address: Any = f"data:{source.get('media_type')};base64,{source.get('data')}"
    elif isinstance(source, dict):
        address = source.get("url")
    else:
        address = piece.get("image_url")
        address = address.get("url") if isinstance(address, dict) else address
    if not isinstance(address, str):
        return Part("image", None, "an image without an address")
    if not address.startswith("data:"):
        return Part("image", None, f"an image at {address[:200]} (not loaded)")
    if len(address) > MAX_IMAGE_CHARS:
        return Part("image", None, f"an image of {len(address) * 3 // 4:,} bytes (too large to show)")
    if not _SAFE_IMAGE.fullmatch(address):
        return Part("image", None, "an image of a kind that is not shown")
    return Part("image", address, "an image")


def _call(call: Any) -> Part:
    if not isinstance(call, dict):
        return Part("note", _shown(call))
    function = call.get("function") or call.get("function_call") or call.get("custom") or call
    if not isinstance(function, dict):
        return Part("note", _shown(call))
    arguments = function.get("arguments", function.get("input"))
    return Part("call", _shown(arguments) if arguments is not None else "", _word(function.get("name")))


# --- what was answered ---


def _answered(answer: JSON) -> Iterator[Turn]:
    if not isinstance(answer, dict):
        if answer is not None:
            yield Turn("answer", (Part("note", _shown(answer)),))
        return
    if isinstance(answer.get("choices"), list):
        yield from _choices(answer["choices"])
    elif isinstance(answer.get("output"), list):
        yield from map(_message, answer["output"])
    elif isinstance(answer.get("content"), list):
        yield Turn("assistant", tuple(_parts(answer["content"])))
    elif isinstance(answer.get("output_text"), str):
        yield Turn("assistant", (Part("text", answer["output_text"]),))
    elif isinstance(answer.get("error"), dict):
        yield Turn(
            "error", (Part("text", _plain(answer["error"].get("message")) or _shown(answer["error"])),)
        )
    elif isinstance(answer.get("data"), list) and answer["data"]:
        yield Turn("answer", (Part("note", _data(answer["data"])),))
    else:
        yield Turn("answer", (Part("note", _shown(answer)),))


def _choices(choices: list[Any]) -> Iterator[Turn]:
    for index, choice in enumerate(choices):
        if not isinstance(choice, dict):
            continue
        role = "assistant" if len(choices) == 1 else f"assistant {index + 1}"
        if isinstance(choice.get("message"), dict):
            yield Turn(role, _message(choice["message"]).parts)
        elif isinstance(choice.get("text"), str):
            yield Turn(role, (Part("text", choice["text"]),))


def _data(data: list[Any]) -> str:
    first = data[0] if isinstance(data[0], dict) else {}
    if isinstance(first.get("embedding"), list):
        return f"{len(data)} vectors of {len(first['embedding']):,} numbers"
    return f"{len(data)} entries: {_shown(data)[:2000]}"


def _plain(value: Any) -> str:
    """The text in a value: of a list of parts, theirs."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        if texts and all(isinstance(text, str) for text in texts):
            return "\n".join(str(text) for text in texts)
    return "" if value is None else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return dumps_text(value)
    except TypeError:
        return "(nested too deeply to show)"


def _word(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""
