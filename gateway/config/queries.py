"""The queries of conditional routing: what may be written, and what is wrong with one that may not.

A query reads like one of MongoDB's, as Portkey's do. Whether it holds is decided in
`gateway.routing.conditions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from gateway.config.pattern import matcher

Step = str | int
Source = Literal["metadata", "params", "url"]

MAX_DEPTH = 16
MAX_TESTS = 500

COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex")
GROUPS = ("$and", "$or")
_LISTS = ("$in", "$nin")
_ORDERS = ("$gt", "$gte", "$lt", "$lte")
_SOURCES = ("metadata", "params", "url")
_FIELDS = "metadata.<key>, params.<path> and url.pathname"


@dataclass(slots=True, frozen=True)
class Test:
    """One field against one operand. `path` are the names below `source`, `matches` is there for `$regex`."""

    source: Source
    path: tuple[str, ...]
    operator: str
    operand: Any
    matches: Callable[[str], bool] | None = None


@dataclass(slots=True, frozen=True)
class Every:
    parts: tuple[Query, ...]


@dataclass(slots=True, frozen=True)
class Some:
    parts: tuple[Query, ...]


Query = Test | Every | Some


class QueryProblem(NamedTuple):
    """What is wrong at `path` in the query. In `rule`, `{value}` stands for the value there."""

    path: tuple[Step, ...]
    value: Any
    rule: str


class BadQuery(ValueError):
    """`problems` has all there are."""

    def __init__(self, problems: list[QueryProblem]) -> None:
        super().__init__("; ".join(problem.rule for problem in problems))
        self.problems = problems


def parsed(query: Mapping[str, Any]) -> Query:
    """The query, ready to be asked. Raises BadQuery."""
    parser = _Parser()
    whole = parser.query(query, (), 1)
    if parser.problems:
        raise BadQuery(parser.problems)
    return whole


def patterns_in(query: Query) -> int:
    """How many `$regex` it has."""
    if isinstance(query, Test):
        return int(query.matches is not None)
    return sum(patterns_in(part) for part in query.parts)


class _Parser:
    """Collects every problem, so that one look at the message mends the whole query."""

    def __init__(self) -> None:
        self.problems: list[QueryProblem] = []
        self._tests = 0

    def query(self, query: Any, path: tuple[Step, ...], depth: int) -> Query:
        if not isinstance(query, Mapping):
            self._refuse(path, query, "{value} is not a query; write a mapping such as {metadata.tier: paid}")
        elif not query:
            self._refuse(path, query, "is empty and would hold for every request; use the strategy's default")
        elif depth > MAX_DEPTH:
            self._refuse(path, query, f"is nested deeper than {MAX_DEPTH} levels; flatten it")
        else:
            return _one(Every, self._parts(query, path, depth))
        return Every(())

    def _parts(self, query: Mapping[Any, Any], path: tuple[Step, ...], depth: int) -> Iterator[Query]:
        for key, value in query.items():
            here = (*path, str(key))
            if key in GROUPS:
                yield self._group(str(key), value, here, depth)
            elif str(key).startswith("$"):
                self._refuse(here, value, _unknown_group(str(key)))
            else:
                yield from self._field(str(key), value, here)

    def _group(self, key: str, queries: Any, path: tuple[Step, ...], depth: int) -> Query:
        if not isinstance(queries, list | tuple) or not queries:
            self._refuse(path, queries, "takes a list of queries; write - and a query, indented, for each")
            return Every(())
        parts = [self.query(inner, (*path, place), depth + 1) for place, inner in enumerate(queries)]
        return _one(Every if key == "$and" else Some, iter(parts))

    def _field(self, key: str, value: Any, path: tuple[Step, ...]) -> Iterator[Query]:
        source, _, rest = key.partition(".")
        names = tuple(rest.split("."))
        if source not in _SOURCES or not all(names) or (source == "url" and rest != "pathname"):
            self._refuse(path, value, _unknown_field(key))
            return
        tests = value if isinstance(value, Mapping) else {"$eq": value}
        if not tests:
            self._refuse(path, value, "has nothing to compare with; write a value, or {$eq: value}")
        for operator, operand in tests.items():
            here = (*path, str(operator)) if tests is value else path
            if operator not in COMPARISONS:
                self._refuse(here, operand, _unknown_operator(str(operator)))
                continue
            self._tests += 1
            if self._tests == MAX_TESTS + 1:
                self._refuse((), None, f"asks more than {MAX_TESTS} things; use fewer")
            yield self._test(source, names, operator, operand, here)  # type: ignore[arg-type]

    def _test(
        self, source: Source, names: tuple[str, ...], operator: str, operand: Any, path: tuple[Step, ...]
    ) -> Test:
        matches = None
        if operator == "$regex":
            matches = self._pattern(operand, path)
        elif operator in _LISTS:
            self._list(operator, operand, path)
        elif operator in _ORDERS:
            if isinstance(operand, bool) or not isinstance(operand, int | float | str):
                self._refuse(path, operand, "{value} has no order; compare with a number or text")
        elif not _is_plain(operand):
            self._refuse(path, operand, "{value} is not a plain value; compare with text, a number or true")
        return Test(source, names, operator, operand, matches)

    def _list(self, operator: str, operand: Any, path: tuple[Step, ...]) -> None:
        if not isinstance(operand, list | tuple):
            self._refuse(path, operand, f"{{value}} is not a list; write {operator}: [first, second]")
        elif not all(_is_plain(item) for item in operand):
            self._refuse(path, operand, "has lists or mappings in it; list text, numbers, true or false")

    def _pattern(self, operand: Any, path: tuple[Step, ...]) -> Callable[[str], bool] | None:
        if not isinstance(operand, str):
            self._refuse(path, operand, "{value} is not a pattern; write it as text, in quotes")
            return None
        try:
            return matcher(operand)
        except ValueError as error:
            self._refuse(path, operand, f"{{value}} {error}")
            return None

    def _refuse(self, path: tuple[Step, ...], value: Any, rule: str) -> None:
        self.problems.append(QueryProblem(path, value, rule))


def _one(kind: type[Every | Some], parts: Iterator[Query]) -> Query:
    """The parts together, without a group around a single one."""
    collected = tuple(parts)
    return collected[0] if len(collected) == 1 else kind(collected)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _unknown_group(key: str) -> str:
    if key in COMPARISONS:
        return f"compares a field; write metadata.<key>: {{{key}: …}}"
    close = get_close_matches(key, GROUPS, n=1)
    return "unknown operator; " + (f'did you mean "{close[0]}"?' if close else "use $and or $or here")


def _unknown_operator(key: str) -> str:
    if key in GROUPS:
        return f"takes whole queries; write {key}: [{{metadata.<key>: …}}, …] one level further out"
    close = get_close_matches(key, COMPARISONS, n=1, cutoff=0.5) or get_close_matches(
        f"${key}", COMPARISONS, n=1, cutoff=0.7
    )
    return "unknown operator; " + (f'did you mean "{close[0]}"?' if close else f"use {_any_of(COMPARISONS)}")


def _unknown_field(key: str) -> str:
    source, dot, rest = key.partition(".")
    close = get_close_matches(source, _SOURCES, n=1)
    if close and close[0] == "url":
        return 'unknown field; did you mean "url.pathname"?'
    if close and (close[0] != source):
        return f'unknown field; did you mean "{close[0]}{dot}{rest}"?'
    return f"unknown field; a query asks for {_FIELDS}"


def _any_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
