"""What a process and all its children have used, from /proc. Linux only."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += tree(int(child))
    return pids


def cpu_s(pid: int) -> float:
    """User and system seconds of the tree: all threads, and children that have ended and were waited for."""
    return sum(_ticks(member) for member in tree(pid)) / TICKS_PER_S


def resident_mib(pid: int) -> float:
    """Resident memory of the tree. Pages that processes share are counted once a process."""
    return sum(_resident_kib(member) for member in tree(pid)) / 1024


def _ticks(pid: int) -> int:
    # The command's name, in brackets, may hold spaces: fields are counted from behind it (proc(5), stat).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[index]) for index in (11, 12, 13, 14))


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
