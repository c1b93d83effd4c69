"""README.md is true: what it lists of filters, errors and answers is what there is."""

from __future__ import annotations

import pkgutil
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest

import gateway
from gateway.api.openapi_schemas import SCHEMAS
from gateway.api.params import FEEDBACK, LOGS, TRACES, ListParameters
from gateway.api.services import MIB, Services
from gateway.errors import (
    ClientGone,
    GatewayError,
    InvalidFeedback,
    UpstreamAborted,
    UpstreamError,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
LISTS = {"feedback": FEEDBACK, "traces": TRACES, "logs": LOGS}
TIME_LIMITS = ("connect", "first_byte", "idle", "total", "deadline")
NO_STATUS = (ClientGone, UpstreamAborted)
"""Nobody is left to see one, or another was sent already."""


def table(head: str) -> list[list[str]]:
    """The rows under the table head that begins so, as their cells."""
    _, found, rest = README.partition(f"\n{head}")
    assert found, f"no table {head}"
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- filters ---


@pytest.mark.parametrize(("place", "name"), list(enumerate(LISTS, 1)))
def test_each_list_has_the_filters_that_the_table_gives_it(place: int, name: str) -> None:
    rows = table("| filter | feedback | traces | logs |")
    assert sorted(filters_of(LISTS[name])) == sorted(
        word for cells in rows if cells[place] == "yes" for word in words(cells[0])
    )


def test_the_feedback_list_has_the_parameters_that_its_call_is_shown_with() -> None:
    [listing] = [cells for cells in table("| call | does |") if cells[0] == "`GET /v1/feedback`"]
    assert sorted(words(listing[1])) == sorted([*filters_of(FEEDBACK), "limit", "after"])


def filters_of(parameters: ListParameters) -> list[str]:
    return [*parameters.parse, *(["metadata[key]"] if parameters.takes_metadata else [])]


# --- errors ---


def error_classes() -> Iterator[type[GatewayError]]:
    """All that become an answer. Pages of the dashboard say their errors in words."""
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    waiting: list[type[GatewayError]] = [GatewayError]
    while waiting:
        each = waiting.pop()
        waiting += each.__subclasses__()
        if each.__module__.startswith("gateway.") and not each.__module__.startswith("gateway.dashboard."):
            yield each


def documented_errors() -> set[tuple[str, str]]:
    return {
        (status if status.isdigit() else "", code)
        for cells in table("| status | code | when |")
        for status in cells[0].split(", ")
        for code in words(cells[1])
    }


def test_every_error_is_in_the_table_under_its_status() -> None:
    documented = documented_errors()
    for each in error_classes():
        if each in (UpstreamError, InvalidFeedback):  # never raised itself; has Portkey's numbers
            continue
        codes = [each.code]
        if each is UpstreamTimeout:
            codes = [UpstreamTimeout("", limit=limit).code for limit in TIME_LIMITS]
        status = "" if each in NO_STATUS else str(each.status)
        for code in codes:
            assert (status, code) in documented, f"{each.__name__}: {status} {code}"


def test_the_table_has_no_error_that_there_is_not() -> None:
    timeouts = {UpstreamTimeout("", limit=limit).code for limit in TIME_LIMITS}
    known = {each.code for each in error_classes() if each is not UpstreamTimeout} | timeouts
    assert {code for _, code in documented_errors()} <= known


def test_the_limit_of_our_own_endpoints_bodies_is_the_one_it_names() -> None:
    [limit] = [each.default for each in fields(Services) if each.name == "max_body_bytes"]
    assert limit == 16 * MIB
    assert "own endpoints take bodies of up to 16 MiB" in README


# --- the walk-through ---


def test_the_transcript_of_a_log_leaves_nothing_out_without_saying_so() -> None:
    _, _, transcript = README.partition("$ curl -s 'http://127.0.0.1:8787/v1/logs?trace_id=sea-1'\n")
    shown = transcript.partition("\n```")[0].partition('"data":[{')[2]
    members = list(SCHEMAS["Log"]["properties"])
    place = 0
    for piece in re.sub(r":\{.*?\}", ":0", shown).split("…"):
        names = re.findall(r'"(\w+)":', piece)
        if names:
            place = members.index(names[0], place)
            assert members[place : place + len(names)] == names
            place += len(names)
    assert place == len(members) or shown.rstrip().endswith("…")


# --- clients ---


def test_the_python_client_starts_where_no_key_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    [code] = re.findall(r"^client = (OpenAI\(.*\))$", README, re.MULTILINE)
    client: openai.OpenAI = eval(code, {"OpenAI": openai.OpenAI})
    assert str(client.base_url) == "http://127.0.0.1:8787/v1/"
