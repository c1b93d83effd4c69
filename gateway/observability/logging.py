"""Log lines: one format, to standard error, without anything a client or an upstream sent as a secret."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def configure(level: str) -> None:
    """Set up the process's logging. `level` is the least severe line of the gateway's that is shown.

    Of libraries only warnings and worse are: their running commentary repeats what the gateway says itself,
    and at debug level hpack and httpcore quote every header, provider keys among them.
    """
    logging.basicConfig(format=FORMAT, datefmt="%H:%M:%S", force=True)
    shown = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(shown, logging.WARNING))
    logging.getLogger("gateway").setLevel(shown)
