"""Pages that stay up to date: server-sent events from a gateway that is asked as a browser asks."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness import run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Process, RunningGateway

WITHIN_S = 10.0


@contextmanager
def watching(gateway: RunningGateway, path: str) -> Iterator[Iterator[dict[str, str]]]:
    """Each event's parts by their ids, as they come; the first is the page as it is."""
    with httpx.Client(base_url=gateway.url, timeout=WITHIN_S) as client, client.stream("GET", path) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield events(stream)


def events(stream: httpx.Response) -> Iterator[dict[str, str]]:
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield {part["id"]: part["html"] for part in json.loads(line.removeprefix("data: "))}


def until(parts: Iterator[dict[str, str]], name: str, text: str = "") -> str:
    """The part of this name, once it has the text in it."""
    deadline = time.monotonic() + WITHIN_S
    for event in parts:
        if text in event.get(name, "\0"):
            return event[name]
        assert time.monotonic() < deadline, f"no {name} with {text!r}"
    raise AssertionError(f"the events ended before {name} had {text!r}")


def ask(http: httpx.Client, trace: str, question: str = "hi", **headers: str) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": question}]}
    assert http.post("/v1/chat/completions", json=body, headers={"x-trace-id": trace, **headers}).is_success


def test_a_new_trace_appears_and_its_feedback_after_it(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    with watching(gateway, "/ui/live/logs") as parts:
        ask(http, trace, "<b>is it live?</b>")
        row = until(parts, trace)
        assert row.strip().startswith(f'<tr data-trace="{trace}">')
        assert "&lt;b&gt;is it live?" in row
        http.post("/v1/feedback", json={"trace_id": trace, "value": 7, "weight": 0.5}).raise_for_status()
        assert "+7" in until(parts, trace, ":0.5")


def test_a_filtered_list_gets_only_what_fits(gateway: RunningGateway, http: httpx.Client, trace: str) -> None:
    with watching(gateway, f"/ui/live/logs?user={trace}") as parts:
        ask(http, f"{trace}-other")
        ask(http, trace, **{"x-metadata": json.dumps({"_user": trace})})
        assert list(next(parts)) == [trace]


def test_a_trace_shows_feedback_as_it_is_given_and_retracted(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    ask(http, trace)
    with watching(gateway, f"/ui/live/trace?id={trace}") as parts:
        assert "None yet" in until(parts, "feedback-list")
        given = http.post("/v1/feedback", json={"trace_id": trace, "value": -3, "comment": "no"}).json()
        assert "no</blockquote>" in until(parts, "feedback-list", "\u22123")
        http.delete(f"/v1/feedback/{given['feedback_ids'][0]}").raise_for_status()
        assert "retracted" in until(parts, "feedback-list", "retracted")


def test_the_status_page_counts_on(gateway: RunningGateway, http: httpx.Client, trace: str) -> None:
    with watching(gateway, "/ui/live/status") as parts:
        until(parts, "status-store")
        ask(http, trace)
        until(parts, "status-state")


def test_a_trace_that_does_not_exist_yet_can_be_waited_for(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    with watching(gateway, f"/ui/live/trace?id={trace}") as parts:
        ask(http, trace)
        assert "Requests" in until(parts, "trace-figures")


def test_open_windows_do_not_hold_up_the_end(fake_openai: Process) -> None:
    with (
        run_gateway(upstream=f"{fake_openai.url}/v1") as gateway,
        watching(gateway, "/ui/live/status") as parts,
    ):
        next(parts)
        started = time.monotonic()
        with ThreadPoolExecutor() as pool:
            ended: Any = pool.submit(lambda: list(parts))
            assert gateway.terminate(within_s=10) == 0
            ended.result(10)
        assert time.monotonic() - started < 5


def test_more_windows_than_are_kept_up_to_date_are_turned_away(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with httpx.Client(
        base_url=gateway.url, timeout=WITHIN_S, limits=httpx.Limits(max_connections=200)
    ) as client:
        streams = [client.stream("GET", "/ui/live/logs?user=nobody") for _ in range(101)]
        try:
            statuses = [stream.__enter__().status_code for stream in streams]
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)
    assert statuses == [200] * 100 + [503]
