"""Training examples from conversations that people rated or corrected, in OpenAI's two file formats.

Supervised: `{"messages", "tools", …}`. Preference: `{"input", "preferred_output", "non_preferred_output"}`.
Source: https://platform.openai.com/docs/guides/supervised-fine-tuning and
https://platform.openai.com/docs/guides/direct-preference-optimization. Which exchanges are candidates is the
store's to know.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson

from gateway.exports.conversation import Conversation, Message
from gateway.exports.lines import json_line
from gateway.jsonio import JSON, dumps_text, loads

Example = dict[str, Any]

_MEMBERS: Final = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "weight")
"""What a training file's messages may have; clients send answers back with more than that."""
_ANSWER_MEMBERS: Final = ("content", "tool_calls", "function_call")


def example_line(example: Example, exchange_id: str | None) -> bytes | None:
    """A line of a training file; with `exchange_id` it has an `id`, which the format does not know.

    None for what is nested too deeply to be written.
    """
    try:
        return json_line(example if exchange_id is None else {"id": exchange_id, **example})
    except TypeError:
        return None


def supervised(talk: Conversation, correction: JSON = None) -> Example | None:
    """The conversation with its answer, or with the correction in the answer's place.

    None where the prompt or the answer cannot be told, or the correction is none of an answer.
    """
    prompt = _prompt(talk)
    answer = _answer(talk.answer) if correction is None else corrected(talk, correction)
    if prompt is None or answer is None:
        return None
    messages, more = prompt
    return {"messages": [*messages, answer], **more}


def preference(talk: Conversation, *, preferred: Message | None, other: Message | None) -> Example | None:
    """The prompt with the better answer and the worse one. None where they are the same or one is missing."""
    prompt, better, worse = _prompt(talk), _answer(preferred), _answer(other)
    if prompt is None or better is None or worse is None or better == worse:
        return None
    messages, more = prompt
    tools = {"tools": more.get("tools", []), "parallel_tool_calls": more.get("parallel_tool_calls", True)}
    return {
        "input": {"messages": messages, **tools},
        "preferred_output": [better],
        "non_preferred_output": [worse],
    }


def corrected(talk: Conversation, correction: JSON) -> Message | None:
    """A correction as the assistant's message: text, a message, or JSON where the answer was JSON too."""
    if isinstance(correction, str):
        return _answer({"content": correction})
    if isinstance(correction, dict) and correction.get("role") == "assistant":
        return _answer(correction)
    content = None if talk.answer is None else talk.answer.get("content")
    if type(_json(content)) is not type(correction):
        return None
    return _answer({"content": dumps_text(correction)})


def prompt_digest(talk: Conversation) -> bytes | None:
    """The same for the same prompt, whatever model answered it: 16 bytes of its messages and tools."""
    prompt = _prompt(talk)
    if prompt is None:
        return None
    try:
        text = orjson.dumps(prompt, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None  # nested too deeply
    return hashlib.blake2b(text, digest_size=16).digest()


def _prompt(talk: Conversation) -> tuple[list[Message], dict[str, Any]] | None:
    """The messages and what goes with them: tools in Chat Completions' form, or there is no example."""
    if talk.messages is None or talk.request is None:
        return None
    more = {}
    for name in ("tools", "functions"):
        given = talk.request.get(name)
        if not given:
            continue
        if name == "tools" and not _are_tools(given):
            return None
        more[name] = given
    if "tools" in more and isinstance(talk.request.get("parallel_tool_calls"), bool):
        more["parallel_tool_calls"] = talk.request["parallel_tool_calls"]
    return [_cleaned(message) for message in talk.messages], more


def _are_tools(given: JSON) -> bool:
    return isinstance(given, list) and all(
        isinstance(tool, dict) and isinstance(tool.get("function"), dict) for tool in given
    )


def _cleaned(message: Message) -> Message:
    return {name: message[name] for name in _MEMBERS if message.get(name) is not None}


def _answer(message: Message | None) -> Message | None:
    """The assistant's message as a file may have it; None for one that says nothing."""
    said = {name: message[name] for name in _ANSWER_MEMBERS if message.get(name)} if message else {}
    return {"role": "assistant", **said} if said else None


def _json(content: JSON) -> JSON:
    if not isinstance(content, str):
        return None
    try:
        return loads(content)
    except ValueError:
        return None
