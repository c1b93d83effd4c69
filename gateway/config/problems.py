"""A refused configuration in words: one sentence each with the path, the value and the remedy.

Translates pydantic's findings; finds nothing itself. A value that is secret or came from the environment is
never repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gateway.config.document import kind_of
from gateway.config.outline import expectation, field_at, is_secret, section_at, sections, settings_of
from gateway.config.paths import Path, dotted, quoted
from gateway.config.section import PATTERN_MEANINGS, RULE
from gateway.config.urls import MASK, masked_url

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

URL_KEYS = ("base_url", "proxy", "url")

Names = Mapping[Path, str]
"""How to call a setting that was not written in the file, e.g. `--port`."""

Variables = Mapping[Path, tuple[str, ...]]
"""Which environment variables the value at a path was made from."""


def sentence(error: ErrorDetails, variables: Variables, names: Names) -> str:
    """One finding of pydantic as a sentence."""
    path: Path = error["loc"]
    if path and path[-1] == "[key]":
        return _bad_key(path[:-1], error)
    name = names.get(path) or dotted(path)
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown key; {_nearest_key(path)}"
    if error["type"] == "missing":
        return f"{name}: is missing; {_meaning(path)}"
    explain = _EXPLANATIONS.get(error["type"], _wrong_type)
    return f"{name}: {explain(path, shown(path, error['input'], variables), error)}"


def shown(path: Path, value: Any, variables: Variables) -> str:
    """The value as a sentence may repeat it: masked, cut, or only named by its variable or its kind."""
    if _takes_more_than_one(path):
        return kind_of(value)
    if path in variables:
        return "the value of " + " and ".join(variables[path])
    if isinstance(value, str) and value == "":
        return "empty text"
    if is_secret(path):
        return MASK
    if isinstance(value, str):
        return quoted(masked_url(value) if path and path[-1] in URL_KEYS else value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return kind_of(value)


def _bad_key(path: Path, error: ErrorDetails) -> str:
    where, key = dotted(path[:-1]), path[-1]
    name = quoted(key) if isinstance(key, str) else str(key)
    meaning = PATTERN_MEANINGS.get(error.get("ctx", {}).get("pattern", ""), "text")
    return f"{where}: {name} is not a name; use {meaning}"


def _nearest_key(path: Path) -> str:
    section, key = section_at(path[:-1]), str(path[-1])
    known = list(section.model_fields) if section else []
    close = get_close_matches(key.lower().replace("-", "_"), known, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    elsewhere = next(_places(key), None)
    if elsewhere is not None:
        return f"{key} belongs in {elsewhere}"
    return f"the keys here are {', '.join(known)}"


def _places(key: str) -> Iterator[str]:
    """Where the schema has a key of this name."""
    for place in sections():
        for setting in settings_of(place.section, base=place.base):
            within, _, name = setting.key.rpartition(".")
            if name == key:
                yield f"{place.path}.{within}" if within else place.path


def _meaning(path: Path) -> str:
    field = field_at(path)
    if field is None or not field.description:
        return "add it"
    return f"add it: {field.description[:1].lower()}{field.description[1:].rstrip('.')}"


def _takes_more_than_one(path: Path) -> bool:
    field = field_at(path)
    return section_at(path) is not None or (
        field is not None and expectation(field.annotation).startswith(("a list", "a mapping"))
    )


def _wrong_type(path: Path, value: str, _: ErrorDetails) -> str:
    field = field_at(path)
    if field is not None:
        wanted = expectation(field.annotation)
    else:
        wanted = "a mapping" if section_at(path) else "text"
    return f"{value} is not {wanted}{_REMEDIES.get(wanted, '')}"


_REMEDIES = {
    "text": "; put it in quotes",
    "a list of text": "; write [first, second]",
    "a list of failures": "; write [429, 503, timeout]",
    "a list of mappings": "; write - and its keys, indented, for each",
    "a mapping": "; write its keys below it, indented",
}


def _not_whole(_: Path, value: str, __: ErrorDetails) -> str:
    return f"{value} is not a whole number; leave the fraction out"


def _not_finite(_: Path, value: str, __: ErrorDetails) -> str:
    return f"{value} is not a finite number; write a limit such as 86400"


def _choice(path: Path, value: str, _: ErrorDetails) -> str:
    field = field_at(path)
    wanted = expectation(field.annotation) if field else "a choice"
    return f"{value} is not {wanted}{_perhaps(value, wanted)}"


def _perhaps(value: str, wanted: str) -> str:
    close = get_close_matches(value.strip('"').lower(), wanted.removeprefix("one of ").split(", "), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _bound(words: str, key: str) -> Callable[[Path, str, ErrorDetails], str]:
    def explain(_: Path, value: str, error: ErrorDetails) -> str:
        limit = error.get("ctx", {}).get(key)
        return f"{value} is {words.format(limit=f'{limit:.15g}' if isinstance(limit, float) else limit)}"

    return explain


def _pattern(_: Path, value: str, error: ErrorDetails) -> str:
    meaning = PATTERN_MEANINGS.get(error.get("ctx", {}).get("pattern", ""), "other text")
    return f"{value} cannot be used; use {meaning}"


def _our_rule(_: Path, value: str, error: ErrorDetails) -> str:
    rule = error.get("ctx", {}).get("error", error["msg"])
    return f"{rule}" if value in ("a mapping", "a list") else f"{value} cannot be used: {rule}"


def _rule(_: Path, value: str, error: ErrorDetails) -> str:
    return str(error.get("ctx", {}).get("rule", error["msg"])).replace("{value}", value)


def _too_deep(_: Path, __: str, ___: ErrorDetails) -> str:
    return "is nested too deeply; flatten it"


def _unknown_upstream(_: Path, value: str, error: ErrorDetails) -> str:
    return f"unknown upstream {value}; {error.get('ctx', {}).get('remedy')}"


_EXPLANATIONS: dict[str, Callable[[Path, str, ErrorDetails], str]] = {
    "int_from_float": _not_whole,
    "finite_number": _not_finite,
    "literal_error": _choice,
    "greater_than": _bound("too small; use more than {limit}", "gt"),
    "greater_than_equal": _bound("too small; use {limit} or more", "ge"),
    "less_than_equal": _bound("too large; use {limit} or less", "le"),
    "string_too_short": _bound("too short; use {limit} character or more", "min_length"),
    "string_too_long": _bound("too long; use {limit} characters or fewer", "max_length"),
    "too_short": _bound("too short; write {limit} entry or more", "min_length"),
    "string_pattern_mismatch": _pattern,
    "value_error": _our_rule,
    "unknown_upstream": _unknown_upstream,
    RULE: _rule,
    "recursion_depth_exceeded": _too_deep,
}
