"""What the tests stand on: a gateway process, upstreams scripted byte by byte, and the rows SQLite has.

Nothing here imports the gateway: what a test sees is what a client, an upstream or a person with the
`sqlite3` command would see.
"""

from tests.harness.downstream import Answer, RawClient, until_in_flight
from tests.harness.memory import PeakMemory, resident_mib
from tests.harness.process import Process, RunningGateway, free_port, run_gateway, run_module
from tests.harness.rows import Rows
from tests.harness.traffic import Traffic
from tests.harness.upstream import CLOSE, HALF_CLOSE, RESET, SILENCE, Again, Received, WireUpstream, chunk

__all__ = [
    "CLOSE",
    "HALF_CLOSE",
    "RESET",
    "SILENCE",
    "Again",
    "Answer",
    "PeakMemory",
    "Process",
    "RawClient",
    "Received",
    "Rows",
    "RunningGateway",
    "Traffic",
    "WireUpstream",
    "chunk",
    "free_port",
    "resident_mib",
    "run_gateway",
    "run_module",
    "until_in_flight",
]
