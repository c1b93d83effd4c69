"""`python -m tests.bench`: measure the gateway beside its yardsticks and print a Markdown table.

`--quick` takes about a minute and is good for a look; the default takes about five. `--traces 1000000`
adds the pages over a filled store. `--only requests|streams|latency|start|traces|dashboard` picks parts; the
dashboard's pages, over a million exchanges or `--traces` of them, are only measured when picked.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench import cpu, dashboard, load, servers, traces
from tests.bench.payloads import chat_request
from tests.bench.servers import Cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.load import Work
    from tests.harness.process import Process

PARTS = ("requests", "streams", "latency", "start", "traces", "dashboard")
DEFAULT_PARTS = PARTS[:-1]
DASHBOARD_EXCHANGES = 1_000_000
REQUEST_CONNECTIONS = 32
STREAM_CONNECTIONS = 48


@dataclass(frozen=True)
class Line:
    """One row of the table; an empty string where a contestant has no figure."""

    what: str
    yardstick: str = ""
    nginx: str = ""
    gateway: str = ""
    ratio: str = ""
    budget: str = ""


@dataclass(frozen=True)
class Plan:
    """How long to measure: `seconds` a turn, `rounds` turns for each contestant, `calls` for a latency."""

    seconds: float
    rounds: int
    calls: int


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def contest(
    contestants: dict[str, Process], plan: Plan, turn: Callable[[Process, float], Work]
) -> dict[str, list[Work]]:
    """`plan.rounds` rounds in which each takes its turn, after a second to warm up."""
    for server in contestants.values():
        turn(server, 1)
    results: dict[str, list[Work]] = {name: [] for name in contestants}
    for _ in range(plan.rounds):
        for name, server in contestants.items():
            work = turn(server, plan.seconds)
            progress(f"  {name}: {work.cpu_us_each:.0f} µs, {work.per_s:.0f}/s, {work.failed} failed")
            results[name].append(work)
    return results


def cpu_us(results: dict[str, list[Work]], name: str) -> str:
    works = results.get(name, [])
    failed = sum(work.failed for work in works)
    note = f" ({failed} failed)" if failed else ""
    return f"{statistics.median(work.cpu_us_each for work in works):,.0f}{note}" if works else "-"


def per_s(results: dict[str, list[Work]], name: str) -> str:
    works = results.get(name, [])
    return f"{statistics.median(work.per_s for work in works):,.0f}" if works else "-"


def ratio(results: dict[str, list[Work]], over: str) -> str:
    """The median of the rounds' ratios: each gateway turn against the turn of `over` just before it."""
    pairs = zip(results["gateway"], results.get(over, []), strict=False)
    ratios = [mine.cpu_us_each / theirs.cpu_us_each for mine, theirs in pairs if theirs.cpu_us_each]
    return f"{statistics.median(ratios):.2f} x {over}" if ratios else "-"


def request_lines(name: str, cores: Cores, plan: Plan, budget: str) -> list[Line]:
    """CPU and rate of completions that are not streamed; and the memory the gateway has afterwards."""
    progress(f"requests, {name}")
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.constant_upstream(cores))
        contestants = {"yardstick": stack.enter_context(servers.yardstick(cores))}
        if servers.NGINX:
            contestants["nginx"] = stack.enter_context(servers.nginx_proxy(cores, upstream))
        contestants["gateway"] = stack.enter_context(servers.gateway(cores, upstream))
        results = contest(
            contestants,
            plan,
            lambda server, seconds: load.requests(
                server, connections=REQUEST_CONNECTIONS, seconds=seconds, core=cores.load
            ),
        )
        memory_mib = cpu.resident_mib(contestants["gateway"].pid)
    names = ("yardstick", "nginx", "gateway")
    figures = [cpu_us(results, contestant) for contestant in names]
    rates = [per_s(results, contestant) for contestant in names]
    answered = sum(work.answered for work in results["gateway"])
    memory = f"memory after {answered:,} requests, {name}"
    return [
        Line(f"CPU µs a request, {name}", *figures, ratio(results, "yardstick"), budget),
        Line(f"requests a second, {name}", *rates),
        Line(memory, gateway=f"{memory_mib:.0f} MiB", budget="≤ 100 MB a worker"),
    ]


def stream_lines(name: str, cores: Cores, plan: Plan, budget: str) -> list[Line]:
    progress(f"streams, {name}")
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.event_upstream(cores))
        contestants: dict[str, Process] = {}
        if servers.NGINX:
            contestants["nginx"] = stack.enter_context(servers.nginx_proxy(cores, upstream))
        contestants["gateway"] = stack.enter_context(servers.gateway(cores, upstream))
        results = contest(
            contestants,
            plan,
            lambda server, seconds: load.streams(server, connections=STREAM_CONNECTIONS, seconds=seconds),
        )
    figures = (cpu_us(results, "nginx"), cpu_us(results, "gateway"), ratio(results, "nginx"))
    return [Line(f"CPU µs a stream of 50 events, {name}", "", *figures, budget)]


def latency_lines(cores: Cores, plan: Plan) -> list[Line]:
    progress("latency at concurrency 1")
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.event_upstream(cores))
        gateway = stack.enter_context(servers.gateway(cores, upstream))
        whole = load.added(upstream, gateway, chat_request(stream=False), rounds=plan.calls, which=1)
        short_stream = chat_request(stream=True, max_tokens=3)
        first = load.added(upstream, gateway, short_stream, rounds=plan.calls // 4, which=0)
    return [
        Line(f"{what} (direct {it.direct_ms:.2f} ms)", gateway=f"+{it.added_ms:.2f} ms", budget="≤ 2 ms")
        for what, it in (("latency added, median", whole), ("first streamed byte added, median", first))
    ]


def start_line(cores: Cores, plan: Plan) -> Line:
    progress("start to first answer")
    with servers.constant_upstream(cores) as upstream:
        taken_s = [servers.start_to_first_answer_s(cores, upstream) for _ in range(plan.rounds)]
    median_s = statistics.median(taken_s)
    return Line("start to first forwarded answer", gateway=f"{median_s:.2f} s", budget="≤ 1.5 s")


def trace_lines(count: int) -> list[Line]:
    progress(f"pages over {count:,} exchanges")
    return [
        Line(f"`GET /v1/traces` over {count:,}: {name}", gateway=f"{taken_ms:.1f} ms", budget="≤ 50 ms")
        for name, taken_ms in traces.page_ms(count).items()
    ]


def dashboard_lines(count: int) -> list[Line]:
    progress(f"the dashboard over {count:,} exchanges")
    lines = []
    for name, (median_ms, slowest_ms) in dashboard.page_ms(count).items():
        budget = "" if name.startswith("making") else "≤ 200 ms"
        lines.append(Line(name, gateway=f"{median_ms:.0f} ms, slowest {slowest_ms:.0f} ms", budget=budget))
    return lines


def render(lines: list[Line]) -> str:
    head = ("what", "yardstick", "nginx `proxy_pass`", "gateway", "ratio", "budget")
    rows = [(line.what, line.yardstick, line.nginx, line.gateway, line.ratio, line.budget) for line in lines]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    marks = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, marks, *rows)
    )


def setting(plan: Plan) -> str:
    """One line on where and how it was measured."""
    generator = "wrk" if load.WRK else "own load generator"
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {generator}, {plan.rounds} interleaved turns of "
        f"{plan.seconds:g} s, one worker, every exchange recorded."
    )


def measure(parts: list[str], plan: Plan, trace_count: int) -> list[Line]:
    pinned, free = Cores.pinned(), Cores.free()
    lines: list[Line] = []
    if "requests" in parts:
        lines += request_lines("pinned", pinned, plan, "")
        lines += request_lines("free", free, plan, "≤ 3.5 x yardstick")
    if "streams" in parts:
        lines += stream_lines("pinned", pinned, plan, "≤ 2 x nginx")
        lines += stream_lines("free", free, plan, "≤ 2 x nginx")
    if "latency" in parts:
        lines += latency_lines(free, plan)
    if "start" in parts:
        lines.append(start_line(free, plan))
    if "traces" in parts and trace_count:
        lines += trace_lines(trace_count)
    if "dashboard" in parts:
        lines += dashboard_lines(trace_count or DASHBOARD_EXCHANGES)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short turns each")
    parser.add_argument("--seconds", type=float, help="length of a turn")
    parser.add_argument("--rounds", type=int, help="turns for each contestant")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be repeated")
    parser.add_argument("--traces", type=int, default=0, metavar="N", help="also page through N exchanges")
    given = parser.parse_args()
    seconds, rounds, calls = (2.0, 2, 200) if given.quick else (6.0, 4, 600)
    plan = Plan(given.seconds or seconds, given.rounds or rounds, calls)
    # The load runs in this process: keep it off the contestants' core.
    os.sched_setaffinity(0, {int(Cores.pinned().load)})
    lines = measure(given.only or list(DEFAULT_PARTS), plan, given.traces)
    print(setting(plan), end="\n\n")
    print(render(lines))


if __name__ == "__main__":
    main()
