"""Clients that keep asking, each in a thread, and remember what they received in full."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tests.harness.process import Process


@dataclass
class Traffic:
    """Chat requests from `clients` threads, every third streamed, until the block ends or the server does.

    `received` holds the trace ids of answers that arrived whole: the body to its end or, of a stream, its
    last event. `feedback` holds the ids of feedback that was answered with 200, `refused` all other statuses.
    """

    server: Process
    clients: int = 8
    gives_feedback: bool = False
    limit: int | None = None
    """Requests in all; None for no limit."""
    received: list[str] = field(default_factory=list)
    feedback: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.join()

    def join(self, *, within_s: float = 120.0) -> None:
        """Wait until every client has stopped: at the limit, or when the server is gone."""
        for thread in self._threads:
            thread.join(within_s)
            assert not thread.is_alive(), "a client is still waiting for its answer"

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            for number in self._numbers:
                if self._stopping.is_set() or (self.limit is not None and number >= self.limit):
                    return
                self._ask(connection, f"traffic-{self.server.pid}-{number}", stream=number % 3 == 0)
                if self.gives_feedback and number % 4 == 0:
                    self._give(connection, f"traffic-{self.server.pid}-{number}")
        except (OSError, http.client.HTTPException, ValueError):
            return  # the server is gone
        finally:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, trace: str, *, stream: bool) -> None:
        body = json.dumps(
            {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        )
        headers = {"content-type": "application/json", "x-trace-id": trace}
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            self.refused.append(answer.status)
            answer.read()
            return
        if stream:
            self._read_events(answer, trace)
        answer.read()
        if not stream:
            self.received.append(trace)

    def _read_events(self, answer: http.client.HTTPResponse, trace: str) -> None:
        """A client of a stream is content with the last event; the connection's own end comes later."""
        for line in answer:
            if line == b"data: [DONE]\n":
                self.received.append(trace)
                return

    def _give(self, connection: http.client.HTTPConnection, trace: str) -> None:
        body = json.dumps({"trace_id": trace, "value": 1})
        connection.request("POST", "/v1/feedback", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        data = json.loads(answer.read())
        if answer.status == 200:
            self.feedback += data["feedback_ids"]
        else:
            self.refused.append(answer.status)
