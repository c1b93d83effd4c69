"""What people type on the command line as a value: JSON where it is meant as JSON, else text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway import jsonio


class JsonOrText(click.ParamType[Any]):
    """`4`, `true`, `["a"]` and `"4"` are JSON; `good` is text."""

    name = "json or text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del param, ctx
        try:
            return jsonio.loads(value) if isinstance(value, str) else value
        except ValueError:
            return value


class TextOrObject(click.ParamType[Any]):
    """What an answer should have been is text, also `42`; an object or an array is JSON."""

    name = "text or json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        del param, ctx
        if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
            return value
        try:
            return jsonio.loads(value)
        except ValueError:
            return value


class JsonObject(click.ParamType[Any]):
    """An object as JSON text, or `@FILE` for a file that holds one."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        text = self._read(value[1:], param, ctx) if value.startswith("@") else value
        try:
            parsed = jsonio.loads(text)
        except ValueError as error:
            self.fail(f"{value!r} is not JSON ({error})", param, ctx)
        if not isinstance(parsed, dict):
            self.fail(f"{value!r} is not a JSON object, such as {{}}", param, ctx)
        return parsed

    def _read(self, path: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"cannot read {path} ({error})", param, ctx)


def one_id(argument: str | None, option: str | None) -> str:
    """The id that was given as an argument or as `--id`. Raises UsageError for both and for none."""
    found = [each for each in (argument, option) if each]
    if len(found) != 1:
        raise click.UsageError("which one? Give its id, once")
    return found[0]


def split_at_commas(texts: tuple[str, ...]) -> list[str]:
    """`("a,b", "c")` as `["a", "b", "c"]`, without blanks and empty ones."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]
