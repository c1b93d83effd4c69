"""The benchmark measures what it says it measures."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.bench import cpu, dashboard, payloads
from tests.bench.__main__ import Line, ratio, render
from tests.bench.fill import fill
from tests.bench.load import Work, is_whole
from tests.harness import Rows, WireUpstream, run_gateway

if TYPE_CHECKING:
    from pathlib import Path


def test_payloads_have_the_sizes_that_the_figures_are_quoted_for() -> None:
    assert len(payloads.chat_request(stream=False)) == 190
    assert len(payloads.chat_request(stream=True)) == 190
    assert len(payloads.COMPLETION) == 530
    assert len(payloads.EVENT) == 240


def test_cpu_of_a_process_tree_is_what_it_burned() -> None:
    before_s = cpu.cpu_s(os.getpid())
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert cpu.cpu_s(os.getpid()) - before_s == pytest.approx(0.2, abs=0.05)
    assert cpu.resident_mib(os.getpid()) > 5


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-len", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
    ],
)
def test_an_answer_counts_once_it_has_arrived_to_its_end(answer: bytes, whole: bool) -> None:
    assert is_whole(answer) is whole


def test_a_ratio_compares_turns_that_followed_each_other() -> None:
    def turns(*cpu_s: float) -> list[Work]:
        return [Work(answered=1000, failed=0, seconds=1.0, cpu_s=each) for each in cpu_s]

    results = {"yardstick": turns(0.1, 0.2, 0.4), "gateway": turns(0.3, 0.6, 1.2)}
    assert ratio(results, "yardstick") == "3.00 x yardstick"


def test_the_table_is_markdown() -> None:
    lines = render([Line("CPU", "1", "2", "3", "3.00 x", "≤ 4")]).split("\n")
    assert [line.count("|") for line in lines] == [7, 7, 7]
    assert set(lines[1]) <= set("|- ")


def test_a_filled_store_is_one_that_the_gateway_could_have_written(
    upstream: WireUpstream, tmp_path: Path
) -> None:
    with run_gateway(upstream=upstream.base_url, directory=tmp_path) as gateway:
        assert gateway.database
    fill(gateway.database, 500)

    rows = Rows(gateway.database)
    assert rows.count("exchange") == rows.count("trace") == 500
    assert rows.count("feedback") == rows.count("feedback_target") == 50
    assert rows.query("SELECT sum(feedback_count) AS n FROM trace")[0]["n"] == 50
    assert rows.integrity() == "ok"

    mixed = tmp_path / "mixed"
    mixed.mkdir()
    with run_gateway(upstream=upstream.base_url, directory=mixed) as gateway:
        assert gateway.database
    fill(gateway.database, 500, graded_every=5, mixed=True, bodies=True)
    rows = Rows(gateway.database)
    assert rows.count("exchange_body") == 500
    assert rows.count("feedback") == rows.count("feedback_target") == 150
    counted = "SELECT sum(feedback_count) AS n FROM trace UNION ALL SELECT sum(count) FROM trace_score"
    assert [row["n"] for row in rows.query(counted)] == [150, 25]


def test_every_page_of_the_dashboard_is_looked_at() -> None:
    figures = dashboard.page_ms(2_000, repeats=2)
    assert figures.keys() > dashboard.PAGES.keys()
    assert all(0 < median_ms <= slowest_ms for median_ms, slowest_ms in figures.values())
