"""The configuration reference in Markdown, one table a section, generated from the schema.

`python -m gateway.config.reference` prints it; with `--write README.md` it replaces what is between the two
markers there. No setting is described here: the words come from `gateway.config.schema`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from gateway.config.outline import Place, Setting, sections, settings_of
from gateway.config.routes import Failures
from gateway.config.section import HeaderName, Name, Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

BEGIN = "<!-- configuration reference: begin -->"
END = "<!-- configuration reference: end -->"


def reference() -> str:
    """The whole reference, ending in a line break."""
    return "\n\n".join(_section(place) for place in sections()) + "\n"


def with_reference(page: str) -> str:
    """`page` with the reference between its markers. Raises ValueError when it lacks one of them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and, below it, {END}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _section(place: Place) -> str:
    rows = [_row(setting) for setting in settings_of(place.section, base=place.base)]
    title = f"### `{place.path}`"
    table = ["| key | type | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([title, "", _description(place), "", *table])


def _description(place: Place) -> str:
    if place.base is None:
        return place.description
    base = next(other.path for other in sections() if other.section is place.base)
    return f"{place.description} The keys below, and those of [`{base}`](#{_anchor(base)})."


def _anchor(title: str) -> str:
    """The link to a heading, as GitHub makes it."""
    return "".join(char for char in title.lower() if char.isalnum() or char in "-_")


def _row(setting: Setting) -> str:
    cells = (
        f"`{setting.key}`",
        _type(setting.field),
        _default(setting.field),
        (setting.field.description or "").replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _type(field: FieldInfo) -> str:
    return " ".join([_word(field.annotation), *_limits(field)])


def _word(annotation: Any) -> str:
    words = {
        bool: "`true` or `false`",
        int: "whole number",
        float: "number",
        str: "text",
        SecretStr: "secret text",
        Any: "anything",
    }
    if annotation in words:
        return words[annotation]
    if annotation in (Name, HeaderName):
        return "name"
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation.__name__.lower()
    if annotation == Failures:
        return "list of statuses, `connection`, `timeout`"
    if get_origin(annotation) is tuple:
        return f"list of {_word(arguments[0])}s".replace("texts", "text")
    if get_origin(annotation) is dict:
        return "mapping" if arguments[1] is Any else f"{_word(arguments[0])}: {_word(arguments[1])}"
    return _word(arguments[0])


def _limits(field: FieldInfo) -> Iterator[str]:
    words = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "up to {}"}
    within = [part for one in get_args(field.annotation) for part in get_args(one)[1:]]
    inner = [limit for part in within for limit in getattr(part, "metadata", ())]
    for constraint in [*field.metadata, *inner]:
        for name, word in words.items():
            limit = getattr(constraint, name, None)
            if limit is not None:
                yield word.format(limit)


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "none"
    if isinstance(default, tuple | list):
        return ", ".join(f"`{item}`" for item in default) or "`[]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`{_as_mebibytes(default)}"


def _as_mebibytes(default: Any) -> str:
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if isinstance(default, int) and default >= size and default % size == 0:
            return f" ({default // size} {unit})"
    return ""


def main(arguments: list[str]) -> int:
    """Print the reference, or write it to a page; exit code 1 when the page has no markers."""
    parser = argparse.ArgumentParser(prog="python -m gateway.config.reference", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="update this page between its markers")
    page: Path | None = parser.parse_args(arguments).write
    if page is None:
        sys.stdout.write(reference())
        return 0
    try:
        page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{page}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
