"""A real model behind the gateway, asked with the real `openai` package: `REAL_MODEL_URL=… pytest -m real_model`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.harness import RunningGateway, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real_model
