"""Log lines: one format, to standard error, without anything a client or an upstream sent as a secret."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def configure(level: str) -> None:
    """Set up the process's logging. `level` is the least severe line that is shown."""
    logging.basicConfig(format=FORMAT, datefmt="%H:%M:%S", level=level.upper(), force=True)
    # uvicorn's running commentary repeats what the gateway says itself; its complaints stay.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    for chatty in ("aiosqlite", "alembic", "httpcore", "httpx", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
