"""`gateway traces`: what was asked under a trace id and what people thought of it."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import filters as by
from gateway.cli.client import Client, reaches_gateway, segment
from gateway.cli.output import print_json, print_page
from gateway.cli.tables import (
    console,
    cost,
    decimal,
    facts,
    feedback_table,
    log_table,
    pairs,
    tokens,
    trace_table,
    when,
)


@click.group(short_help="Read what people thought of each trace.")
def traces() -> None:
    """Read traces of a running gateway: all requests and feedback with the same trace id."""


@traces.command("list")
@by.filtered_by(by.WHO, by.EXCHANGES, by.VALUES, by.SCORES, by.PAGES)
@reaches_gateway
def list_(client: Client, as_json: bool, **filters: Any) -> None:
    """List traces, newest first."""
    page = client.get("/v1/traces", "list", by.query(filters))
    print_page(page, trace_table, as_json=as_json, nothing="no traces")


@traces.command()
@click.argument("trace_id")
@reaches_gateway
def show(trace_id: str, client: Client, as_json: bool) -> None:
    """Show one trace: its summary, its requests and its feedback."""
    trace = client.get(f"/v1/traces/{segment(trace_id)}", "trace")
    if as_json:
        print_json(trace)
        return
    given = trace.get("feedback") or {}
    out = console()
    out.print(
        facts(
            [
                ("Trace", trace.get("trace_id")),
                ("First", when(trace.get("first_at"))),
                ("Last", when(trace.get("last_at"))),
                ("Requests", trace.get("exchange_count")),
                ("Errors", trace.get("error_count")),
                ("Models", ", ".join(map(str, trace.get("models") or ())) or None),
                ("Tokens", tokens(trace.get("tokens"))),
                ("Cost", cost(trace.get("cost_usd"))),
                ("Feedback Count", given.get("count")),
                ("value:weight", pairs(given.get("pairs") or ())),
                ("Weighted mean", decimal(given.get("weighted_mean"))),
                ("Mean of value x weight", decimal(given.get("mean_weighted_value"))),
            ]
        )
    )
    out.print(log_table(trace.get("exchanges") or (), _title("Requests", trace.get("exchanges_has_more"))))
    items = trace.get("feedback_items") or ()
    out.print(feedback_table(items, _title("Feedback", trace.get("feedback_items_has_more"))))


def _title(name: str, has_more: Any) -> str:
    return f"{name}, the newest of them" if has_more else name
