"""`gateway export`: exchanges with what people said of them, and files to train a model with."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import filters as by
from gateway.cli.client import Client, reaches_gateway_only
from gateway.cli.download import FilePlace, download_file, to_file


@click.group(short_help="Take exchanges and training examples out.")
def export() -> None:
    """Download what a running gateway has recorded, oldest first, as JSON lines."""


@export.command()
@to_file
@by.filtered_by(by.WHO, by.EXCHANGES, by.OUTCOMES, by.TIMES)
@reaches_gateway_only
def exchanges(client: Client, place: FilePlace, **filters: Any) -> None:
    """Exchanges with messages, answer, metadata and all feedback."""
    download_file(client, "/v1/export/exchanges", by.query(filters), place)


@export.command()
@to_file
@click.option(
    "--format", type=click.Choice(("openai", "dpo")), default="openai", show_default=True,
    help="OpenAI's chat format, or pairs of a better and a worse answer.",
)  # fmt: skip
@click.option("--min-score", type=by.NUMBER, help="Answers rated this or better; 1 when left out.")
@click.option("--name", help="Numbers and booleans of this name rate answers; scores do without it.")
@by.filtered_by(by.WHO, by.SOURCES, by.TIMES)
@reaches_gateway_only
def finetuning(client: Client, place: FilePlace, **chosen: Any) -> None:
    """Examples from answers that people rated well or corrected, as OpenAI's fine-tuning takes them."""
    query = [*by.query(chosen), ("ids", "true")]
    download_file(client, "/v1/export/finetuning", query, place, strips_ids=True)
