"""What an exchange cost, from the price list of genai-prices.

The library works a price out in some 200 µs; a gateway has not got them for every request. Most models have a
fixed price per token, so it is asked once per model and day and its answer reused; models with tiers or
prices by the hour are asked every time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices, TimeOfDateConstraint

from gateway.capture.answer import Usage

_MILLION = 1_000_000
_DAY_MS = 86_400_000
_MAX_REMEMBERED = 1024


class Rate(NamedTuple):
    """US dollars a million tokens. `cached` prompt tokens cost their own rate, the others `prompt`."""

    prompt: float
    cached: float
    completion: float

    def cost_usd(self, usage: Usage) -> float:
        prompt = usage.prompt or 0
        cached = min(usage.cached or 0, prompt)
        completion = usage.completion or 0
        return (
            (prompt - cached) * self.prompt + cached * self.cached + completion * self.completion
        ) / _MILLION


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
        calculation = _calculate(usage, key, at_ms)
        if calculation is None:
            self._unpriced.add(key)
            return None
        rate = linear_rate(calculation)
        if rate is not None:
            self._rates[key] = rate
        return float(calculation.total_price)


def _calculate(usage: Usage, key: tuple[str, str | None], at_ms: int) -> PriceCalculation | None:
    model, provider_url = key
    prompt = usage.prompt or 0
    priced = PricedUsage(
        input_tokens=prompt,
        cache_read_tokens=min(usage.cached or 0, prompt),
        output_tokens=usage.completion or 0,
    )
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    # A local server or a reseller is no provider the list knows; then the model's own name decides, and
    # where that tells no provider, OpenAI's list, whose dialect is spoken here.
    for where in ({"provider_api_url": provider_url}, {}, {"provider_id": "openai"}):
        try:
            return calc_price(priced, model, genai_request_timestamp=at, **where)
        except (LookupError, ValueError):
            continue
    return None


def linear_rate(calculation: PriceCalculation) -> Rate | None:
    """The rate of a price that is so much a token at any time and for any amount, else None."""
    prices = calculation.model.prices
    if not isinstance(prices, ModelPrice) and any(
        isinstance(price.constraint, TimeOfDateConstraint) for price in prices
    ):
        return None
    price = calculation.model_price
    if any(isinstance(value, TieredPrices) for value in vars(price).values()) or vars(price).get(
        "requests_kcount"
    ):
        return None
    try:
        return Rate(
            prompt=_million(price, input_tokens=_MILLION),
            cached=_million(price, input_tokens=_MILLION, cache_read_tokens=_MILLION),
            completion=_million(price, output_tokens=_MILLION),
        )
    except ValueError:
        return None


def _million(price: ModelPrice, **tokens: int) -> float:
    return float(price.calc_price(PricedUsage(**tokens))["total_price"])
