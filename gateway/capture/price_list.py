"""The price list of genai-prices: what one exchange costs, and whether that is so much a token."""

from __future__ import annotations

from datetime import UTC, datetime

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices, TimeOfDateConstraint

from gateway.capture.answer import Usage
from gateway.capture.rate import MILLION, Rate


def calculate(usage: Usage, key: tuple[str, str | None], at_ms: int) -> PriceCalculation | None:
    """None where the list does not know the model. `key` is the model and the upstream's base URL."""
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
            prompt=_million(price, input_tokens=MILLION),
            cached=_million(price, input_tokens=MILLION, cache_read_tokens=MILLION),
            completion=_million(price, output_tokens=MILLION),
        )
    except ValueError:
        return None


def _million(price: ModelPrice, **tokens: int) -> float:
    return float(price.calc_price(PricedUsage(**tokens))["total_price"])
