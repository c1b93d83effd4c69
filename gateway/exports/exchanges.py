"""An exchange as one line of JSON: its log, the conversation in OpenAI's chat form, and all its feedback."""

from __future__ import annotations

from typing import Any

from gateway.exports.conversation import NOTHING, Conversation
from gateway.exports.lines import json_line


def exchange_line(
    log: dict[str, Any], talk: Conversation, feedback: list[dict[str, Any]], *, has_more: bool
) -> bytes:
    """`log` and `feedback` are as the API shows them. A conversation nested too deeply is left out."""
    try:
        return _line(log, talk, feedback, has_more)
    except TypeError:
        return _line(log, NOTHING, feedback, has_more)


def _line(log: dict[str, Any], talk: Conversation, feedback: list[dict[str, Any]], has_more: bool) -> bytes:
    return json_line(
        {
            **log,
            "object": "exchange",
            "messages": talk.messages,
            "answer": talk.answer,
            "request": talk.request,
            "feedback_items": feedback,
            "feedback_items_has_more": has_more,
        }
    )
