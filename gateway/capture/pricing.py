"""What an exchange cost, from the price list of genai-prices.

The library works a price out in some 200 µs; a gateway has not got them for every request. Most models have a
fixed price per token, so it is asked once per model and day and its answer reused; models with tiers or
prices by the hour are asked every time.
"""

from __future__ import annotations

from gateway.capture.answer import Usage
from gateway.capture.rate import Rate

_DAY_MS = 86_400_000
_MAX_REMEMBERED = 1024


class Prices:
    """Answers `cost_usd`; remembers what it learned about a model until the day changes."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str | None], Rate | None] = {}
        self._unpriced: set[tuple[str, str | None]] = set()
        self._day = 0

    def cost_usd(
        self, usage: Usage, *, model: str | None, provider_url: str | None, at_ms: int
    ) -> float | None:
        """None where the model is unknown or nothing was counted. `provider_url` is a base URL."""
        if not model or (usage.prompt is None and usage.completion is None):
            return None
        if at_ms // _DAY_MS != self._day or len(self._rates) > _MAX_REMEMBERED:
            self._rates.clear()
            self._unpriced.clear()
            self._day = at_ms // _DAY_MS
        key = (model, provider_url)
        if key in self._unpriced:
            return None
        rate = self._rates.get(key)
        if rate is not None:
            return rate.cost_usd(usage)
        return self._ask(usage, key, at_ms)

    def _ask(self, usage: Usage, key: tuple[str, str | None], at_ms: int) -> float | None:
        if len(self._unpriced) > _MAX_REMEMBERED:
            self._unpriced.clear()
        from gateway.capture import price_list  # noqa: PLC0415 - loads an HTTP client, too; no start waits for it

        calculation = price_list.calculate(usage, key, at_ms)
        if calculation is None:
            self._unpriced.add(key)
            return None
        rate = price_list.linear_rate(calculation)
        if rate is not None:
            self._rates[key] = rate
        return float(calculation.total_price)
