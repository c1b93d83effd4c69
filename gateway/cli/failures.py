"""How a command fails: lines on stderr that begin with `gateway:`, and an exit code. Never a traceback."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from gateway.cli.printable import printable
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Failure(click.ClickException):
    """The command could not do its work: one line, exit code 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"gateway: {printable(self.message)}", err=True, file=file)


class ConfigurationRefused(click.ClickException):
    """The configuration cannot be used: a line for each problem, exit code 2."""

    exit_code = 2

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self._problems = problems

    def show(self, file: IO[Any] | None = None) -> None:
        for problem in self._problems:
            click.echo(f"gateway: configuration: {printable(problem)}", err=True, file=file)


@contextmanager
def configuration_problems() -> Iterator[None]:
    """Turns a ConfigError into its lines and exit code 2."""
    try:
        yield
    except ConfigError as error:
        # From None: what led to it may quote the configuration.
        raise ConfigurationRefused(error.problems) from None
