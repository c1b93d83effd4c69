"""`gateway feedback`: give, read and change feedback by hand."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import filters as by
from gateway.cli.client import Client, Command, reaches_gateway, segment
from gateway.cli.failures import Failure
from gateway.cli.output import print_json, print_page
from gateway.cli.printable import printable
from gateway.cli.tables import console, facts, feedback_table, when

SPECIAL_KEYS = ("user", "organisation", "prompt", "environment")


def _describes(command: Command) -> Command:
    """Adds the options that make up the metadata of a piece of feedback."""
    command = click.option(
        "--metadata", multiple=True, metavar="KEY=VALUE", help="More metadata; may be repeated."
    )(command)
    for name in reversed(SPECIAL_KEYS):
        command = click.option(f"--{name}", help=f"Metadata _{name}.")(command)
    return command


@click.group(short_help="Give, read and change feedback.")
def feedback() -> None:
    """Give, read and change feedback on the traces of a running gateway."""


@feedback.command()
@click.option("--trace-id", required=True, metavar="ID", help="The trace it is about.")
@click.option("--value", required=True, type=int, help="-10 to 10.")
@click.option("--weight", type=float, help="0 to 1; 1.0 when left out.")
@_describes
@click.option("--idempotency-key", metavar="KEY", help="The same key twice is stored once.")
@reaches_gateway
def create(
    trace_id: str,
    value: int,
    weight: float | None,
    idempotency_key: str | None,
    url: str,
    as_json: bool,
    **described: Any,
) -> None:
    """Give feedback on a trace."""
    body = {"trace_id": trace_id, **_body(value, weight, described)}
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    _print_saved(Client(url).send("POST", "/v1/feedback", body=body, headers=headers), as_json=as_json)


@feedback.command("list")
@by.filtered_by(by.WHO, by.VALUES, by.PAGES)
@reaches_gateway
def list_(url: str, as_json: bool, **filters: Any) -> None:
    """List feedback, newest first."""
    page = Client(url).get("/v1/feedback", "list", by.query(filters))
    print_page(page, feedback_table, as_json=as_json, nothing="no feedback")


@feedback.command()
@click.argument("feedback_id")
@reaches_gateway
def get(feedback_id: str, url: str, as_json: bool) -> None:
    """Show one piece of feedback."""
    item = Client(url).get(f"/v1/feedback/{segment(feedback_id)}", "feedback")
    if as_json:
        print_json(item)
        return
    console().print(
        facts(
            [
                ("Feedback", item.get("id")),
                ("Trace", item.get("trace_id")),
                ("Value", item.get("value")),
                ("Weight", item.get("weight")),
                ("Given", when(item.get("created_at"))),
                ("Changed", when(item.get("updated_at"))),
                ("Trace has requests", "yes" if item.get("matched") else "not yet"),
                *((f"  {key}", text) for key, text in (item.get("metadata") or {}).items()),
            ]
        )
    )


@feedback.command()
@click.argument("feedback_id")
@click.option("--value", required=True, type=int, help="-10 to 10.")
@click.option("--weight", type=float, help="0 to 1; stays as it is when left out.")
@_describes
@reaches_gateway
def update(
    feedback_id: str, value: int, weight: float | None, url: str, as_json: bool, **described: Any
) -> None:
    """Change a piece of feedback. Metadata, when given, replaces the old."""
    body = _body(value, weight, described)
    answer = Client(url).send("PUT", f"/v1/feedback/{segment(feedback_id)}", body=body)
    _print_saved(answer, as_json=as_json)


@feedback.command()
@click.argument("feedback_id")
@reaches_gateway
def delete(feedback_id: str, url: str, as_json: bool) -> None:
    """Delete a piece of feedback."""
    answer = Client(url).send("DELETE", f"/v1/feedback/{segment(feedback_id)}")
    if not isinstance(answer, dict) or answer.get("deleted") is not True:
        raise Failure("the answer is not a gateway's, so nothing may have been deleted; check --url")
    if as_json:
        print_json(answer)
    else:
        click.echo(f"deleted {printable(feedback_id)}")


def _body(value: int, weight: float | None, described: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"value": value}
    if weight is not None:
        body["weight"] = weight
    special = {f"_{name}": described[name] for name in SPECIAL_KEYS if described[name] is not None}
    metadata = {**special, **by.key_values(described["metadata"])}
    if metadata:
        body["metadata"] = metadata
    return body


def _print_saved(answer: Any, *, as_json: bool) -> None:
    if not isinstance(answer, dict) or not isinstance(answer.get("feedback_ids"), list):
        raise Failure("the answer is not a gateway's, so nothing may have been saved; check --url")
    if as_json:
        print_json(answer)
        return
    click.echo(printable(str(answer.get("message"))))
    for feedback_id in answer["feedback_ids"]:
        click.echo(printable(str(feedback_id)))
