"""`gateway logs`: recorded requests, one line each, one in full, or as they come in."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import filters as by
from gateway.cli.client import Client, Query, reaches_gateway, segment
from gateway.cli.output import print_json, print_page, rows_of
from gateway.cli.printable import json_text, printable_lines
from gateway.cli.tables import (
    Row,
    attempt_table,
    console,
    cost,
    facts,
    feedback_table,
    log_line,
    log_table,
    model,
    seconds,
    tokens,
    when,
)

if TYPE_CHECKING:
    from collections.abc import Collection

TAIL_ROWS = 10
PAGE_ROWS = 100
REMEMBERED_ROWS = 10_000


@click.group(short_help="Read recorded requests.")
def logs() -> None:
    """Read the requests that a running gateway has recorded."""


@logs.command("list")
@by.filtered_by(by.WHO, by.EXCHANGES, by.OUTCOMES, by.PAGES)
@reaches_gateway
def list_(client: Client, as_json: bool, **filters: Any) -> None:
    """List requests, newest first."""
    page = client.get("/v1/logs", "list", by.query(filters))
    print_page(page, log_table, as_json=as_json, nothing="no logs")


@logs.command()
@click.argument("log_id")
@reaches_gateway
def show(log_id: str, client: Client, as_json: bool) -> None:
    """Show one request with its bodies and the feedback that applies to it."""
    log = client.get(f"/v1/logs/{segment(log_id)}", "log")
    if as_json:
        print_json(log)
        return
    console().print(facts(_facts(log)))
    attempts = log.get("attempts") or ()
    if len(attempts) > 1:
        console().print(attempt_table(attempts, "Attempts"))
    for title, side in (("Request", log.get("request")), ("Response", log.get("response"))):
        click.echo(_body(title, side))
    if log.get("streamed") and log.get("message") is not None:
        click.echo(f"\nAnswer, put together from the stream\n{json_text(log['message'])}\n")
    console().print(feedback_table(log.get("feedback_items") or (), "Feedback"))


@logs.command()
@by.filtered_by(by.WHO, by.EXCHANGES, by.OUTCOMES)
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print the last requests and stop.")
@reaches_gateway
def tail(interval: float, once: bool, client: Client, as_json: bool, **filters: Any) -> None:
    """Print the last requests, then each new one once it is recorded, until interrupted.

    With --json, one JSON object a line.
    """
    query = by.query(filters)
    recent = rows_of(client.get("/v1/logs", "list", [*query, ("limit", str(PAGE_ROWS))]))
    _print_oldest_first(recent[:TAIL_ROWS], as_json=as_json)
    seen = _ids(recent)
    with suppress(KeyboardInterrupt):
        while not once:
            time.sleep(interval)
            fresh = unseen(client, query, seen)
            _print_oldest_first(fresh, as_json=as_json)
            seen = [*_ids(fresh), *seen][:REMEMBERED_ROWS]


def unseen(client: Client, query: Query, seen: Collection[str]) -> list[Row]:
    """What was recorded since, newest first: page by page until one holds a row that was seen.

    A request is listed by the time it began, so one that took long comes to stand below those that were
    faster; it is found as long as it is within a page of them.
    """
    known = set(seen)
    fresh: list[Row] = []
    after: Query = []
    while True:
        page = client.get("/v1/logs", "list", [*query, ("limit", str(PAGE_ROWS)), *after])
        rows = rows_of(page)
        fresh += [row for row in rows if row.get("id") not in known]
        if not page.get("has_more") or any(row.get("id") in known for row in rows):
            return fresh
        after = [("after", str(page.get("last_id")))]


def _facts(log: Row) -> list[tuple[str, Any]]:
    error, usage = log.get("error") or {}, log.get("usage") or {}
    return [
        ("Log", log.get("id")),
        ("Trace", log.get("trace_id")),
        ("Started", when(log.get("started_at"))),
        ("Request", f"{log.get('method')} {log.get('path')}"),
        ("Upstream", log.get("upstream")),
        ("Target", log.get("target")),
        ("Cache", log.get("cache_status")),
        ("Attempts", log.get("attempt_count")),
        ("Model", model(log)),
        ("Status", log.get("status")),
        ("Error", f"{error.get('kind')}: {error.get('message')}" if error else None),
        ("Seconds", seconds(log.get("latency_ms"))),
        ("Queued", seconds(log.get("queue_ms"))),
        ("To first byte", seconds(log.get("first_byte_ms"))),
        ("Streamed", "yes" if log.get("streamed") else "no"),
        ("Finish reason", log.get("finish_reason")),
        ("Tokens", tokens(usage)),
        ("  cached", usage.get("cached_tokens")),
        ("  reasoning", usage.get("reasoning_tokens")),
        ("Cost", cost(log.get("cost_usd"))),
        ("Metadata", None if log.get("metadata") is None else json_text(log["metadata"], indent=False)),
    ]


def _body(title: str, side: Any) -> str:
    """A side's body as it was kept: JSON laid out, text as it is, anything else by its size."""
    if not isinstance(side, dict) or side.get("encoding") is None:
        return f"\n{title} body: not kept"
    size = f"\n{title} body, {side.get('bytes')} bytes"
    if side["encoding"] == "json":
        return f"{size}\n{json_text(side.get('body'))}"
    if side["encoding"] != "text":
        return f"{size}, not text; --json shows it"
    cut = f"\n[…]\n{side['tail']}" if side.get("truncated") else ""
    return f"{size}\n{printable_lines(str(side.get('body')) + cut)}"


def _ids(rows: list[Row]) -> list[str]:
    return [str(row.get("id")) for row in rows]


def _print_oldest_first(rows: list[Row], *, as_json: bool) -> None:
    for row in reversed(rows):
        if as_json:
            print_json(row, indent=False)
        else:
            click.echo(log_line(row))
