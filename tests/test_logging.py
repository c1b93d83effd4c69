"""Log lines: what a level shows, and what none of them does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hpack import Decoder, Encoder

from gateway.observability.logging import configure

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-ant-not-for-the-log"
CHATTY = ("hpack.hpack", "h2", "httpcore.http2", "httpx", "aiosqlite", "alembic", "asyncio", "uvicorn.error")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_a_key_in_a_header_of_http_2_is_in_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug")
    Decoder().decode(Encoder().encode([("x-api-key", KEY), ("authorization", f"Bearer {KEY}")]))
    assert KEY not in capsys.readouterr().err


def test_debug_is_the_gateways_own_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure("debug")
    for name in CHATTY:
        logging.getLogger(name).info("commentary of %s", name)
        logging.getLogger(name).warning("complaint of %s", name)
    logging.getLogger("gateway.store.writer").debug("ours")
    lines = capsys.readouterr().err
    assert "ours" in lines
    assert "commentary" not in lines
    assert [name for name in CHATTY if f"complaint of {name}" not in lines] == []


def test_a_level_above_warning_holds_for_libraries_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure("error")
    for name in ("uvicorn.error", "gateway.app"):
        logging.getLogger(name).warning("a warning")
        logging.getLogger(name).error("an error of %s", name)
    lines = capsys.readouterr().err
    assert "a warning" not in lines
    assert lines.count("an error") == 2
