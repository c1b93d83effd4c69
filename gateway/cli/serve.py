"""`gateway serve`: options to a configuration source, and off it goes. How it serves is `gateway.serving`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.failures import configuration_problems
from gateway.config.load import ConfigSource, Overrides


@click.command(short_help="Serve the gateway.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file; else config/gateway.yaml when present, else the built-in defaults.",
)
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default 8787).")
@click.option("--workers", type=int, help="Processes that serve the port (default 1).")
@click.option("--upstream", "upstream_url", metavar="URL", help="Call only this base URL, without routes.")
@click.option(
    "--store", "store_url", metavar="URL", help="sqlite:///relative.db, sqlite:////absolute.db, memory:."
)
def serve(
    path: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    upstream_url: str | None,
    store_url: str | None,
) -> None:
    """Serve the gateway.

    With no options it serves OpenAI on http://127.0.0.1:8787/v1 and records into data/gateway.db. Without
    --config and OPENAI_API_KEY, each client's own Authorization header is forwarded.
    """
    source = ConfigSource(path, Overrides(host, port, workers, upstream_url, store_url))
    with configuration_problems():
        source.load(os.environ)  # before the import: a typo is reported at once
        from gateway.serving import serve as run  # noqa: PLC0415 - loads the server, which --help must not

        run(source)
