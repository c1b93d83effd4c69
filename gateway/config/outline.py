"""The schema as an outline: which section is where, and what a key may hold, in words.

Derived from `gateway.config.schema` by looking at it; the problems' remedies and the reference in README.md
both read it, so they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr

from gateway.config.routes import Failures
from gateway.config.schema import Settings
from gateway.config.section import Section, bare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from gateway.config.paths import Path


@dataclass(slots=True, frozen=True)
class Place:
    """A section, where it is written (e.g. `upstreams.<name>`, `routes[]`), and what it is for.

    `base` is the section whose keys it has besides its own, and which has a place itself.
    """

    path: str
    section: type[Section]
    description: str
    base: type[Section] | None = None


@dataclass(slots=True, frozen=True)
class Setting:
    """One key of a section: `key` may be dotted where a section lies within (`retry.attempts`)."""

    key: str
    field: FieldInfo


def sections() -> Iterator[Place]:
    """The sections below the top, in the order of the schema, then the lists of sections within them.

    Each is there once: targets are within targets within routes.
    """
    places = list(_places_of(Settings, ""))
    known = {place.section for place in places}
    for place in places:  # grows on the way
        yield place
        for within in _places_of(place.section, f"{place.path}."):
            is_own = place.base in (None, within.section)  # the rest is found in the base's place
            if is_own and within.section not in known:
                known.add(within.section)
                places.append(within)


def _places_of(section: type[Section], prefix: str) -> Iterator[Place]:
    """At the top, sections of every kind; further down, lists of them, since the others lie within."""
    for name, field in section.model_fields.items():
        inner = inner_section(field.annotation)
        if inner is None:
            continue
        container = get_origin(field.annotation)
        suffix = ".<name>" if container is dict else "[]" if container is tuple else ""
        if section is Settings:
            yield Place(name + suffix, inner, field.description or "", _base(inner))
        elif suffix:
            yield Place(prefix + name + suffix, inner, " ".join((inner.__doc__ or "").split()), _base(inner))
        elif not _is_above(inner, section):
            yield from _places_of(inner, f"{prefix}{name}.")


def settings_of(
    section: type[Section], prefix: str = "", base: type[Section] | None = None
) -> Iterator[Setting]:
    """Every key of a section and of the sections within it, but for those it has from its `base`."""
    inherited = base.model_fields if base else {}
    for name, field in fields_of(section).items():
        if name in inherited:
            continue
        inner = inner_section(field.annotation)
        if inner is None or _is_above(inner, section) or get_origin(field.annotation) is tuple:
            yield Setting(prefix + name, field)
        else:
            yield from settings_of(inner, f"{prefix}{name}.")


def fields_of(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section: its own first, then those of the section that it extends, and so on."""
    kinds = [kind for kind in section.__mro__ if issubclass(kind, Section)]
    fields = section.model_fields
    return dict(
        sorted(fields.items(), key=lambda entry: sum(entry[0] in kind.model_fields for kind in kinds))
    )


def _is_above(inner: type[Section], section: type[Section]) -> bool:
    """Whether a section within another is of the same kind, so that there is no end to it."""
    return issubclass(section, inner)


def _base(section: type[Section]) -> type[Section] | None:
    bases = [base for base in section.__mro__[1:] if issubclass(base, Section) and base is not Section]
    return bases[-1] if bases else None


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
    annotation = bare(annotation)
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return "a whole number"
    if annotation is float:
        return "a number"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(get_args(annotation))
    if get_origin(annotation) is tuple:
        if inner_section(annotation):
            return "a list of mappings"
        return "a list of failures" if annotation == Failures else "a list of text"
    if get_origin(annotation) is dict or inner_section(annotation):
        return "a mapping"
    return "text"


def is_secret(path: Path) -> bool:
    """Whether what is written at `path` must never be shown: keys, and the values of headers."""
    field = field_at(path)
    if field is not None and (field.annotation is SecretStr or SecretStr in get_args(field.annotation)):
        return True
    if "query" in path and "conditions" in path:
        return False
    return not {"headers", "query", "api_key", "api_keys"}.isdisjoint(map(str, path))
