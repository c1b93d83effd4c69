"""How much memory a process holds, now and at most."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.process import Process


def resident_mib(gateway: Process) -> float:
    """What the kernel says the process holds in memory."""
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the gateway is gone")


class PeakMemory:
    """The most memory seen, looking a hundred times a second."""

    def __init__(self, gateway: Process) -> None:
        self.gateway = gateway
        self.mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.mib = max(self.mib, resident_mib(self.gateway))
