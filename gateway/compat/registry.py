"""Which vendors there are. A new one is its file, a line here and a folder of fixtures for its tests.

The order is that of the questions whose body it is where several vendors post to one path. The first is asked
first, and its shape is the one of whoever cannot be told.
"""

from __future__ import annotations

from gateway.compat import deepeval, humanloop, log10, mlflow, portkey
from gateway.feedback.services import FeedbackServices
from gateway.feedback.vendor import Vendor

VENDORS = (
    portkey.vendor,
    deepeval.vendor,
    humanloop.vendor,
    mlflow.vendor,
    log10.vendor,
)


def vendors(services: FeedbackServices) -> tuple[Vendor, ...]:
    return tuple(vendor(services) for vendor in VENDORS)
