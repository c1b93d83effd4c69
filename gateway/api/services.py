"""What the endpoints are handed: everything they use, built by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers as StarletteHeaders

from gateway.auth.keys import KeyRing
from gateway.feedback.service import FeedbackService
from gateway.feedback.steering import Steered
from gateway.feedback.tasks import TaskService
from gateway.records import DEFAULT_KEY_ID
from gateway.store.base import Database

MIB = 1024 * 1024


@dataclass(slots=True, frozen=True)
class Services:
    """`max_body_bytes` and `body_timeout_s` (between two pieces) limit what is read of a request."""

    database: Database
    feedback: FeedbackService
    tasks: TaskService
    max_body_bytes: int = 16 * MIB
    body_timeout_s: float = 30.0
    write_timeout_s: float = 120.0
    """How long a client may leave an export unread before its connection is closed."""
    max_items_shown: int = 1_000
    """Exchanges and feedback that one trace or one log is shown with."""

    keys: KeyRing | None = None
    """None: no key is asked for."""
    steered: Callable[[], Sequence[Steered]] = tuple
    """What follows feedback, as it stands."""

    def key_id(self, headers: StarletteHeaders) -> str:
        """The owner of what the caller sees. Raises InvalidKey."""
        return DEFAULT_KEY_ID if self.keys is None else self.keys.holder(headers.raw).key_id
