"""Every row of a client's faults, on both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault_matrix.client_faults import CLIENT_FAULTS, ClientFault

if TYPE_CHECKING:
    from tests.fault_matrix.stand import Stand

ROWS = {fault.does: fault for faults in CLIENT_FAULTS.values() for fault in faults}


@pytest.mark.parametrize("connections", ["new", "kept"])
@pytest.mark.parametrize("fault", ROWS.values(), ids=ROWS.keys())
def test_a_clients_fault(fault: ClientFault, stand: Stand, trace: str, connections: str) -> None:
    if connections == "kept":
        stand.keep_connections()
    fault.act(stand, trace)

    if fault.status is None:
        assert not stand.gateway.rows.exchanges(trace)
    else:
        row = stand.row(trace)
        assert (row["status"], row["error_kind"]) == (fault.status, fault.code)
    if fault.attempts is not None:
        assert len(stand.faulty.requests) == fault.attempts
    stand.settled()
    stand.begin()
    stand.still_serves(trace, "scripted.alone")


def test_attempts_made_before_the_client_went_are_recorded(stand: Stand, trace: str) -> None:
    ROWS["resets in the second attempt"].act(stand, trace)

    attempts = stand.attempts(trace)
    assert [(attempt.get("status"), attempt.get("error_kind")) for attempt in attempts] == [
        (500, None),
        (None, "client_closed"),
    ]
