"""Numbers, times and amounts in the form people read: short, aligned, and never more exact than they are."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.jsonio import iso_time

NOT_KNOWN = "\u2013"
_THOUSAND = 1_000


def number(value: float) -> str:
    """With thin spaces between thousands, such as 1 234 567."""
    return f"{value:,}".replace(",", "\u202f")


def compact(value: float) -> str:
    """At most four characters: 999, 1.2k, 35k, 1.2M."""
    amount = float(value)
    for unit in ("", "k", "M", "G"):
        if abs(amount) < _THOUSAND - (0.5 if unit else 0):
            digits = 1 if unit and abs(amount) < 9.95 else 0
            return f"{amount:.{digits}f}{unit}"
        amount /= _THOUSAND
    return f"{amount:.0f}T"


def duration(milliseconds: float | None) -> str:
    """0.4 ms, 37 ms, 1.24 s, 3 min 20 s."""
    if milliseconds is None:
        return NOT_KNOWN
    if milliseconds < 1:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 99.5:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def cost(usd: float | None) -> str:
    """In dollars, with as many digits as say something; nothing is not the same as unknown."""
    if usd is None:
        return NOT_KNOWN
    if usd == 0:
        return "$0"
    if abs(usd) < 0.000_001:
        return "<$0.000001"
    digits = 2 if abs(usd) >= 1 else 4 if abs(usd) >= 0.01 else 6
    return f"${usd:,.{digits}f}"


def size(count: int) -> str:
    """Bytes: 512 B, 1.5 KiB, 3.2 GiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def mean(value: float | None) -> str:
    """With a sign, which is no minus sign of the keyboard's, so that it aligns: +3.5, 0."""
    if value is None:
        return NOT_KNOWN
    rounded = round(value, 2)
    if rounded == 0:
        return "0"
    sign = "+" if rounded > 0 else "\u2212"
    return sign + f"{abs(rounded):.2f}".rstrip("0").rstrip(".")


def iso(time_ms: int) -> str:
    """For a machine: 2026-01-31T12:00:00.000Z."""
    return f"{iso_time(time_ms)}Z"


def clock(time_ms: int) -> str:
    """For people, in UTC; scripts turn it into local time: 2026-01-31 12:00:00."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"
