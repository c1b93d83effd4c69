"""Feedback, tasks and exports from the command line: what is asked, what is printed, what lands in files."""

from __future__ import annotations

import csv
import io
import itertools
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonio
from gateway.cli.records import JsonLines, Table
from gateway.exports.lines import csv_line
from tests.harness.process import REPOSITORY, clean_environment
from tests.test_cli_client import ESCAPES, FEEDBACK, SAVED, CannedGateway, canned, page, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness import RunningGateway

__all__ = ["canned"]

TASK = {
    "object": "feedback_task",
    "id": "k-1",
    "name": "grade",
    "version": 2,
    "schema": {"type": "object"},
    "instruction": "Be fair",
    "selector": {"tags": ["beta"], "metadata": {"team": "x"}},
    "created_at": "2026-01-31T12:00:00.000Z",
    "updated_at": None,
    "archived_at": None,
}
FIGURES = {
    "value_count": 4,
    "distribution": [{"value": True, "count": 3, "share": 0.75}],
    "other_count": 1,
    "mean": 0.5,
    "min": 0,
    "max": 1,
    "agreement": {"n": 2, "votes": 4, "exact": 0.5, "alpha": 0.25, "scale": "nominal"},
}
NAME = {
    "name": "thumbs",
    "count": 4,
    "kinds": {"boolean": 4},
    **FIGURES,
    "weighted_mean": None,
    "mean_weighted_value": None,
    "fields": {"why": FIGURES},
}
SUMMARY = {
    "object": "feedback.summary",
    "group_by": "user",
    "first_id": "ann",
    "last_id": None,
    "has_more": False,
    "data": [{"group": "ann", "count": 4, "names": [NAME], "other_count": 0}],
}


# --- giving feedback ---


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (["--trace-id", "t", "--value", "-5"], {"trace_id": "t", "value": -5}),
        (
            ["--trace-id", "t", "--name", "thumbs", "--value", "true"],
            {"trace_id": "t", "name": "thumbs", "value": True},
        ),
        (
            ["--trace-id", "t", "--name", "tone", "--value", "rude"],
            {"trace_id": "t", "name": "tone", "value": "rude"},
        ),
        (["--trace-id", "t", "--name", "n", "--value", '"5"'], {"trace_id": "t", "name": "n", "value": "5"}),
        (
            ["--trace-id", "t", "--name", "n", "--value", '["a"]'],
            {"trace_id": "t", "name": "n", "value": ["a"]},
        ),
        (
            ["--trace-id", "t", "--kind", "number", "--value", "4.5"],
            {"trace_id": "t", "kind": "number", "value": 4.5},
        ),
        (["--request-id", "r", "--correction", "42"], {"request_id": "r", "correction": "42"}),
        (["--request-id", "r", "--correction", '{"a": 1}'], {"request_id": "r", "correction": {"a": 1}}),
        (["--request-id", "r", "--correction", "{not json"], {"request_id": "r", "correction": "{not json"}),
        (
            [
                "--trace-id",
                "t",
                "--comment",
                "hm",
                "--signal",
                "implicit",
                "--source-type",
                "HUMAN",
                "--source-id",
                "ann",
                "--overrides",
                "f-0",
                "--weight",
                "0.5",
            ],
            {
                "trace_id": "t",
                "comment": "hm",
                "signal": "implicit",
                "source_type": "HUMAN",
                "source_id": "ann",
                "overrides": "f-0",
                "weight": 0.5,
            },
        ),
        (
            [
                "--task_id",
                "k",
                "--values",
                '{"grade": 4}',
                "--completion_tags_selector",
                "a, b,",
                "--comment",
                "c",
            ],
            {"tags": ["a", "b"], "task_id": "k", "value": {"grade": 4}, "comment": "c"},
        ),
        (
            ["--task-id", "k", "--value", "x", "--tag", "a", "--allow-unmatched", "--max-matched", "5"],
            {"tags": ["a"], "task_id": "k", "value": "x", "allow_unmatched": True, "max_matched": 5},
        ),
    ],
)
def test_create_sends_what_was_said(canned: CannedGateway, options: list[str], body: Any) -> None:
    canned.answer(SAVED)
    result = run("feedback", "create", *options, "--url", canned.url)
    assert result.exit_code == 0, result.output
    assert canned.asked[0].body == body


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--value", "5"], "give one of --trace-id, --request-id and --tag"),
        (["--value", "5", "--trace-id", "t", "--tag", "a"], "give one of --trace-id, --request-id and --tag"),
        (["--trace-id", "t"], "nothing is said"),
        (["--trace-id", "t", "--value", "11"], "is not a whole number from -10 to 10"),
        (["--trace-id", "t", "--value", "true"], "is not a whole number from -10 to 10"),
        (["--trace-id", "t", "--value", "1", "--values", "{}"], "--value and --values are the same"),
        (["--trace-id", "t", "--values", "[1]"], "is not a JSON object"),
        (["--trace-id", "t", "--values", "{"], "is not JSON"),
        (["--trace-id", "t", "--values", "@/nowhere"], "cannot read /nowhere"),
        (["--trace-id", "t", "--name", "x", "--kind", "stars", "--value", "1"], "stars"),
    ],
)
def test_create_needs_to_know_what_about_and_what(
    canned: CannedGateway, options: list[str], problem: str
) -> None:
    result = run("feedback", "create", *options, "--url", canned.url)
    assert (result.exit_code, canned.asked) == (2, [])
    assert problem in " ".join(result.stderr.split())


def test_update_sends_what_changes(canned: CannedGateway) -> None:
    canned.answer(SAVED)
    run("feedback", "update", "f", "--comment", "c", "--correction", "x", "--name", "n", "--url", canned.url)
    assert canned.asked[0].body == {"name": "n", "comment": "c", "correction": "x"}
    nothing = run("feedback", "update", "f", "--url", canned.url)
    assert (nothing.exit_code, len(canned.asked)) == (2, 1)


def test_a_key_is_sent_and_never_shown(canned: CannedGateway) -> None:
    canned.answer(page())
    run("feedback", "list", "--url", canned.url, "--key", "secret")
    run("feedback", "list", "--url", canned.url, env={"GATEWAY_KEY": "other"})
    run("feedback", "list", "--url", canned.url)
    sent = [asked.headers.get("authorization") for asked in canned.asked]
    assert sent == ["Bearer secret", "Bearer other", None]


# --- reading it ---


def test_list_asks_with_every_filter(canned: CannedGateway) -> None:
    canned.answer(page())
    options = {
        "trace_id": "t",
        "request_id": "r",
        "name": "n",
        "kind": "text",
        "signal": "implicit",
        "source_type": "CODE",
        "source_id": "s",
        "task_id": "k",
        "label": "good",
        "min_value": "-1.5",
        "max_value": "3",
        "user": "u",
        "since": "2026-01-01",
        "limit": "5",
        "after": "f",
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    result = run("feedback", "list", "--include-retracted", *words, "--url", canned.url)
    assert result.output == "no feedback\n"
    assert dict(canned.asked[0].query) == {**options, "include_retracted": "true"}


def test_list_passes_over_an_offset(canned: CannedGateway) -> None:
    canned.answer(page({**FEEDBACK, "id": "a"}, {**FEEDBACK, "id": "b"}, has_more=True))
    canned.answer(page({**FEEDBACK, "id": "c"}, has_more=True))
    canned.answer(page({**FEEDBACK, "id": "d"}))
    result = run(
        "feedback", "list", "--offset", "3", "--limit", "9", "--name", "n", "--json", "--url", canned.url
    )
    assert [row["id"] for row in jsonio.loads(result.output)["data"]] == ["d"]
    assert [sorted(asked.query) for asked in canned.asked] == [
        [("limit", "3"), ("name", "n")],
        [("after", "b"), ("limit", "1"), ("name", "n")],
        [("after", "c"), ("limit", "9"), ("name", "n")],
    ]


def test_an_offset_past_the_end_is_an_empty_list(canned: CannedGateway) -> None:
    canned.answer(page())
    assert run("feedback", "list", "--offset", "3", "--url", canned.url).output == "no feedback\n"


def test_get_shows_everything_there_is(canned: CannedGateway) -> None:
    item = {
        **FEEDBACK,
        "name": "form",
        "value": {"grade": 4},
        "comment": "so so",
        "correction": ["x"],
        "valid": False,
        "source": {"type": "HUMAN", "id": "ann"},
        "task": {"id": "k-1", "version": 2},
        "overrides": "f-0",
        "targets": [{"trace_id": "t-1", "request_id": "r-1", "matched": True}],
    }
    canned.answer(item)
    shown = run("feedback", "get", "--id", "f-1", "--url", canned.url).output
    for text in (
        "form",
        '{"grade":4}',
        "so so",
        '["x"]',
        "HUMAN ann",
        "k-1, version 2",
        "f-0",
        "r-1",
        "overridden",
    ):
        assert text in shown
    assert run("feedback", "get", "--url", canned.url).exit_code == 2
    assert run("feedback", "get", "a", "--id", "b", "--url", canned.url).exit_code == 2


def test_get_shows_what_it_was_before(canned: CannedGateway) -> None:
    revision = {
        "number": 1,
        "changed_at": "2026-01-31T12:00:00.000Z",
        "action": "changed",
        "fields": {"value": 3},
    }
    canned.answer({"object": "feedback.history", "id": "f-1", "data": [revision], "feedback": FEEDBACK})
    result = run("feedback", "get", "f-1", "--history", "--url", canned.url)
    assert canned.asked[0].path == "/v1/feedback/f-1/history"
    assert '{"value":3}' in result.output
    assert "meh" in result.output


def test_a_summary_is_a_table(canned: CannedGateway) -> None:
    canned.answer(SUMMARY)
    result = run("feedback", "summary", "--group_by", "user", "--name", "thumbs", "--url", canned.url)
    assert sorted(canned.asked[0].query) == [("group_by", "user"), ("name", "thumbs")]
    whole, field = [line for line in result.output.splitlines() if "thumbs" in line]
    for text in (
        "ann",
        "thumbs",
        " 4 ",
        "true \N{MULTIPLICATION SIGN}3 75%",
        "others \N{MULTIPLICATION SIGN}1",
        "0.50",
        "50% of 2, alpha 0.25",
    ):
        assert text in whole
    assert "thumbs.why" in field
    canned.answers.clear()
    canned.answer({**SUMMARY, "data": [{"group": None, "count": 0, "names": [], "other_count": 0}]})
    assert run("feedback", "summary", "--url", canned.url).exit_code == 0


def test_what_people_write_cannot_steer_the_terminal(canned: CannedGateway) -> None:
    figures = {**FIGURES, "distribution": [{"value": ESCAPES, "count": 1, "share": 1}]}
    group = {"group": ESCAPES, "count": 1, "names": [{**NAME, **figures, "name": ESCAPES}], "other_count": 0}
    item = {
        **FEEDBACK,
        "name": ESCAPES,
        "value": ESCAPES,
        "comment": ESCAPES,
        "correction": {ESCAPES: ESCAPES},
    }
    for answer, command in (
        ({**SUMMARY, "data": [group]}, ["feedback", "summary"]),
        (page(item), ["feedback", "list"]),
        (item, ["feedback", "get", "f"]),
        ({**TASK, "name": ESCAPES, "instruction": ESCAPES, "schema": {"a": ESCAPES}}, ["task", "get", "k"]),
        (page({**TASK, "name": ESCAPES}), ["task", "list"]),
    ):
        for more in ([], ["--json"]):
            canned.answers.clear()
            canned.answer(answer)
            result = run(*command, *more, "--url", canned.url)
            assert result.exit_code == 0, result.output
            assert all(char.isprintable() or char == "\n" for char in result.output)


# --- tasks ---


@pytest.mark.parametrize("spelling", ["--json-schema", "--json_schema", "--task_schema"])
def test_a_task_is_created(canned: CannedGateway, spelling: str, tmp_path: Path) -> None:
    canned.answer(TASK)
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object"}')
    result = run(
        "task",
        "create",
        "--name",
        "grade",
        spelling,
        f"@{file}",
        "--instruction",
        "Be fair",
        "--tag",
        "beta",
        "--completion_tags_selector",
        "a,b",
        "--metadata",
        "team=x",
        "--idempotency-key",
        "once",
        "--url",
        canned.url,
    )
    [asked] = canned.asked
    assert (asked.method, asked.path, asked.headers["idempotency-key"]) == (
        "POST",
        "/v1/feedback-tasks",
        "once",
    )
    assert asked.body == {
        "name": "grade",
        "schema": {"type": "object"},
        "instruction": "Be fair",
        "selector": {"tags": ["beta", "a", "b"], "metadata": {"team": "x"}},
    }
    assert "k-1" in result.output
    assert '"type": "object"' in result.output


def test_a_task_says_only_what_was_said(canned: CannedGateway) -> None:
    canned.answer(TASK)
    run("task", "create", "--name", "n", "--json-schema", "{}", "--url", canned.url)
    assert canned.asked[0].body == {"name": "n", "schema": {}}


def test_tasks_are_listed_shown_and_archived(canned: CannedGateway) -> None:
    canned.answer(page(TASK))
    canned.answer(TASK)
    canned.answer({**TASK, "archived_at": "2026-02-01T00:00:00.000Z"})
    listed = run("task", "list", "--include-archived", "--limit", "5", "--url", canned.url)
    shown = run("task", "get", "--id", "k/1", "--version", "2", "--url", canned.url)
    archived = run("task", "archive", "k/1", "--url", canned.url)
    assert "grade" in listed.output
    assert "team" in shown.output
    assert archived.output == "archived k/1\n"
    assert [(asked.method, asked.path, asked.query) for asked in canned.asked] == [
        ("GET", "/v1/feedback-tasks", [("include_archived", "true"), ("limit", "5")]),
        ("GET", "/v1/feedback-tasks/k%2F1", [("version", "2")]),
        ("POST", "/v1/feedback-tasks/k%2F1/archive", []),
    ]


# --- downloads, from a real gateway ---


@pytest.fixture(scope="module")
def some_feedback(gateway: RunningGateway) -> list[str]:
    """Seven pieces of feedback, some on an exchange; their ids, oldest first."""
    headers = {"x-trace-id": "chat", "x-tags": "beta", "authorization": "Bearer x"}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers).raise_for_status()
    items = [{"trace_id": "chat", "value": value} for value in (3, 4, 5)]
    items += [
        {"trace_id": "t", "name": "note", "comment": 'two\nlines, "quoted"\r\n' * number}
        for number in (1, 2, 3)
    ]
    items += [{"trace_id": "chat", "correction": "good day"}]
    saved = httpx.post(f"{gateway.url}/v1/feedback", json=items).json()
    ids: list[str] = saved["feedback_ids"]
    return ids


def exported(gateway: RunningGateway, path: str) -> bytes:
    return httpx.get(f"{gateway.url}/v1/export/{path}").content


def test_a_download_goes_to_stdout(gateway: RunningGateway, some_feedback: list[str]) -> None:
    result = run("feedback", "download", "--url", gateway.url)
    assert result.stdout_bytes == exported(gateway, "feedback")
    assert [jsonio.loads(line)["id"] for line in result.stdout.splitlines()] == some_feedback
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["all.jsonl", "all.csv", "all.CSV"])
def test_a_download_goes_to_a_file_of_the_kind_its_name_says(
    gateway: RunningGateway, some_feedback: list[str], tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    result = run("feedback", "download", "-f", str(file), "--url", gateway.url)
    assert result.stdout == ""
    assert result.stderr == f"7 lines in {file}\n"
    form = "csv" if name.lower().endswith("csv") else "jsonl"
    assert file.read_bytes() == exported(gateway, f"feedback?format={form}")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pieces_make_the_file_that_the_whole_makes(
    gateway: RunningGateway, some_feedback: list[str], tmp_path: Path, form: str, limit: int
) -> None:
    file = tmp_path / f"it's {form}"
    command = [
        "gateway",
        "feedback",
        "download",
        "--file",
        str(file),
        "--format",
        form,
        "--limit",
        str(limit),
        "--url",
        gateway.url,
    ]
    for _ in range(10):
        result = run(*command[1:])
        assert result.exit_code == 0, result.output
        more = re.search("There may be more: (.*)", result.stderr)
        if more is None:
            break
        command = [*shlex.split(more[1]), "--limit", str(limit)]
        assert command[:3] == ["gateway", "feedback", "download"]
    assert file.read_bytes() == exported(gateway, f"feedback?format={form}")


def test_an_offset_passes_over_lines_but_not_the_header(
    gateway: RunningGateway, some_feedback: list[str]
) -> None:
    result = run(
        "feedback", "download", "--offset", "2", "--limit", "3", "--format", "csv", "--url", gateway.url
    )
    rows = list(csv.DictReader(io.StringIO(result.stdout_bytes.decode(), newline="")))
    assert [row["id"] for row in rows] == some_feedback[2:5]


def test_filters_of_the_list_apply(gateway: RunningGateway, some_feedback: list[str]) -> None:
    result = run("feedback", "download", "--name", "note", "--url", gateway.url)
    assert [jsonio.loads(line)["id"] for line in result.stdout.splitlines()] == some_feedback[3:6]


def test_a_file_is_not_replaced_by_accident(
    gateway: RunningGateway, some_feedback: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine"
    file.write_text("precious")
    result = run("feedback", "download", "-f", str(file), "--url", gateway.url)
    assert result.exit_code == 1
    assert f"{file} exists" in result.stderr
    assert file.read_text() == "precious"
    assert run("feedback", "download", "-f", str(file), "--overwrite", "--url", gateway.url).exit_code == 0
    assert file.read_bytes() == exported(gateway, "feedback")
    nowhere = run("feedback", "download", "-f", str(tmp_path / "no" / "file"), "--url", gateway.url)
    assert nowhere.stderr == f"gateway: cannot write {tmp_path}/no/file: No such file or directory\n"


def test_exchanges_and_examples_are_downloaded_likewise(
    gateway: RunningGateway, some_feedback: list[str], tmp_path: Path
) -> None:
    exchanges = run("export", "exchanges", "--trace-id", "chat", "--url", gateway.url)
    [line] = [jsonio.loads(line) for line in exchanges.stdout.splitlines()]
    assert [item["id"] for item in line["feedback_items"]] == [*some_feedback[:3], some_feedback[-1]]
    assert line["tags"] == ["beta"]
    examples = run("export", "finetuning", "--min-score", "9", "--url", gateway.url)
    assert jsonio.loads(examples.stdout) == {
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "good day"},
        ]
    }
    file = tmp_path / "pairs.jsonl"
    run("export", "finetuning", "--format", "dpo", "-f", str(file), "--url", gateway.url)
    [pair] = [jsonio.loads(line) for line in file.read_text().splitlines()]
    assert pair.keys() == {"input", "preferred_output", "non_preferred_output"}


def test_a_refusal_leaves_no_file(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "none"
    result = run("feedback", "download", "-f", str(file), "--after", "nobody", "--url", gateway.url)
    assert result.exit_code == 1
    assert "'nobody' is not in this list" in result.stderr
    assert not file.exists()


# --- downloads that do not come to their end ---

LINES = [jsonio.dumps({"id": f"f-{number}", "text": "ä" * number}) + b"\n" for number in range(20)]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"


class Breaking:
    """A server that sends `before` as one chunk, waits until it is told, sends `after` and hangs up."""

    def __init__(self, before: bytes, after: bytes = b"") -> None:
        self.before = before
        self.after = after
        self.sent = threading.Event()
        self.go_on = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Breaking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(HEAD + b"%x\r\n%b\r\n" % (len(self.before), self.before))
            self.sent.set()
            self.go_on.wait(20)
            connection.sendall(self.after)


@pytest.mark.parametrize("cut", [0, 5, 40, 200])
def test_a_download_that_breaks_off_leaves_whole_lines_and_says_how_to_go_on(
    tmp_path: Path, cut: int
) -> None:
    whole = b"".join(LINES)
    file = tmp_path / "file"
    with Breaking(whole[:cut] or b"\n"[:0] or whole[:1]) as server:
        server.go_on.set()
        result = run(
            "feedback", "download", "-f", str(file), "--limit", "9", "--user", "it's", "--url", server.url
        )
    kept = file.read_bytes()
    assert result.exit_code == 1
    assert kept == whole[: whole[:cut].rfind(b"\n") + 1]
    count = kept.count(b"\n")
    said = "1 line" if count == 1 else f"{count} lines"
    first, second = result.stderr.splitlines()
    assert first == f"gateway: cut off after {said}: the connection broke"
    rest = shlex.split(second.removeprefix("gateway: go on with: "))
    where = ["--after", f"f-{count - 1}"] if count else ["--overwrite"]
    assert rest == [
        "gateway",
        "feedback",
        "download",
        "--file",
        str(file),
        "--user",
        "it's",
        "--url",
        server.url,
        *where,
        "--limit",
        str(9 - count),
    ]


def test_ctrl_c_leaves_whole_lines_and_says_how_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with Breaking(b"".join(LINES)[:-3]) as server:
        command = [
            sys.executable,
            "-m",
            "gateway",
            "feedback",
            "download",
            "-f",
            str(file),
            "--url",
            server.url,
        ]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=clean_environment({"PYTHONPATH": str(REPOSITORY)}),
            stderr=subprocess.PIPE,
        )
        assert server.sent.wait(20)
        deadline = time.monotonic() + 20
        while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert file.read_bytes() == b"".join(LINES[:-1])
    assert errors.decode().splitlines() == [
        "gateway: stopped after 19 lines",
        f"gateway: go on with: gateway feedback download --file {file} --url {server.url} --after f-18",
    ]


def at_a_terminal(arguments: list[str], *, terminal: str) -> tuple[int, str]:
    """Run `gateway` with a terminal as its `stdout` or `stderr`; the exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, terminal: theirs}
    environment = clean_environment({"PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "100"})
    process = subprocess.Popen([sys.executable, "-m", "gateway", *arguments], env=environment, **streams)
    os.close(theirs)
    shown = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(ours)
    return process.wait(20), shown.decode()


def test_a_terminal_shows_how_far_a_download_is(tmp_path: Path) -> None:
    with Breaking(b"".join(LINES), b"0\r\n\r\n") as server:
        threading.Timer(1.0, server.go_on.set).start()
        arguments = ["feedback", "download", "-f", str(tmp_path / "file"), "--url", server.url]
        code, shown = at_a_terminal(arguments, terminal="stderr")
    assert code == 0
    assert shown.count("20 lines") >= 2, "while it runs, and at the end"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_lines_cannot_steer_the_terminal_they_are_printed_on(form: str) -> None:
    line = (
        b'id,text\r\nf-1,"\x7f\xe2\x80\xae\x1b[31m"\r\n'
        if form == "csv"
        else b'{"id":"f-1","a":"\x7f\xe2\x80\xae"}\n'
    )
    with Breaking(line, b"0\r\n\r\n") as server:
        server.go_on.set()
        code, shown = at_a_terminal(
            ["feedback", "download", "--format", form, "--url", server.url], terminal="stdout"
        )
    assert code == 0
    assert "f-1" in shown
    assert "202e" in shown
    assert all(char.isprintable() or char in "\r\n" for char in shown)


@pytest.mark.parametrize("body", [b"<html>\n", b'{"no": "id"}\n', b"[]\n"])
def test_lines_that_no_gateway_writes_are_refused(body: bytes) -> None:
    with Breaking(body) as server:
        server.go_on.set()
        result = run("feedback", "download", "--url", server.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "gateway: a line has no id, as no gateway writes it; check --url\n"


def test_something_else_there_is_no_download(canned: CannedGateway) -> None:
    canned.answer(b"<html>")
    result = run("export", "exchanges", "--url", canned.url)
    assert result.exit_code == 1
    assert result.stderr == f"gateway: {canned.url} answered, but not as a gateway does; check --url\n"


def cut_at(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    for start, end in itertools.pairwise(edges):
        yield data[start:end]


PLACES = st.lists(st.integers(0, 10**6), max_size=8)


@given(texts=st.lists(st.text(), max_size=8), places=PLACES)
def test_a_table_is_the_same_records_however_it_arrives(texts: list[str], places: list[int]) -> None:
    rows = [csv_line(["id", "text"]), *(csv_line([f"f-{at}", text]) for at, text in enumerate(texts))]
    records = Table(has_header=True)
    found = [record for piece in cut_at(b"".join(rows), places) for record in records.feed(piece)]
    assert [record.data for record in found] == rows
    assert [record.id for record in found] == [None, *(f"f-{at}" for at in range(len(texts)))]


@given(texts=st.lists(st.text(), max_size=8), places=PLACES, strips=st.booleans())
def test_json_lines_are_the_same_records_however_they_arrive(
    texts: list[str], places: list[int], strips: bool
) -> None:
    rows = [jsonio.dumps({"id": f"f-{at}", "text": text}) + b"\n" for at, text in enumerate(texts)]
    records = JsonLines(strips_ids=strips)
    found = [record for piece in cut_at(b"".join(rows), places) for record in records.feed(piece)]
    bare = [jsonio.dumps({"text": text}) + b"\n" for text in texts]
    assert [record.data for record in found] == (bare if strips else rows)
    assert [record.id for record in found] == [f"f-{at}" for at in range(len(texts))]
