"""Which of an upstream's API keys the next attempt uses. Numbers only: the keys themselves are not here."""

from __future__ import annotations


class KeyRotation:
    """Keys 0 to `count` - 1 in turn; one that was told to wait rests alone. The clock is handed in."""

    __slots__ = ("_next", "_until_s")

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("there is no key to rotate")
        self._until_s = [0.0] * count
        self._next = 0

    def take(self, now_s: float) -> int:
        """The next key that does not rest; where all do, the one whose rest ends first."""
        count = len(self._until_s)
        for step in range(count):
            index = (self._next + step) % count
            if self._until_s[index] <= now_s:
                self._next = (index + 1) % count
                return index
        return min(range(count), key=self._until_s.__getitem__)

    def rest(self, index: int, until_s: float) -> None:
        """Leave a key alone until then; a longer rest it has already stays."""
        self._until_s[index] = max(self._until_s[index], until_s)

    def all_rest(self, now_s: float) -> bool:
        return all(until_s > now_s for until_s in self._until_s)

    def rest_s(self, now_s: float) -> float:
        """Seconds until one of them does not rest."""
        return max(0.0, min(self._until_s) - now_s)

    def resting(self, now_s: float) -> tuple[int, ...]:
        """The keys that rest now."""
        return tuple(index for index, until_s in enumerate(self._until_s) if until_s > now_s)
