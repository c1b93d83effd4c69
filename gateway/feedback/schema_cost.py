"""What checking a value against a JSON Schema can cost at most, worked out before any value is there.

`$ref` lets a small schema do an enormous amount of work: forty definitions that each mention the next one
twice look 2⁴⁰ times at the same value. So references are followed here first: how many parts of the schema
can look at one place of a value, and how deep inside each other. Nothing is validated here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from gateway.errors import InvalidField

MAX_VALUE_DEPTH = 32
"""Levels of objects and arrays in a value; the cost is worked out for each."""
MAX_LOOKS = 500
MAX_CHAIN = 32
MAX_PARTS = 2_000
MAX_PATTERNS = 20

_HERE = frozenset(
    ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
)
_BELOW = frozenset(
    (
        "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames",
        "prefixItems", "items", "additionalItems", "unevaluatedItems", "contains",
    )
)  # fmt: skip
_KEPT = frozenset(("$defs", "definitions"))
_MAPS = _KEPT | {"dependentSchemas", "dependencies", "patternProperties", "properties"}
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_REMEDY = "put what it needs under $defs and write #/$defs/name; nothing is ever fetched"


class BadSchema(InvalidField):
    """A JSON Schema that is refused. `path` is the JSON Pointer to the place in it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"schema: {path}: {problem}" if path else f"schema: {problem}", param="schema")
        self.path = path


def pointer(path: Sequence[str | int]) -> str:
    """The JSON Pointer of a path: empty for the whole. Source: RFC 6901."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


@dataclass(slots=True, eq=False)
class _Part:
    """A subschema. `here` look at the same place of the value as it does, `below` (by keyword) one deeper."""

    path: str
    schema: Mapping[str, Any]
    here: list[_Part] = field(default_factory=list)
    below: dict[str, list[_Part]] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        """How often everything `here` looks: more than once where it is asked which members it has seen."""
        asks = "unevaluatedProperties" in self.schema or "unevaluatedItems" in self.schema
        return 3 if asks else 1


def looks(schema: Mapping[str, Any]) -> int:
    """How many parts of `schema` look at one place of a value, at the worst place.

    Raises BadSchema for references that lead out of the schema or nowhere, and for more of anything than
    the limits above. What is merely invalid is left for the validator to say.
    """
    parts = _Graph(schema).parts()
    ordered = _in_order(parts)
    counts = _looks_at_top(ordered)
    worst = 0
    for _ in range(MAX_VALUE_DEPTH + 1):
        worst = max(worst, counts[parts[0]])
        if worst > MAX_LOOKS:
            raise BadSchema(
                "",
                f"more than {MAX_LOOKS} of its parts would look at one place of a value; "
                "mention fewer parts in allOf, anyOf, oneOf and $ref",
            )
        deeper = _looks_below(ordered, counts)
        if deeper == counts:
            break
        counts = deeper
    return worst


class _Graph:
    """The parts of one schema, found from its root and linked."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._id_keyword = "id" if "draft-04" in str(schema.get("$schema")) else "$id"
        base = schema.get(self._id_keyword)
        self._base = base.removesuffix("#") if isinstance(base, str) else ""
        self._parts: dict[int, _Part] = {}
        self._anchors: dict[str, _Part] = {}
        self._unread: deque[_Part] = deque()
        self._references: deque[tuple[_Part, str, str]] = deque()
        self._patterns = 0

    def parts(self) -> list[_Part]:
        """All of them, the root first."""
        self._part(self._root, "")
        while self._unread or self._references:
            if self._unread:
                self._read(self._unread.popleft())
            else:
                part, path, reference = self._references.popleft()
                part.here += self._target(reference, path)
        return list(self._parts.values())

    def _part(self, schema: Any, path: str) -> list[_Part]:
        """The part of a subschema; none for true, false and what is no schema."""
        if not isinstance(schema, dict):
            return []
        known = self._parts.get(id(schema))
        if known is None:
            known = self._parts[id(schema)] = _Part(path, schema)
            self._unread.append(known)
            if len(self._parts) > MAX_PARTS:
                raise BadSchema("", f"it has more than {MAX_PARTS} subschemas; split it into several tasks")
        return [known]

    def _read(self, part: _Part) -> None:
        self._read_names(part)
        for keyword, value in part.schema.items():
            path = part.path + pointer([keyword])
            if keyword in _REFERENCES and isinstance(value, str):
                self._references.append((part, path, value))
            elif keyword in _HERE:
                part.here += self._parts_under(keyword, value, path)
            elif keyword in _BELOW:
                part.below[keyword] = self._parts_under(keyword, value, path)
            elif keyword in _KEPT:
                self._parts_under(keyword, value, path)

    def _parts_under(self, keyword: str, value: Any, path: str) -> list[_Part]:
        members: Iterable[tuple[str | int, Any]]
        if keyword in _MAPS:
            members = value.items() if isinstance(value, dict) else ()
        elif isinstance(value, list):
            members = enumerate(value)
        else:
            return self._part(value, path)
        return [part for name, one in members for part in self._part(one, path + pointer([name]))]

    def _read_names(self, part: _Part) -> None:
        name = part.schema.get(self._id_keyword)
        if isinstance(name, str) and part.path:
            if not name.startswith("#"):
                path = part.path + pointer([self._id_keyword])
                raise BadSchema(path, f"only the whole schema may have one; {_REMEDY}")
            self._anchors[name[1:]] = part
        for keyword in ("$anchor", "$dynamicAnchor"):
            if isinstance(anchor := part.schema.get(keyword), str):
                self._anchors[anchor] = part
        patterns = part.schema.get("patternProperties")
        self._patterns += "pattern" in part.schema
        self._patterns += len(patterns) if isinstance(patterns, dict) else 0
        if self._patterns > MAX_PATTERNS:
            raise BadSchema(part.path, f"more than {MAX_PATTERNS} patterns; use enum, or fewer of them")

    def _target(self, reference: str, path: str) -> list[_Part]:
        place, _, fragment = reference.partition("#")
        if place not in ("", self._base):
            raise BadSchema(path, f"{reference!r} leads out of the schema; {_REMEDY}")
        if not fragment or fragment.startswith("/"):
            return self._pointed_at(unquote(fragment), reference, path)
        if fragment not in self._anchors:
            raise BadSchema(path, f"{reference!r} is the name of nothing in the schema; add an $anchor")
        return [self._anchors[fragment]]

    def _pointed_at(self, fragment: str, reference: str, path: str) -> list[_Part]:
        found: Any = self._root
        for step in fragment.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and found is not self._root and self._id_keyword in found:
                raise BadSchema(
                    path, f"{reference!r} leads through a schema with an id of its own; {_REMEDY}"
                )
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise BadSchema(path, f"{reference!r} points at nothing in the schema; check its spelling")
        if not isinstance(found, dict | bool):
            raise BadSchema(path, f"{reference!r} points at something that is not a schema")
        return self._part(found, fragment)


def _in_order(parts: Sequence[_Part]) -> list[_Part]:
    """Each part behind those that look at the same place as it does.

    Raises BadSchema for one that would come behind itself.
    """
    ordered: dict[_Part, int] = {}
    begun: set[_Part] = set()
    for start in parts:
        stack = [start]
        while stack:
            part = stack[-1]
            if part not in begun:
                begun.add(part)
                waiting = [other for other in part.here if other not in ordered]
                if not begun.isdisjoint(waiting):
                    raise BadSchema(part.path, "it leads back to itself without going deeper into the value")
                stack += waiting
                continue
            stack.pop()
            if part not in ordered:
                ordered[part] = 1 + max((ordered[other] for other in part.here), default=0)
                if ordered[part] > MAX_CHAIN:
                    raise BadSchema(part.path, f"more than {MAX_CHAIN} subschemas inside each other")
    return list(ordered)


def _looks_at_top(ordered: Sequence[_Part]) -> dict[_Part, int]:
    counts: dict[_Part, int] = {}
    for part in ordered:
        counts[part] = _capped(1 + _here(part, counts))
    return counts


def _looks_below(ordered: Sequence[_Part], above: Mapping[_Part, int]) -> dict[_Part, int]:
    """The same one level deeper in the value than `above`."""
    counts: dict[_Part, int] = {}
    for part in ordered:
        counts[part] = _capped(_below(part, above) + _here(part, counts))
    return counts


def _below(part: _Part, above: Mapping[_Part, int]) -> int:
    """Two properties are two places, and so are a member of an array and one of an object."""

    def most(*keywords: str) -> int:
        return max((above[one] for keyword in keywords for one in part.below.get(keyword, ())), default=0)

    matching = sum(above[one] for one in part.below.get("patternProperties", ()))
    in_object = max(most("properties") + matching, most("additionalProperties"))
    in_array = most("prefixItems", "items", "additionalItems") + most("contains")
    return max(
        in_object + most("unevaluatedProperties"), in_array + most("unevaluatedItems"), most("propertyNames")
    )


def _here(part: _Part, counts: Mapping[_Part, int]) -> int:
    return sum(counts[other] for other in part.here) * part.rounds


def _capped(count: int) -> int:
    return min(count, MAX_LOOKS + 1)
