"""`gateway task`: feedback tasks, forms whose answers are held to a schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gateway.cli import filters as by
from gateway.cli.client import Client, reaches_gateway, segment
from gateway.cli.failures import Failure
from gateway.cli.output import print_json, print_page
from gateway.cli.printable import json_text, printable
from gateway.cli.tables import Row, console, facts, grid, when
from gateway.cli.values import JsonObject, one_id, split_at_commas

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

PATH = "/v1/feedback-tasks"


@click.group(short_help="Manage feedback tasks: forms with a schema.")
def task() -> None:
    """Manage the feedback tasks of a running gateway."""


@task.command()
@click.option("--name", required=True, help="What the task is called; feedback for it has this name.")
@click.option(
    "--json-schema", "--json_schema", "--task-schema", "--task_schema", "schema", type=JsonObject(),
    required=True, metavar="JSON", help="The JSON Schema of an answer, or @FILE.",
)  # fmt: skip
@click.option("--instruction", help="What reviewers are told.")
@click.option("--tag", multiple=True, help="It is about exchanges with this tag; may be repeated.")
@click.option(
    "--completion-tags-selector", "--completion_tags_selector", multiple=True, metavar="TAG,TAG",
    help="The same, separated by commas.",
)  # fmt: skip
@by.METADATA
@click.option("--idempotency-key", metavar="KEY", help="The same key twice is stored once.")
@reaches_gateway
def create(
    client: Client,
    as_json: bool,
    name: str,
    schema: dict[str, Any],
    instruction: str | None,
    tag: tuple[str, ...],
    completion_tags_selector: tuple[str, ...],
    metadata: tuple[str, ...],
    idempotency_key: str | None,
) -> None:
    """Create a task.

    \b
    gateway task create --name grade --tag beta --json-schema \\
      '{"type": "object", "properties": {"grade": {"type": "integer"}}, "required": ["grade"]}'
    """
    body: dict[str, Any] = {"name": name, "schema": schema}
    if instruction is not None:
        body["instruction"] = instruction
    selector = {
        "tags": [*tag, *split_at_commas(completion_tags_selector)],
        "metadata": by.key_values(metadata),
    }
    if any(selector.values()):
        body["selector"] = {part: value for part, value in selector.items() if value}
    headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
    created = _task(client.send("POST", PATH, body=body, headers=headers))
    _print(created, as_json=as_json)


@task.command("list")
@click.option("--include-archived", is_flag=True, default=None, help="With archived ones.")
@click.option("--limit", type=int, help="Entries at most.")
@click.option("--after", metavar="ID", help="The page after the entry with this id.")
@reaches_gateway
def list_(client: Client, as_json: bool, **filters: Any) -> None:
    """List tasks, newest first."""
    page = client.get(PATH, "list", by.query(filters))
    print_page(page, task_table, as_json=as_json, nothing="no tasks")


@task.command()
@click.argument("task_id", required=False)
@click.option("--id", "id_option", metavar="ID", help="The same as TASK_ID.")
@click.option("--version", type=click.IntRange(min=1), help="The newest when left out.")
@reaches_gateway
def get(
    client: Client, as_json: bool, task_id: str | None, id_option: str | None, version: int | None
) -> None:
    """Show one task with its schema."""
    found = client.get(_path(one_id(task_id, id_option)), "feedback_task", by.query({"version": version}))
    _print(found, as_json=as_json)


@task.command()
@click.argument("task_id")
@reaches_gateway
def archive(client: Client, as_json: bool, task_id: str) -> None:
    """Close a task to new feedback. What was given stays."""
    archived = _task(client.send("POST", f"{_path(task_id)}/archive"))
    if as_json:
        print_json(archived)
    else:
        click.echo(f"archived {printable(task_id)}")


def task_table(tasks: Iterable[Row]) -> Table:
    columns = (("Task",), ("Name",), (">Version",), ("Created",), ("Archived",), ("Instruction",))
    return grid(None, columns, map(_cells, tasks))


def _cells(found: Row) -> tuple[Any, ...]:
    return (
        found.get("id"),
        found.get("name"),
        found.get("version"),
        when(found.get("created_at")),
        when(found.get("archived_at")),
        found.get("instruction") or None,
    )


def task_facts(found: Row) -> Table:
    selector = found.get("selector") or {}
    return facts(
        [
            ("Task", found.get("id")),
            ("Name", found.get("name")),
            ("Version", found.get("version")),
            ("Instruction", found.get("instruction") or None),
            ("About tags", ", ".join(map(str, selector.get("tags") or ())) or None),
            *((f"  {key}", text) for key, text in (selector.get("metadata") or {}).items()),
            ("Created", when(found.get("created_at"))),
            ("Changed", when(found.get("updated_at"))),
            ("Archived", when(found.get("archived_at"))),
        ]
    )


def _path(task_id: str) -> str:
    return f"{PATH}/{segment(task_id)}"


def _task(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or answer.get("object") != "feedback_task":
        raise Failure("the answer is not a gateway's, so nothing may have been saved; check --url")
    return answer


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    console().print(task_facts(found))
    click.echo(f"\nSchema\n{json_text(found.get('schema'))}")
