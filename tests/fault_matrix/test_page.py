"""docs/faults.md says what the matrix proves, no more and no less."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import errors
from tests.fault_matrix.client_faults import CLIENT_FAULTS
from tests.fault_matrix.page import END, with_tables
from tests.fault_matrix.upstream_faults import FAULTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
CODES = {
    code
    for rows in [*FAULTS.values(), *CLIENT_FAULTS.values()]
    for row in rows
    for code in (row.code, (getattr(row, "over_httpx", None) or (0, None))[1])
    if code
}


def test_the_page_has_the_rows_of_the_matrix() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "run: python -m tests.fault_matrix.page --write docs/faults.md"


def test_every_row_has_a_name_of_its_own() -> None:
    for sections in (FAULTS, CLIENT_FAULTS):
        names = [row.does for rows in sections.values() for row in rows]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["UpstreamUnreachable", "UpstreamBroken", "UpstreamAborted", "ClientGone"])
def test_every_way_to_fail_has_a_row(name: str) -> None:
    assert getattr(errors, name).code in CODES


@pytest.mark.parametrize("limit", ["connect", "first_byte", "idle", "total"])
def test_every_limit_has_a_row(limit: str) -> None:
    assert f"upstream_{limit}_timeout" in CODES


def test_every_code_is_explained() -> None:
    explained = PAGE.read_text(encoding="utf-8").rpartition(END)[2]
    for code in CODES:
        assert f"| `{code}` |" in explained, f"{code} is not in the list of codes"
