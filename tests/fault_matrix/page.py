"""docs/faults.md: the rows of the matrix as a page for people. Its tables are made from the rows.

`python -m tests.fault_matrix.page --write docs/faults.md` writes them again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fault_matrix.client_faults import CLIENT_FAULTS, ClientFault
from tests.fault_matrix.upstream_faults import FAULTS, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BEGIN = "<!-- the tables are made from tests/fault_matrix: python -m tests.fault_matrix.page -->"
END = "<!-- end of the tables -->"

UPSTREAM_COLUMNS = (
    "the upstream …",
    "the client sees",
    "tries, `retry: {attempts: 2}`",
    "tries, `fallback`",
    "row",
)
CLIENT_COLUMNS = ("the client …", "it sees", "the upstream sees", "row")


def tables() -> str:
    """All tables, each under its heading."""
    parts = [*_sections(FAULTS, UPSTREAM_COLUMNS), *_sections(CLIENT_FAULTS, CLIENT_COLUMNS)]
    return "\n\n".join(parts)


def with_tables(page: str) -> str:
    """The page with its tables as they are now. Raises ValueError for a page without the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _sections(
    faults: Mapping[str, Sequence[Fault] | Sequence[ClientFault]], columns: Sequence[str]
) -> Iterator[str]:
    for heading, rows in faults.items():
        lines = [_line(columns), "|" + "---|" * len(columns)]
        notes = []
        for row in rows:
            cells = _upstream_cells(row) if isinstance(row, Fault) else _client_cells(row)
            lines.append(_line(cells))
            if row.note:
                notes.append(f"- *{row.does}*: {row.note}")
        yield "\n".join([f"## {heading}", "", *lines, *(["", *notes] if notes else [])])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _upstream_cells(row: Fault) -> Sequence[str]:
    tries = [str(row.attempts(plan)) for plan in ("retry", "fallback")]
    return row.does, _seen(row), *tries, _row(row.status, row.code) + _over_httpx(row)


def _over_httpx(row: Fault) -> str:
    return f"; over httpx {_row(*row.over_httpx)}" if row.over_httpx else ""


def _seen(row: Fault) -> str:
    if row.is_ours:
        return _row(row.status, row.code)
    if row.ends == "whole":
        return f"{row.status}, the answer as it came"
    notice = f"an `error` event with `{row.code}`, " if row.ends == "error event" else ""
    return f"{row.status}, what came, {notice}the connection cut"


def _client_cells(row: ClientFault) -> Sequence[str]:
    upstream = {None: "a request, or none", 0: "nothing", 1: "a request", 2: "two requests"}[row.attempts]
    return row.does, row.sees, upstream, "none" if row.status is None else _row(row.status, row.code)


def _row(status: int, code: str | None) -> str:
    return f"{status} `{code}`" if code else str(status)


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case []:
            print(tables())
        case ["--write", path]:
            page = Path(path)
            page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
        case _:
            print("usage: python -m tests.fault_matrix.page [--write docs/faults.md]", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
