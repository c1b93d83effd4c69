"""`${NAME}` and `${NAME:-default}` in text values, replaced from an environment that is handed in.

A pure function over plain data: it does not know the schema and reads no process environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.config.paths import Path, dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(
    r"(?P<escape>\$\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{"
)


@dataclass(slots=True)
class Expanded:
    """Data with its references replaced.

    `variables` says which environment variables a value was made from: such a value is never shown, its
    variables' names are. `problems` has one sentence for each value, by path, that could not be expanded;
    `data` holds it as it was written.
    """

    data: Any
    variables: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    problems: dict[Path, list[str]] = field(default_factory=dict)


def expand(data: Any, environ: Mapping[str, str]) -> Expanded:
    """Replace every reference in the text values of `data`, at any depth; keys are left alone.

    `${NAME}` must be set, though it may be empty; `${NAME:-default}` takes the default when NAME is unset or
    empty, as in a POSIX shell. `$${` is a literal `${`.
    """
    expanded = Expanded(None)
    expanded.data = _walk(data, (), (), environ, expanded)
    return expanded


def _walk(value: Any, path: Path, above: tuple[int, ...], environ: Mapping[str, str], out: Expanded) -> Any:
    if isinstance(value, str):
        return _text(value, path, environ, out)
    if not isinstance(value, dict | list):
        return value
    if id(value) in above:
        out.problems[path] = [f"{dotted(path)}: refers to itself through a YAML alias; remove the alias"]
        return None
    above = (*above, id(value))
    if isinstance(value, list):
        return [_walk(item, (*path, index), above, environ, out) for index, item in enumerate(value)]
    return {key: _walk(item, (*path, key), above, environ, out) for key, item in value.items()}


def _text(text: str, path: Path, environ: Mapping[str, str], out: Expanded) -> str:
    used: list[str] = []
    problems: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if match["escape"]:
            return "${"
        if name is None:
            problems.append(
                f"{dotted(path)}: has a ${{ that begins no variable; "
                "write ${NAME} or ${NAME:-default}, or $${ for the two characters"
            )
            return match.group()
        value = environ.get(name)
        if default is not None and not value:
            return str(default)
        if value is None:
            problems.append(
                f"{dotted(path)}: environment variable {name} is not set; "
                f"export it or write ${{{name}:-default}}"
            )
            return match.group()
        used.append(name)
        return value

    result = _REFERENCE.sub(replacement, text)
    if used:
        out.variables[path] = tuple(dict.fromkeys(used))
    if problems:
        out.problems[path] = list(dict.fromkeys(problems))
    return text if problems else result
