"""`gateway` and the list of its commands. A command's module is imported when the command is called.

So `gateway --help` and `gateway --version` answer at once, whatever the commands need.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click

from gateway import __version__


class Entry(NamedTuple):
    """Where a command is, and its line in `gateway --help`."""

    module: str
    command: str
    help: str


COMMANDS = {
    "serve": Entry("gateway.cli.serve", "serve", "Serve the gateway."),
    "demo": Entry("gateway.cli.demo", "demo", "Try it all: no key, no network."),
    "check-config": Entry("gateway.cli.check_config", "check_config", "Validate and show the configuration."),
    "traces": Entry("gateway.cli.traces", "traces", "Read what people thought of each trace."),
    "feedback": Entry(
        "gateway.cli.feedback", "feedback", "Give, read, change, sum up and download feedback."
    ),
    "task": Entry("gateway.cli.tasks", "task", "Manage feedback tasks: forms with a schema."),
    "export": Entry("gateway.cli.export", "export", "Take exchanges and training examples out."),
    "logs": Entry("gateway.cli.logs", "logs", "Read recorded requests."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry.module), entry.command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gateway", message="%(prog)s %(version)s")
def gateway() -> None:
    """An OpenAI-compatible gateway that remembers what people thought of every answer."""
