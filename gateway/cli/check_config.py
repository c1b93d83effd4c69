"""`gateway check-config`: is the configuration usable, and what does it come to?"""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.failures import configuration_problems
from gateway.cli.printable import printable_lines
from gateway.config.load import load
from gateway.config.masked import masked_yaml


@click.command(short_help="Validate and show the configuration.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check_config(file: Path | None) -> None:
    """Validate the configuration and show what is in effect, with secrets masked.

    FILE is read as `gateway serve --config FILE` would read it; without FILE, config/gateway.yaml when
    present, else the built-in defaults. Exit code 2 when it cannot be used.
    """
    with configuration_problems():
        loaded = load(file, os.environ)
    click.echo(printable_lines(masked_yaml(loaded.settings, loaded.from_environment)), nl=False)
