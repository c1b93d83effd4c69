"""Cost: what we remember of the price list gives what the price list gives."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices import Usage as PricedUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import PriceCalculation, TieredPrices
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.capture.answer import Usage
from gateway.capture.price_list import linear_rate
from gateway.capture.pricing import Prices

NOON_MS = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp() * 1000)
OPENAI = "https://api.openai.com/v1"


def every_model() -> list[tuple[str, PriceCalculation]]:
    found = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            at = datetime.fromtimestamp(NOON_MS / 1000, UTC)
            try:
                calculation = model.calc_price(
                    PricedUsage(input_tokens=1), provider, genai_request_timestamp=at
                )
            except ValueError:
                continue
            found.append((f"{provider.id}/{model.id}", calculation))
    return found


MODELS = every_model()


@settings(max_examples=25, deadline=None)
@given(prompt=st.integers(0, 10**6), cached=st.integers(0, 10**6), completion=st.integers(0, 10**6))
def test_a_remembered_rate_costs_what_the_library_says_for_every_model(
    prompt: int, cached: int, completion: int
) -> None:
    cached = min(cached, prompt)
    priced = PricedUsage(input_tokens=prompt, cache_read_tokens=cached, output_tokens=completion)
    compared = 0
    for name, calculation in MODELS:
        rate = linear_rate(calculation)
        if rate is None:
            continue
        expected = float(calculation.model_price.calc_price(priced)["total_price"])
        assert rate.cost_usd(Usage(prompt, completion, cached)) == pytest.approx(
            expected, rel=1e-9, abs=1e-15
        ), name
        compared += 1
    assert compared > len(MODELS) / 2


def test_a_price_in_tiers_is_never_remembered() -> None:
    tiered = [
        calculation
        for _, calculation in MODELS
        if any(isinstance(price, TieredPrices) for price in vars(calculation.model_price).values())
    ]
    assert tiered
    assert all(linear_rate(calculation) is None for calculation in tiered)


def test_a_known_model_has_a_cost_and_an_unknown_one_none() -> None:
    prices = Prices()
    usage = Usage(prompt=1_000_000, completion=0)
    for _ in range(2):  # the second time from memory
        assert prices.cost_usd(
            usage, model="gpt-4o-mini", provider_url=OPENAI, at_ms=NOON_MS
        ) == pytest.approx(0.15)
        assert prices.cost_usd(usage, model="my-own-model", provider_url=OPENAI, at_ms=NOON_MS) is None


def test_a_local_server_with_a_known_model_name_costs_what_the_model_costs() -> None:
    cost = Prices().cost_usd(
        Usage(1_000_000, 0), model="gpt-4o-mini", provider_url="http://127.0.0.1:9001/v1", at_ms=NOON_MS
    )
    assert cost == pytest.approx(0.15)


def test_nothing_counted_costs_nothing_known() -> None:
    prices = Prices()
    assert prices.cost_usd(Usage(), model="gpt-4o-mini", provider_url=OPENAI, at_ms=NOON_MS) is None
    assert prices.cost_usd(Usage(1, 1), model=None, provider_url=OPENAI, at_ms=NOON_MS) is None
