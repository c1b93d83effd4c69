"""Lists of models: what an upstream's says, and the one that several make together.

Plain data in and out. Who is asked, and which of it routes offer, is told from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from gateway import jsonio

OWNER = "gateway"
"""`owned_by` of a model that only routes know."""

LIST_QUERY: Mapping[str, bytes] = {"anthropic": b"limit=1000"}
"""What to ask for the whole list with: Anthropic's has pages of 20. Source: Claude API, List Models."""

UNLISTED = frozenset({"azure"})
"""Providers whose list is not asked for: Azure's names the models that could be deployed, not the deployments
that a request can ask for. Source: Azure OpenAI REST API reference, Models - List."""

_GEMINI_PREFIX = "models/"

Entry = dict[str, Any]
Offers = Callable[[str, str], bool]
"""Whether a request for the model (first) may lead to the upstream (second) under this very name."""


def entries_of(body: bytes) -> list[Entry]:
    """The models in an answer to `GET /models`: under `data`, or a bare array as Together sends it.

    Raises ValueError for anything else.
    """
    answer = jsonio.loads(body)
    found = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(found, list):
        raise ValueError("there is no list in it")  # noqa: TRY004 - the answer's fault, not our types'
    return [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def listed(upstream: str, provider: str, entries: Iterable[Entry], offers: Offers) -> list[Entry]:
    """Those of an upstream's models that routes offer, with every field they came with.

    OpenAI's fields are added where an entry lacks them, since typed clients refuse a list without. Gemini's
    ids begin with `models/`, which is optional in requests: where no route knows them so, they go without.
    """
    found = []
    for entry in entries:
        name = entry["id"]
        if provider == "gemini" and not offers(name, upstream):
            name = name.removeprefix(_GEMINI_PREFIX)
        if offers(name, upstream):
            found.append(_as_openai(entry, name, upstream))
    return found


def alias(name: str) -> Entry:
    """The object of a model that only routes know."""
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


def merged(aliases: Iterable[str], lists: Iterable[Iterable[Entry]]) -> list[Entry]:
    """One list, each id once: what routes name first, described by an upstream that knows it if any does."""
    known: dict[str, Entry] = {}
    for entries in lists:
        for entry in entries:
            known.setdefault(entry["id"], entry)
    named = {name: known.pop(name) if name in known else alias(name) for name in aliases}
    return [*named.values(), *known.values()]


def _as_openai(entry: Entry, name: str, upstream: str) -> Entry:
    return {
        **entry,
        "id": name,
        "object": entry.get("object", "model"),
        "created": entry["created"] if "created" in entry else _created(entry.get("created_at")),
        "owned_by": entry.get("owned_by", upstream),
    }


def _created(at: Any) -> int:
    """Seconds since the epoch: Anthropic writes an ISO time."""
    if isinstance(at, int):
        return at
    try:
        return int(datetime.fromisoformat(at).timestamp())
    except (TypeError, ValueError):
        return 0
