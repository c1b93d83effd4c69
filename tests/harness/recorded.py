"""Requests as a vendor's own client sent them, and sending them again byte for byte.

`tests/fixtures/<vendor>/recorded.jsonl` has one a line: what was on the wire, but for the host and the
length, and the status that the client is answered with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.harness.downstream import Answer, RawClient

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@dataclass(frozen=True)
class Recorded:
    """`headers` keep their spelling and order. `status` is what the gateway must answer."""

    sdk: str
    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int = 200

    def __str__(self) -> str:
        return f"{self.sdk} {self.method} {self.path} {self.body[:60]}"

    def replay(self, port: int, *, path: str | None = None) -> Answer:
        """Send it again on a connection of its own; `path` is for another spelling of its path."""
        with RawClient(port) as client:
            lines = [f"{name}: {value}" for name, value in self.headers.items()]
            if self.method == "GET":
                client.get(path or self.path, *lines)
            else:
                client.post(path or self.path, self.body.encode(), *lines, method=self.method)
            return client.read_answer(method=self.method)

    def with_slash(self) -> str:
        """Its path with a slash at the end."""
        path, mark, query = self.path.partition("?")
        return f"{path}/{mark}{query}"


def recorded(vendor: str) -> list[Recorded]:
    """Everything recorded of a vendor's clients, in the order of its file."""
    lines = (FIXTURES / vendor / "recorded.jsonl").read_text().splitlines()
    return [Recorded(**json.loads(line)) for line in lines]
