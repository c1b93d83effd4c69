"""Lines of a download as they arrive: bytes in, whole records out, each with its id.

JSON lines end with a line break; a record of a table may hold some inside quotes. Nothing is written here.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from gateway import jsonio
from gateway.cli.failures import Failure


class Record(NamedTuple):
    """As it is to be written. A table's header has no id."""

    data: bytes
    id: str | None


class Records(Protocol):
    def feed(self, data: bytes) -> list[Record]:
        """The records that are complete now; what is not stays inside. Raises Failure for what is none."""
        ...


class JsonLines:
    """With `strips_ids` the id is taken out of each line: the file's format does not know it."""

    def __init__(self, *, strips_ids: bool = False) -> None:
        self._rest = b""
        self._strips_ids = strips_ids

    def feed(self, data: bytes) -> list[Record]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [self._record(line) for line in lines]

    def _record(self, line: bytes) -> Record:
        try:
            parsed = jsonio.loads(line)
        except ValueError:
            parsed = None
        found = parsed.pop("id", None) if isinstance(parsed, dict) else None
        if not isinstance(found, str):
            raise Failure("a line has no id, as no gateway writes it; check --url")
        return Record((jsonio.dumps(parsed) if self._strips_ids else line) + b"\n", found)


class Table:
    """CSV whose first column is the id."""

    def __init__(self, *, has_header: bool) -> None:
        self._rest = b""
        self._open = b""
        self._is_header = has_header

    def feed(self, data: bytes) -> list[Record]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        records = []
        for line in lines:
            self._open += line + b"\n"
            if self._open.count(b'"') % 2 == 0:
                records.append(self._record(self._open))
                self._open = b""
        return records

    def _record(self, data: bytes) -> Record:
        is_header, self._is_header = self._is_header, False
        return Record(data, None if is_header else data.partition(b",")[0].decode("ascii", "replace"))
