"""The words of the fake OpenAI upstream: which answer a question gets, and what counts as a token.

Pure functions over text; the shapes of responses are `gateway.cli.fake_answers`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

KNOWN_ANSWERS = {
    r"capital of france": "The capital of France is Paris.",
    r"capital of (\w+)": "Ask me about France: for {0} I would rather look it up than guess.",
    r"haiku": "Gateway in the rain,\nevery answer leaves a trace,\nthumbs up, thumbs down, kept.",
    r"refund": "You can return anything within 30 days. Open Orders, pick the item and choose Refund.",
    r"translate|french": "Bien sûr ! « Merci pour votre retour » veut dire “thank you for your feedback”.",
    r"summar": "In short: the meeting moved to Thursday, the budget stands, and Ana owns the next draft.",
    r"title": "Three titles: “Small Talk, Big Models”, “The Answer Ledger”, “What They Thought of It”.",
    r"\b(hi|hello|hey)\b": "Hello! What can I do for you today?",
    r"prime": "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))",
}

OTHER_ANSWERS = (
    "Good question. The short answer is yes, as long as you keep the two steps apart.",
    "There are three things to look at: where the data comes from, who owns it, and how long it is kept.",
    "I would start with the smallest version that works and let the numbers decide the rest.",
    "It depends on the load: below a hundred requests a second, one process is plenty.",
    "Here is a way to do it: write down what you expect, run it once, and compare.",
)

TOKEN = re.compile(r"\w+|[^\w\s]")


def answer_to(question: str, variant: int = 0) -> str:
    """The known answer, or one of the others; later variants begin at another place of the list."""
    for pattern, answer in KNOWN_ANSWERS.items():
        found = re.search(pattern, question, re.IGNORECASE)
        if found and variant == 0:
            return answer.format(*found.groups()) if "{0}" in answer else answer
    place = hashlib.sha256(question.encode()).digest()[0] + variant
    return OTHER_ANSWERS[place % len(OTHER_ANSWERS)]


def question_in(given: Any) -> str:
    """The last user text in a list of messages, in a list of content parts, or the text itself."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        return ""
    for item in reversed(given):
        if isinstance(item, dict) and item.get("role", "user") == "user":
            return str(item["text"]) if "text" in item else question_in(item.get("content"))
    return ""


def pieces(text: str) -> list[str]:
    """Words with the space that follows them, about what a token is."""
    return re.findall(r"\S+\s*|\s+", text)


def count(text: str) -> int:
    return len(TOKEN.findall(text))
