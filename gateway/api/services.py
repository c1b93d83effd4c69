"""What the endpoints are handed: everything they use, built by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.feedback.service import FeedbackService
from gateway.records import DEFAULT_KEY_ID
from gateway.store.base import Database

MIB = 1024 * 1024


@dataclass(slots=True, frozen=True)
class Services:
    """`max_body_bytes` and `body_timeout_s` (between two pieces) limit what is read of a request."""

    database: Database
    feedback: FeedbackService
    max_body_bytes: int = 16 * MIB
    body_timeout_s: float = 30.0
    max_items_shown: int = 1_000
    """Exchanges and feedback that one trace or one log is shown with."""

    def key_id(self) -> str:
        """The owner of what the caller sees: everybody's, while there are no virtual keys."""
        return DEFAULT_KEY_ID
