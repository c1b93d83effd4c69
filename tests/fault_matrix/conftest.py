"""One stand a transport and test file: rows keep apart by their trace ids and begin with fresh scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault_matrix.stand import Stand, open_stand

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["native", "httpx"])
def running_stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with open_stand(request.param) as stand:
        yield stand


@pytest.fixture
def stand(running_stand: Stand) -> Stand:
    running_stand.begin()
    return running_stand
