"""An upstream as the proxy uses it: its connections, its keys, and how it has been doing.

What a failure means is decided in `gateway.routing`; here is only where its state lives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.errors import UpstreamBusy, UpstreamError
from gateway.providers.credentials import Dialect
from gateway.providers.paths import UpstreamPaths, dialect
from gateway.proxy.headers import RequestFilter
from gateway.proxy.upstream.base import Limits, Transport
from gateway.proxy.upstream.pool import NativeTransport
from gateway.records import Headers
from gateway.routing.budget import RetryBudget
from gateway.routing.health import Health
from gateway.routing.keys import KeyRotation

_MAX_STATES = 1_000


FAILING = frozenset({500, 502, 503, 504, 529})
"""Statuses with which an upstream says that it is not well. 529 is Anthropic's for overloaded."""

KEY_REFUSED = frozenset({401, 429})
"""Statuses with which it refuses a key, now or for good."""


@dataclass(slots=True)
class TargetState:
    """How one model of an upstream, or the upstream without a model, has been doing.

    `is_suspect`: something went wrong since its last good answer.
    """

    health: Health
    in_flight: int = 0
    last_error: str | None = None
    is_suspect: bool = False
    is_configured: bool = False
    """Whether the configuration names it; the others are what single requests asked for."""

    def failed(self, error: UpstreamError, now_s: float) -> None:
        """No answer, or not all of it."""
        self.last_error = error.code
        self.is_suspect = True
        if isinstance(error, UpstreamBusy):
            self.health.abandoned()  # our own limit, not the upstream's fault
        else:
            self.health.failed(now_s)

    def answered(self, status: int, now_s: float, retry_after_s: float | None = None) -> None:
        """The head of an answer is there."""
        if status in FAILING or status in KEY_REFUSED:
            self.last_error = str(status)
        if status in FAILING:
            self.is_suspect = True
            self.health.failed(now_s, retry_after_s)
        elif self.is_suspect:
            self.health.answered()

    def completed(self, status: int) -> None:
        """The answer with that status has come to its end."""
        if self.is_suspect and status not in FAILING:
            self.is_suspect = False
            self.health.succeeded()


@dataclass(slots=True)
class Upstream:
    """An upstream, ready to use. `paths` makes its request lines.

    `filters` has one entry a key, or the only one; `native` the same for requests in its own dialect, None
    where that takes the key alike. `keyed` makes one for a key that a request brought.
    `states` is by the model that targets rename to.
    """

    name: str
    provider: str
    paths: UpstreamPaths
    transport: Transport
    filters: Sequence[RequestFilter]
    native: Sequence[RequestFilter] | None
    keyed: Callable[[str, Dialect], RequestFilter]
    limits: Limits
    direct: NativeTransport | None
    """`transport`, where it can send over an open connection at once."""
    drains: bool
    keys: KeyRotation
    has_own_key: bool
    budget: RetryBudget
    new_health: Callable[[], Health]
    states: dict[str | None, TargetState] = field(default_factory=dict)
    plain: TargetState = field(init=False)
    """The state for requests whose model is not renamed, which is in `states`, too."""

    def __post_init__(self) -> None:
        self.plain = self.states[None] = TargetState(self.new_health(), is_configured=True)

    def state(self, model: str | None) -> TargetState:
        found = self.states.get(model)
        if found is None:
            if len(self.states) >= _MAX_STATES:  # requests can name models, too
                self._forget_the_quiet()
            if len(self.states) >= _MAX_STATES:
                return self.plain
            found = self.states[model] = TargetState(self.new_health())
        return found

    def _forget_the_quiet(self) -> None:
        """Nothing is lost with the state of a target that is well and not asked now."""
        self.states = {
            model: state
            for model, state in self.states.items()
            if state.is_configured or state.in_flight or state.is_suspect
        }

    def headers(self, path: str, key: int, headers: Headers) -> Headers:
        """The client's `headers` as they go upstream, with our key of that number (from 0), if any."""
        if self.native is not None and dialect(self.provider, path) == "native":
            return self.native[key](headers)
        return self.filters[key](headers)

    def with_key(self, path: str, key: str, headers: Headers) -> Headers:
        """The client's `headers` as they go upstream, with a key that the request brought instead of ours."""
        return self.keyed(key, dialect(self.provider, path))(headers)

    def has_no_key_left(self, now_s: float) -> bool:
        """Whether all of our own keys for it rest."""
        return self.has_own_key and self.keys.all_rest(now_s)
