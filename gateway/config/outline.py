"""The schema as an outline: which section is where, and what a key may hold, in words.

Derived from `gateway.config.schema` by looking at it; the problems' remedies and the reference in README.md
both read it, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr

from gateway.config.schema import Section, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from gateway.config.paths import Path


@dataclass(slots=True, frozen=True)
class Place:
    """A section, where it is written (e.g. `upstreams.<name>`, `routes[]`), and what it is for."""

    path: str
    section: type[Section]
    description: str


@dataclass(slots=True, frozen=True)
class Setting:
    """One key of a section: `key` may be dotted where a section lies within (`target.upstream`)."""

    key: str
    field: FieldInfo


def sections() -> Iterator[Place]:
    """The sections below the top, in the order of the schema."""
    for name, field in Settings.model_fields.items():
        inner = inner_section(field.annotation)
        if inner is not None:
            container = get_origin(field.annotation)
            suffix = ".<name>" if container is dict else "[]" if container is tuple else ""
            yield Place(name + suffix, inner, field.description or "")


def settings_of(section: type[Section], prefix: str = "") -> Iterator[Setting]:
    """Every key of a section and of the sections within it."""
    for name, field in section.model_fields.items():
        inner = inner_section(field.annotation)
        if inner is None:
            yield Setting(prefix + name, field)
        else:
            yield from settings_of(inner, f"{prefix}{name}.")


def inner_section(annotation: Any) -> type[Section] | None:
    """The section that a value of this type is, or is a mapping or list of."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def section_at(path: Path) -> type[Section] | None:
    """The section whose keys are written at `path`, None where there is none."""
    section: type[Section] = Settings
    names = iter(path)
    for part in names:
        field = section.model_fields.get(str(part))
        inner = inner_section(field.annotation) if field else None
        if field is None or inner is None:
            return None
        if get_origin(field.annotation) in (dict, tuple) and next(names, None) is None:
            return None
        section = inner
    return section


def field_at(path: Path) -> FieldInfo | None:
    """The setting written at `path`, None where the schema has none."""
    section = section_at(path[:-1]) if path else None
    return section.model_fields.get(str(path[-1])) if section else None


def expectation(annotation: Any) -> str:
    """What a setting of this type takes, in words: `a whole number`, `true or false`, `a list of text`."""
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return "a whole number"
    if annotation is float:
        return "a number"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(get_args(annotation))
    if get_origin(annotation) is tuple:
        return "a list of mappings" if inner_section(annotation) else "a list of text"
    if get_origin(annotation) is dict or inner_section(annotation):
        return "a mapping"
    return "text"


def is_secret(path: Path) -> bool:
    """Whether what is written at `path` must never be shown: keys, and the values of headers."""
    field = field_at(path)
    if field is not None and (field.annotation is SecretStr or SecretStr in get_args(field.annotation)):
        return True
    return "headers" in path or "api_key" in path
