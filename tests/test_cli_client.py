"""The commands that talk to a running gateway: what they ask, what they print, how they fail."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway import jsonio
from gateway.cli import root
from gateway.cli.printable import json_text, printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.harness import RunningGateway

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b\u202etxt.exe\r\n"


@dataclass
class Asked:
    """A request that reached the server."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any


@dataclass
class CannedGateway:
    """A real HTTP server that answers with what the test put into `answers`, in turn; the last one stays."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def answer(self, data: Any, status: int = 200) -> None:
        self.answers.append((status, data if isinstance(data, bytes) else jsonio.dumps(data)))


@pytest.fixture
def canned() -> Iterator[CannedGateway]:
    canned = CannedGateway()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            canned.asked.append(
                Asked(
                    self.command,
                    parts.path,
                    parse_qsl(parts.query, keep_blank_values=True),
                    {name.lower(): value for name, value in self.headers.items()},
                    jsonio.loads(body) if body else None,
                )
            )
            status, answer = canned.answers[0] if len(canned.answers) == 1 else canned.answers.pop(0)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    canned.url = f"http://127.0.0.1:{server.server_port}"
    yield canned
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    clean: dict[str, str | None] = {"GATEWAY_URL": None, "COLUMNS": "220", "TZ": "UTC", **(env or {})}
    return CliRunner().invoke(root.gateway, list(arguments), prog_name="gateway", env=clean)


def page(*rows: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    ids = [row.get("id") for row in rows] or [None]
    return {
        "object": "list", "data": list(rows), "first_id": ids[0], "last_id": ids[-1], "has_more": has_more,
    }  # fmt: skip


SUMMARY = {
    "count": 3,
    "pairs": [{"value": -10, "weight": 0.5, "count": 1}, {"value": 5, "weight": 1.0, "count": 2}],
    "sum_weight": 2.5,
    "weighted_mean": 2.0,
    "mean_weighted_value": 1.6666,
}
TRACE = {
    "object": "trace",
    "id": "t-1",
    "trace_id": "t-1",
    "first_at": "2026-01-31T12:00:00.000Z",
    "last_at": "2026-01-31T12:00:05.250Z",
    "exchange_count": 4,
    "error_count": 1,
    "models": ["gpt-5-mini", "gpt-5"],
    "tokens": {"prompt": 120, "completion": 34},
    "cost_usd": 0.00123,
    "feedback": SUMMARY,
}
FEEDBACK = {
    "object": "feedback",
    "id": "f-1",
    "trace_id": "t-1",
    "value": -10,
    "weight": 0.5,
    "metadata": {"_user": "ada", "text": "meh"},
    "created_at": "2026-01-31T12:00:00.000Z",
    "updated_at": None,
    "matched": True,
}
LOG = {
    "object": "log",
    "id": "l-1",
    "trace_id": "t-1",
    "started_at": "2026-01-31T12:00:00.000Z",
    "latency_ms": 1234.4,
    "first_byte_ms": 200.0,
    "method": "POST",
    "path": "/v1/chat/completions",
    "upstream": "openai",
    "requested_model": "gpt-5",
    "answering_model": "gpt-5-2026",
    "streamed": True,
    "status": 200,
    "error": None,
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 7, "completion_tokens": 9, "cached_tokens": None, "reasoning_tokens": None},
    "cost_usd": 0.02,
    "metadata": {"_user": "ada"},
    "feedback": SUMMARY,
}
LOG_DETAIL = {
    **LOG,
    "request": {"body": {"model": "gpt-5"}, "encoding": "json", "truncated": False, "bytes": 17},
    "response": {
        "body": 'data: {"half\n', "tail": 'end\x1b"}', "encoding": "text", "truncated": True, "bytes": 5000,
    },
    "message": {"choices": []},
    "feedback_items": [FEEDBACK],
}  # fmt: skip
SAVED = {"status": "success", "message": "Feedback successfully saved", "feedback_ids": ["f-1"]}


def logs(numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [{**LOG, "id": f"l-{number}"} for number in numbers]


class TestTraces:
    def test_list_shows_feedback_count_pairs_and_mean(self, canned: CannedGateway) -> None:
        canned.answer(page(TRACE))
        result = run("traces", "list", "--url", canned.url)
        assert result.exit_code == 0
        assert "Feedback" in result.output
        [line] = [line for line in result.output.splitlines() if "t-1" in line]
        for text in (
            "2026-01-31",
            "4",
            "1",
            "gpt-5-mini",
            "120 + 34",
            "$0.001230",
            " 3 ",
            "-10:0.5  5:1.0 \N{MULTIPLICATION SIGN}2",
            "2.00",
        ):
            assert text in line

    def test_list_asks_with_every_filter(self, canned: CannedGateway) -> None:
        canned.answer(page())
        result = run(
            "traces", "list", "--url", canned.url, "--trace-id", "a b", "--user", "ada",
            "--organisation", "org", "--prompt", "p", "--environment", "prod",
            "--metadata", "team=a=b", "--metadata", "x y=",
            "--model", "gpt-5", "--status", "200", "--min-value", "-5", "--max-value", "10", "--has-feedback",
            "--min-weighted-mean", "-1.5", "--max-weighted-mean", "9", "--since", "2026-01-01", "--until",
            "2026-02-01", "--limit", "5", "--after", "t-0",
        )  # fmt: skip
        assert result.output == "no traces\n"
        assert canned.asked[0].path == "/v1/traces"
        assert sorted(canned.asked[0].query) == sorted(
            [
                ("trace_id", "a b"), ("user", "ada"), ("organisation", "org"), ("prompt", "p"),
                ("environment", "prod"),
                ("metadata[team]", "a=b"), ("metadata[x y]", ""), ("model", "gpt-5"), ("status", "200"),
                ("min_value", "-5"), ("max_value", "10"), ("has_feedback", "true"),
                ("min_weighted_mean", "-1.5"),
                ("max_weighted_mean", "9.0"), ("since", "2026-01-01"), ("until", "2026-02-01"),
                ("limit", "5"),
                ("after", "t-0"),
            ]
        )  # fmt: skip

    def test_list_without_filters_asks_for_nothing_special(self, canned: CannedGateway) -> None:
        canned.answer(page())
        run("traces", "list", "--url", canned.url)
        run("traces", "list", "--url", canned.url, "--no-feedback")
        assert [asked.query for asked in canned.asked] == [[], [("has_feedback", "false")]]

    def test_list_says_how_to_go_on(self, canned: CannedGateway) -> None:
        canned.answer(page(TRACE, has_more=True))
        result = run("traces", "list", "--url", canned.url)
        assert result.stderr == "There are more: add --after t-1\n"

    def test_list_prints_the_answer_for_programs(self, canned: CannedGateway) -> None:
        canned.answer(page(TRACE, has_more=True))
        result = run("traces", "list", "--json", "--url", canned.url)
        assert jsonio.loads(result.stdout) == page(TRACE, has_more=True)

    def test_a_trace_without_anything_has_dashes(self, canned: CannedGateway) -> None:
        empty = {"count": 0, "pairs": [], "sum_weight": 0, "weighted_mean": None, "mean_weighted_value": None}
        canned.answer(page({**TRACE, "models": [], "cost_usd": None, "feedback": empty}))
        result = run("traces", "list", "--url", canned.url)
        [line] = [line for line in result.output.splitlines() if "t-1" in line]
        assert line.split()[-3:] == ["0", "-", "-"]

    def test_a_narrow_terminal_loses_nothing(self, canned: CannedGateway) -> None:
        canned.answer(page({**TRACE, "trace_id": "0123456789" * 10}))
        result = run("traces", "list", "--url", canned.url, env={"COLUMNS": "80"})
        assert max(map(len, result.output.splitlines())) <= 80
        words = result.output.split()
        for heading in (
            "Trace",
            "Models",
            "Requests",
            "Errors",
            "Tokens",
            "Cost",
            "Feedback",
            "Count",
            "Weighted",
        ):
            assert heading in words
        first_cells = [line.split()[0] for line in result.output.splitlines() if line.strip()]
        assert "0123456789" * 10 in "".join(first_cells)
        assert {"$0.001230", "-10:0.5", "2.00"} <= set(words)

    @pytest.mark.parametrize("trace_id", [".", "..", "...", "a.b", "../logs"])
    def test_show_asks_for_a_trace_id_of_dots_as_it_is(self, gateway: RunningGateway, trace_id: str) -> None:
        feedback = {"trace_id": trace_id, "value": 1}
        httpx.post(f"{gateway.url}/v1/feedback", json=feedback).raise_for_status()
        shown = run("traces", "show", trace_id, "--json", "--url", gateway.url)
        assert shown.exit_code == 0, shown.output
        assert jsonio.loads(shown.stdout)["trace_id"] == trace_id

    def test_show_asks_for_any_trace_id(self, canned: CannedGateway) -> None:
        canned.answer({**TRACE, "exchanges": [], "feedback_items": [FEEDBACK]})
        result = run("traces", "show", "a/b?c#d%", "--url", canned.url)
        assert canned.asked[0].path == "/v1/traces/a%2Fb%3Fc%23d%25"
        assert "Weighted mean" in result.output
        assert "f-1" in result.output

    def test_what_models_and_users_write_cannot_steer_the_terminal(self, canned: CannedGateway) -> None:
        trace = {**TRACE, "trace_id": ESCAPES, "models": [ESCAPES, "[bold]x[/bold]"]}
        for answer in (
            page(trace),
            {**trace, "feedback_items": [{**FEEDBACK, "metadata": {ESCAPES: ESCAPES}}]},
        ):
            canned.answers.clear()
            canned.answer(answer)
            for arguments in (["list"] if answer is not None and "data" in answer else ["show", "x"],):
                for more in ([], ["--json"]):
                    result = run("traces", *arguments, *more, "--url", canned.url)
                    assert result.exit_code == 0
                    assert all(char.isprintable() or char == "\n" for char in result.output)
                    assert "[bold]x[/bold]" in result.output


class TestFeedback:
    def test_create_sends_what_was_said(self, canned: CannedGateway) -> None:
        canned.answer(SAVED)
        result = run(
            "feedback", "create", "--trace-id", "t-1", "--value", "-5", "--weight", "0.5", "--user", "ada",
            "--environment", "prod", "--metadata", "text=not good", "--idempotency-key", "once",
            "--url", canned.url,
        )  # fmt: skip
        assert result.output == "Feedback successfully saved\nf-1\n"
        [asked] = canned.asked
        assert (asked.method, asked.path) == ("POST", "/v1/feedback")
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["idempotency-key"] == "once"
        assert asked.body == {
            "trace_id": "t-1",
            "value": -5,
            "weight": 0.5,
            "metadata": {"_user": "ada", "_environment": "prod", "text": "not good"},
        }

    def test_create_leaves_out_what_was_not_said(self, canned: CannedGateway) -> None:
        canned.answer(SAVED)
        run("feedback", "create", "--trace-id", "t", "--value=-10", "--url", canned.url)
        assert canned.asked[0].body == {"trace_id": "t", "value": -10}
        assert "idempotency-key" not in canned.asked[0].headers

    def test_create_prints_the_answer_for_programs(self, canned: CannedGateway) -> None:
        canned.answer(SAVED)
        result = run("feedback", "create", "--trace-id", "t", "--value", "0", "--json", "--url", canned.url)
        assert jsonio.loads(result.stdout) == SAVED

    @pytest.mark.parametrize(
        "options", [["--value", "5"], ["--trace-id", "t"], ["--trace-id", "t", "--value", "4.5"]]
    )
    def test_create_needs_a_trace_and_a_whole_value(self, options: list[str]) -> None:
        assert run("feedback", "create", *options).exit_code == 2

    @pytest.mark.parametrize("metadata", ["text", "=x", ""])
    def test_metadata_is_key_and_value(self, metadata: str, canned: CannedGateway) -> None:
        result = run(
            "feedback",
            "create",
            "--trace-id",
            "t",
            "--value",
            "1",
            "--metadata",
            metadata,
            "--url",
            canned.url,
        )
        assert result.exit_code == 2
        assert "is not KEY=VALUE, such as team=search" in result.stderr
        assert canned.asked == []

    def test_update_sends_what_was_said(self, canned: CannedGateway) -> None:
        canned.answer({**SAVED, "message": "Feedback successfully updated"})
        result = run("feedback", "update", "f-1", "--value", "-7", "--metadata", "a=b", "--url", canned.url)
        assert result.output == "Feedback successfully updated\nf-1\n"
        [asked] = canned.asked
        assert (asked.method, asked.path, asked.body) == (
            "PUT", "/v1/feedback/f-1", {"value": -7, "metadata": {"a": "b"}},
        )  # fmt: skip

    def test_list_shows_values_weights_and_metadata(self, canned: CannedGateway) -> None:
        canned.answer(page(FEEDBACK, {**FEEDBACK, "id": "f-2", "metadata": None, "matched": False}))
        result = run("feedback", "list", "--min-value", "-10", "--user", "ada", "--url", canned.url)
        assert sorted(canned.asked[0].query) == [("min_value", "-10"), ("user", "ada")]
        [first] = [line for line in result.output.splitlines() if "f-1" in line]
        [second] = [line for line in result.output.splitlines() if "f-2" in line]
        assert '{"_user":"ada","text":"meh"}' in first
        assert first.split()[-1] == "yes"
        assert second.split()[-3:] == ["-", "not", "yet"]

    def test_get_shows_one(self, canned: CannedGateway) -> None:
        canned.answer(FEEDBACK)
        result = run("feedback", "get", "f-1", "--url", canned.url)
        assert canned.asked[0].path == "/v1/feedback/f-1"
        assert "-10" in result.output
        assert "meh" in result.output

    def test_delete_deletes_one(self, canned: CannedGateway) -> None:
        canned.answer({"object": "feedback.deleted", "id": "f-1", "deleted": True})
        result = run("feedback", "delete", "f-1", "--url", canned.url)
        assert (canned.asked[0].method, canned.asked[0].path) == ("DELETE", "/v1/feedback/f-1")
        assert result.output == "deleted f-1\n"


class TestLogs:
    def test_list_asks_with_every_filter(self, canned: CannedGateway) -> None:
        canned.answer(page())
        result = run(
            "logs", "list", "--trace-id", "t", "--model", "m", "--upstream", "u", "--status", "error",
            "--error-kind", "client_closed", "--not-streamed", "--has-feedback", "--target", "spare",
            "--cache-status", "miss", "--retried", "--url", canned.url,
        )  # fmt: skip
        assert result.output == "no logs\n"
        assert sorted(canned.asked[0].query) == [
            ("cache_status", "miss"), ("error_kind", "client_closed"), ("has_feedback", "true"),
            ("model", "m"), ("retried", "true"), ("status", "error"), ("streamed", "false"),
            ("target", "spare"), ("trace_id", "t"), ("upstream", "u"),
        ]  # fmt: skip

    def test_list_shows_one_line_each(self, canned: CannedGateway) -> None:
        canned.answer(page(LOG))
        [line] = [
            line for line in run("logs", "list", "--url", canned.url).output.splitlines() if "l-1" in line
        ]
        for text in ("t-1", "/v1/chat/completions", "200", "1.234", "7 + 9", "$0.0200", "-10:0.5"):
            assert text in line

    def test_show_prints_both_bodies_and_the_feedback(self, canned: CannedGateway) -> None:
        canned.answer(LOG_DETAIL)
        result = run("logs", "show", "l-1", "--url", canned.url)
        assert result.exit_code == 0
        assert canned.asked[0].path == "/v1/logs/l-1"
        assert '"model": "gpt-5"' in result.output
        assert 'data: {"half\n\n[…]\nend\\x1b"}' in result.output
        assert "Answer, put together from the stream" in result.output
        assert "f-1" in result.output

    def test_show_lists_the_attempts_where_there_were_several(self, canned: CannedGateway) -> None:
        refused = {
            "number": 1, "target": "first", "upstream": "openai", "model": None, "status": 429,
            "error_kind": None, "started_ms": 1.0, "latency_ms": 40.0, "key": 2,
        }  # fmt: skip
        answered = refused | {"number": 2, "target": "spare", "status": 200, "started_ms": 141.0, "key": None}
        log = {**LOG_DETAIL, "target": "spare", "attempt_count": 2, "attempts": [refused, answered]}
        canned.answer(log)
        output = run("logs", "show", "l-1", "--url", canned.url).output
        table = [line.split() for line in output.splitlines()]
        assert ["1", "first", "openai", "-", "2", "429", "-", "0.001", "0.040"] in table
        assert ["2", "spare", "openai", "-", "-", "200", "-", "0.100", "0.040"] in table

    def test_tail_says_how_an_answer_came_where_not_at_once(self, canned: CannedGateway) -> None:
        spare = {**LOG, "target": "spare", "attempt_count": 2}
        canned.answer(page(spare, {**LOG, "cache_status": "hit"}, LOG))
        plain, cached, retried = run("logs", "tail", "--once", "--url", canned.url).output.splitlines()
        assert "  2 attempts, answered by spare  " in retried
        assert "  cache hit  " in cached
        assert "attempts" not in plain

    @pytest.mark.parametrize(
        ("side", "said"),
        [
            (None, "Response body: not kept"),
            ({"body": None, "encoding": None, "bytes": 5}, "Response body: not kept"),
            (
                {"body": "AAAA", "encoding": "base64", "bytes": 3},
                "Response body, 3 bytes, not text; --json shows it",
            ),
            ({"body": "hello", "encoding": "text", "bytes": 5}, "Response body, 5 bytes\nhello"),
        ],
    )
    def test_show_says_what_became_of_a_body(self, canned: CannedGateway, side: Any, said: str) -> None:
        canned.answer({**LOG_DETAIL, "response": side})
        assert said in run("logs", "show", "l-1", "--url", canned.url).output

    def test_what_models_and_users_write_cannot_steer_the_terminal(self, canned: CannedGateway) -> None:
        text = {"body": ESCAPES, "tail": ESCAPES, "encoding": "text", "truncated": True, "bytes": 1}
        log = {
            **LOG_DETAIL, "answering_model": ESCAPES, "metadata": {ESCAPES: ESCAPES},
            "message": {"a": ESCAPES}, "target": ESCAPES, "attempt_count": 2,
            "attempts": [{"target": ESCAPES, "upstream": ESCAPES, "model": ESCAPES}] * 2,
            "error": {"kind": ESCAPES, "message": ESCAPES}, "path": ESCAPES, "request": text,
            "response": {"body": ESCAPES, "encoding": "json", "bytes": 1},
        }  # fmt: skip
        for answer, command in ((page(log), ["list"]), (page(log), ["tail", "--once"]), (log, ["show", "x"])):
            for more in ([], ["--json"]):
                canned.answers = []
                canned.answer(answer)
                result = run("logs", *command, *more, "--url", canned.url)
                assert result.exit_code == 0, result.output
                assert all(char.isprintable() or char == "\n" for char in result.output)
                assert "red" in result.output

    def test_tail_once_prints_the_last_ten_oldest_first(self, canned: CannedGateway) -> None:
        canned.answer(page(*logs(range(30, 0, -1))))
        result = run("logs", "tail", "--once", "--url", canned.url)
        assert [line.split("log=")[1] for line in result.output.splitlines()] == [
            f"l-{n}" for n in range(21, 31)
        ]

    def test_tail_prints_each_new_one_once_also_one_that_took_long(
        self, canned: CannedGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        canned.answer(page(*logs([5, 4, 2])))
        canned.answer(page(*logs([5, 4, 2])))
        canned.answer(page(*logs([7, 6]), has_more=True))
        canned.answer(page(*logs([5, 4, 3, 2])))
        rounds = iter([None, None])

        def sleep(_: float) -> None:
            if next(rounds, "over") == "over":
                raise KeyboardInterrupt

        monkeypatch.setattr("time.sleep", sleep)
        result = run("logs", "tail", "--json", "--user", "ada", "--url", canned.url)
        assert result.exit_code == 0
        printed = [jsonio.loads(line)["id"] for line in result.output.splitlines()]
        assert printed == ["l-2", "l-4", "l-5", "l-3", "l-6", "l-7"]
        assert all(("user", "ada") in asked.query for asked in canned.asked)
        assert ("after", "l-6") in canned.asked[3].query


COMMANDS = [
    ["traces", "list"],
    ["traces", "show", "t"],
    ["feedback", "list"],
    ["feedback", "get", "f"],
    ["feedback", "create", "--trace-id", "t", "--value", "1"],
    ["feedback", "update", "f", "--value", "1"],
    ["feedback", "delete", "f"],
    ["logs", "list"],
    ["logs", "show", "x"],
    ["logs", "tail", "--once"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command[:2]) for command in COMMANDS])
class TestFailures:
    def test_the_gateway_s_error_is_one_line(self, canned: CannedGateway, command: list[str]) -> None:
        message = f"after: 'x' is not in this list {ESCAPES}"
        canned.answer({"error": {"message": message, "type": "t", "code": "c", "param": None}}, 400)
        result = run(*command, "--url", canned.url)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"gateway: {printable(message)} (HTTP 400)\n"

    def test_no_gateway_there(self, command: list[str]) -> None:
        result = run(*command, "--url", "http://127.0.0.1:9")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("gateway: cannot reach a gateway at http://127.0.0.1:9 (")
        assert "start one with `gateway serve`" in result.stderr

    @pytest.mark.parametrize(
        "url", ["http://", "http://[", "ftp://x", "http://x:99999", "\n", "", "http://\x00"]
    )
    def test_no_url(self, command: list[str], url: str) -> None:
        result = run(*command, "--url", url)
        assert result.exit_code == 1
        assert result.stderr.startswith("gateway: ")
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        ("status", "body"),
        [(200, b"<html>"), (502, b"Bad Gateway"), (200, b"[]"), (200, b"5"), (404, b"[]"), (500, b"{}"),
         (500, b'{"error": 5}'), (200, b'{"object": "list", "data": 5}'),
         (200, b'{"object": "list", "data": [5]}')],
    )  # fmt: skip
    def test_something_else_there(
        self, canned: CannedGateway, command: list[str], status: int, body: bytes
    ) -> None:
        canned.answer(body, status)
        result = run(*command, "--url", canned.url)
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith("gateway: ")
        assert len(result.stderr.splitlines()) == 1
        assert isinstance(result.exception, SystemExit)


class TestReachingTheGateway:
    def test_the_url_comes_from_the_environment(self, canned: CannedGateway) -> None:
        canned.answer(page())
        assert run("traces", "list", env={"GATEWAY_URL": canned.url}).exit_code == 0
        assert len(canned.asked) == 1

    @pytest.mark.parametrize("suffix", ["/", "/v1", "/v1/"])
    def test_the_url_an_openai_client_uses_will_do(self, canned: CannedGateway, suffix: str) -> None:
        canned.answer(page())
        run("traces", "list", "--url", canned.url + suffix)
        assert canned.asked[0].path == "/v1/traces"

    def test_the_scheme_may_be_left_out(self, canned: CannedGateway) -> None:
        canned.answer(page())
        assert run("traces", "list", "--url", canned.url.removeprefix("http://")).exit_code == 0

    def test_a_proxy_in_the_environment_is_no_way_to_this_machine(self, canned: CannedGateway) -> None:
        canned.answer(page())
        env: dict[str, str | None] = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
        assert run("traces", "list", "--url", canned.url, env=env).exit_code == 0


def test_unprintable_characters_are_spelled_out() -> None:
    assert printable("a\x1b[0m\n\t\x9b\u202e\ud800é世😀") == r"a\x1b[0m\n\t\x9b\u202e\ud800é世😀"
    assert printable_lines("a\n\tb\r\x1b") == "a\n\tb\\r\\x1b"
    assert "\x7f" not in json_text({"a\x7f": "\x1b\u202e\U000e0001é"})
    assert jsonio.loads(json_text({"a\x7f": "\x1b\u202e\U000e0001é"})) == {"a\x7f": "\x1b\u202e\U000e0001é"}
