"""A price that is so much a token."""

from __future__ import annotations

from typing import NamedTuple

from gateway.capture.answer import Usage

MILLION = 1_000_000


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
        ) / MILLION
