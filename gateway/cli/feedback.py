"""`gateway feedback`: give, read, change, sum up and download feedback."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli import filters as by
from gateway.cli.client import Client, Query, reaches_gateway, reaches_gateway_only, segment
from gateway.cli.download import FilePlace, download_file, to_file
from gateway.cli.failures import Failure
from gateway.cli.feedback_tables import feedback_facts, history_table, summary_table
from gateway.cli.output import print_json, print_page, rows_of
from gateway.cli.printable import printable
from gateway.cli.tables import console, feedback_table
from gateway.cli.values import JsonObject, JsonOrText, TextOrObject, one_id, split_at_commas
from gateway.records import KINDS, MAX_SCORE, MIN_SCORE, SIGNALS, SOURCE_TYPES
from gateway.records.summary import GROUPINGS

SPECIAL_KEYS = ("user", "organisation", "prompt", "environment")
MAX_PAGE = 1_000


def _options(*options: by.Option) -> by.Option:
    return by.filtered_by(options)


_METADATA = _options(
    *(click.option(f"--{name}", help=f"Metadata _{name}.") for name in SPECIAL_KEYS),
    click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="More metadata; may be repeated."),
)
_WHAT = _options(
    click.option("--kind", type=click.Choice(KINDS), help="Kind of value, where its JSON does not say."),
    click.option("--comment", help="What somebody wrote about it."),
    click.option("--correction", type=TextOrObject(), help="What the answer should have been."),
    click.option("--signal", type=click.Choice(SIGNALS), help="Rated, done or written."),
    click.option("--source-id", metavar="ID", help="The user, reviewer or judge."),
)
_TARGET = _options(
    click.option("--trace-id", metavar="ID", help="The trace it is about."),
    click.option("--request-id", metavar="ID", help="The one exchange it is about."),
    click.option("--tag", multiple=True, help="Every exchange with this tag; may be repeated."),
    click.option(
        "--completion-tags-selector", "--completion_tags_selector", multiple=True, metavar="TAG,TAG",
        help="The same, separated by commas.",
    ),
    click.option("--allow-unmatched", is_flag=True, help="Also when no exchange has these tags."),
    click.option("--max-matched", type=int, help="Exchanges that may have these tags; 100 when left out."),
)  # fmt: skip


@click.group(short_help="Give, read, change, sum up and download feedback.")
def feedback() -> None:
    """Give, read, change, sum up and download feedback of a running gateway."""


@feedback.command()
@_TARGET
@click.option("--name", help="What it is about, such as thumbs or stars; without one it is a score.")
@click.option("--value", type=JsonOrText(), help="-10 to 10; with --name any JSON or text.")
@click.option("--values", type=JsonObject(), metavar="JSON", help="Answers for a task: an object, or @FILE.")
@click.option("--weight", type=float, help="0 to 1; 1.0 when left out.")
@click.option("--source-type", type=click.Choice(SOURCE_TYPES), help="API when left out.")
@click.option("--task-id", "--task_id", metavar="ID", help="The feedback task it is given for.")
@click.option("--overrides", metavar="ID", help="Feedback that no longer counts because of this.")
@_WHAT
@_METADATA
@click.option("--idempotency-key", metavar="KEY", help="The same key twice is stored once.")
@reaches_gateway
def create(client: Client, as_json: bool, idempotency_key: str | None, **given: Any) -> None:
    """Give feedback on a trace, on one exchange of it, or on every exchange with some tags.

    \b
    gateway feedback create --trace-id T --value 5
    gateway feedback create --trace-id T --name thumbs --value true
    gateway feedback create --request-id R --correction "What it should have said"
    gateway feedback create --task_id K --values '{"grade": 4}' --tag beta
    """
    body = {**_target(given), **_said(given)}
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    _print_saved(client.send("POST", "/v1/feedback", body=body, headers=headers), as_json=as_json)


@feedback.command("list")
@by.filtered_by(by.WHO, by.FEEDBACK, by.RETRACTED, by.PAGES)
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Entries to pass over first.")
@reaches_gateway
def list_(client: Client, as_json: bool, offset: int, **filters: Any) -> None:
    """List feedback, newest first."""
    query = _behind(client, by.query(filters), offset)
    page = client.get("/v1/feedback", "list", query)
    print_page(page, feedback_table, as_json=as_json, nothing="no feedback")


@feedback.command()
@click.argument("feedback_id", required=False)
@click.option("--id", "id_option", metavar="ID", help="The same as FEEDBACK_ID.")
@click.option("--history", is_flag=True, help="What it was before each change; of retracted feedback too.")
@reaches_gateway
def get(client: Client, as_json: bool, feedback_id: str | None, id_option: str | None, history: bool) -> None:
    """Show one piece of feedback."""
    path = f"/v1/feedback/{segment(one_id(feedback_id, id_option))}"
    item = client.get(f"{path}/history", "feedback.history") if history else client.get(path, "feedback")
    if as_json:
        print_json(item)
    elif history:
        console().print(feedback_facts(item.get("feedback") or {}))
        console().print(history_table(item.get("data") or ()))
    else:
        console().print(feedback_facts(item))


@feedback.command()
@click.argument("feedback_id")
@click.option("--name", help="Another name.")
@click.option("--value", type=JsonOrText(), help="-10 to 10 for a score; else any JSON or text.")
@click.option("--weight", type=float, help="0 to 1; stays as it is when left out.")
@_WHAT
@_METADATA
@reaches_gateway
def update(client: Client, as_json: bool, feedback_id: str, **given: Any) -> None:
    """Change a piece of feedback. Metadata, when given, replaces the old."""
    body = _fields(given, "name", "value", "weight", "kind", "comment", "correction", "signal", "source_id")
    body |= _metadata(given)
    if not body:
        raise click.UsageError("nothing to change; give --value, --comment or another option")
    answer = client.send("PUT", f"/v1/feedback/{segment(feedback_id)}", body=body)
    _print_saved(answer, as_json=as_json)


@feedback.command()
@click.argument("feedback_id")
@reaches_gateway
def delete(client: Client, as_json: bool, feedback_id: str) -> None:
    """Delete a piece of feedback."""
    answer = client.send("DELETE", f"/v1/feedback/{segment(feedback_id)}")
    if not isinstance(answer, dict) or answer.get("deleted") is not True:
        raise Failure("the answer is not a gateway's, so nothing may have been deleted; check --url")
    if as_json:
        print_json(answer)
    else:
        click.echo(f"deleted {printable(feedback_id)}")


@feedback.command()
@by.filtered_by(by.WHO, by.FEEDBACK, by.PAGES)
@click.option("--group-by", "--group_by", type=click.Choice(GROUPINGS), help="One group of all without it.")
@reaches_gateway
def summary(client: Client, as_json: bool, **filters: Any) -> None:
    """Sum feedback up: how many, which values, their means, and how far sources agree."""
    found = client.get("/v1/feedback/summary", "feedback.summary", by.query(filters))
    print_page(found, summary_table, as_json=as_json, nothing="no feedback")


@feedback.command()
@to_file
@click.option(
    "--format", "format_", type=click.Choice(("jsonl", "csv")),
    help="By the end of the file's name when left out, else jsonl.",
)  # fmt: skip
@by.filtered_by(by.WHO, by.FEEDBACK, by.RETRACTED, by.TIMES)
@reaches_gateway_only
def download(client: Client, place: FilePlace, format_: str | None, **filters: Any) -> None:
    """Download feedback, oldest first, to a file or to stdout."""
    named_csv = place.file is not None and place.file.suffix.lower() == ".csv"
    chosen = format_ or ("csv" if named_csv else "jsonl")
    query = [*by.query(filters), ("format", chosen)]
    download_file(client, "/v1/export/feedback", query, place, is_csv=chosen == "csv")


def _target(given: dict[str, Any]) -> dict[str, Any]:
    tags = [*given["tag"], *split_at_commas(given["completion_tags_selector"])]
    found = {**_fields(given, "trace_id", "request_id"), **({"tags": tags} if tags else {})}
    if len(found) != 1:
        raise click.UsageError("give one of --trace-id, --request-id and --tag: what the feedback is about")
    if tags:
        found |= _fields(given, "max_matched") | (
            {"allow_unmatched": True} if given["allow_unmatched"] else {}
        )
    return found


def _said(given: dict[str, Any]) -> dict[str, Any]:
    body = _fields(
        given, "name", "kind", "value", "weight", "comment", "correction", "signal", "source_type",
        "source_id", "task_id", "overrides",
    )  # fmt: skip
    if given["values"] is not None:
        if "value" in body:
            raise click.UsageError("--value and --values are the same; give one of them")
        body["value"] = given["values"]
    if not {"value", "comment", "correction"} & body.keys():
        raise click.UsageError("nothing is said; give --value, --comment or --correction")
    if "value" in body and not {"name", "kind", "task_id"} & body.keys() and not _is_score(body["value"]):
        raise click.BadParameter(
            f"{given['value']!r} is not a whole number from {MIN_SCORE} to {MAX_SCORE}; "
            "give other values a --name",
            param_hint="--value",
        )
    return {**body, **_metadata(given)}


def _is_score(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and MIN_SCORE <= value <= MAX_SCORE


def _fields(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if given[name] is not None}


def _metadata(given: dict[str, Any]) -> dict[str, Any]:
    special = {f"_{name}": given[name] for name in SPECIAL_KEYS if given[name] is not None}
    metadata = {**special, **by.key_values(given["metadata"])}
    return {"metadata": metadata} if metadata else {}


def _behind(client: Client, query: Query, offset: int) -> Query:
    """The query for what is behind the first `offset` entries of its list."""
    rest = [(name, value) for name, value in query if name not in ("limit", "after")]
    after = [(name, value) for name, value in query if name == "after"]
    while offset:
        page = client.get("/v1/feedback", "list", [*rest, ("limit", str(min(offset, MAX_PAGE))), *after])
        rows = rows_of(page)
        if not rows:
            break
        offset -= len(rows)
        after = [("after", str(page.get("last_id")))]
    return [*((name, value) for name, value in query if name != "after"), *after]


def _print_saved(answer: Any, *, as_json: bool) -> None:
    if not isinstance(answer, dict) or not isinstance(answer.get("feedback_ids"), list):
        raise Failure("the answer is not a gateway's, so nothing may have been saved; check --url")
    if as_json:
        print_json(answer)
        return
    click.echo(printable(str(answer.get("message"))))
    for feedback_id in answer["feedback_ids"]:
        click.echo(printable(str(feedback_id)))
