"""`gateway demo` as a stranger runs it: a command, its output, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness import free_port
from tests.harness.process import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def start_demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = clean_environment({"TMPDIR": str(directory), "COLUMNS": "120"})
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *arguments],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `gateway demo --once` prints."""
    directory = tmp_path_factory.mktemp("demo")
    demo = start_demo(directory, "--once", "--port", str(free_port()))
    text, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, text
    assert list(directory.iterdir()) == [], "the demo cleans up after itself"
    return text


def test_it_shows_every_request_it_sends(output: str) -> None:
    for trace in (
        "support-4711",
        "haiku-1",
        "weather-88",
        "title-9",
        "proof-3",
        "outage-5",
        "search-12",
        "agent-5",
        "(generated)",
    ):
        assert trace in output
    assert "streamed" in output
    assert re.search(r"broken-model +500", output), "one call fails, and the demo says so"
    assert re.search(r"always-there +200", output), "one is answered by its second choice"


def test_it_shows_a_table_of_traces_with_feedback_count_and_pairs(output: str) -> None:
    table = output.partition("What people thought")[2]

    assert "Feedback" in table
    assert "Count" in table
    assert re.search(r"support-4711.*4:0\.5 +10:1\.0", table)
    assert re.search(r"haiku-1 .*-10:0\.3 +10:1\.0", table)
    assert re.search(r"weather-88 .*1:1\.0.\S3", table)
    assert re.search(r"proof-3 .*0:1\.0", table)
    assert re.search(r"title-9 .*-7:0\.8", table)


def test_feedback_that_came_before_its_request_is_said_to_be_kept(output: str) -> None:
    assert re.search(r"order-2026 +5:0\.9", output)


def test_nothing_goes_wrong_in_sight_of_the_stranger(output: str) -> None:
    assert "Traceback" not in output
    assert "Exception" not in output


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demo that serves on, on a port that was asked for but taken, and what it has printed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = start_demo(tmp_path, "--port", str(taken.getsockname()[1]))
        assert demo.stdout
        reader = threading.Timer(60, demo.kill)  # so that a demo that hangs fails the test
        reader.start()
        printed = ""
        while "Serving until Ctrl+C" not in printed:
            line = demo.stdout.readline()
            assert line, printed
            printed += line
        reader.cancel()
        yield demo, printed
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
        demo.wait(10)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_finds_another_port_serves_on_and_ends_when_told(
    serving: tuple[subprocess.Popen[str], str], ending: signal.Signals, tmp_path: Path
) -> None:
    demo, printed = serving
    assert "is taken" in printed
    url = next(iter(re.findall(r"curl -s (http://127\.0\.0\.1:\d+)/v1/traces/support-4711", printed)))

    assert httpx.get(f"{url}/v1/traces/support-4711").json()["feedback"]["count"] == 2
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"x-trace-id": "mine"})
    assert answer.json()["choices"][0]["message"]["content"].startswith("Hello!")

    demo.send_signal(ending)
    assert demo.wait(15) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    assert list(tmp_path.iterdir()) == []
