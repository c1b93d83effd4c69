"""Trying a plan's targets, one after another, until one answers.

Which target comes next, how long to wait and who rests is decided in `gateway.routing`; here are the clock,
the network and the record of what was tried. Nothing here runs for a request whose plan is one plain target.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, time_ns
from typing import Any, NamedTuple

from gateway.errors import (
    GatewayError,
    InvalidField,
    ShuttingDown,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
)
from gateway.providers.paths import model_in_path
from gateway.proxy.downstream import Downstream
from gateway.proxy.incoming import Head
from gateway.proxy.recording import Recording
from gateway.proxy.request_body import Body, Upload
from gateway.proxy.upstream.base import Limits, UpstreamRequest, UpstreamResponse
from gateway.proxy.upstreams import KEY_REFUSED, TargetState, Upstream
from gateway.records import Attempt, Headers
from gateway.routing.override import merged
from gateway.routing.plan import Context, Failure, Leaf, LoadBalance, Plan
from gateway.routing.retry import DEADLINE_PASSED, failure_of, next_wait_s, retry_after_s
from gateway.routing.walk import Walk

_KEY_REST_S = 10.0
_MAX_KEY_REST_S = 3600.0
_MAX_ATTEMPTS = 100
_MIN_LEFT_S = 0.001
_TIMER_GRAIN_S = 0.002  # the loop's timers count whole milliseconds and ring up to two too early


@dataclass(slots=True)
class Ask:
    """What one downstream request asks of the upstreams. `params` is its JSON body, where it has one."""

    recording: Recording
    downstream: Downstream
    head: Head
    body: Body
    params: Mapping[str, Any] | None
    raw_path: bytes
    query: bytes
    client_headers: Headers
    """What the client sent, without a key of the gateway's own."""
    _held: TargetState | None = None

    @property
    def names_model_in_path(self) -> bool:
        """Whether the path says the model, and the body does not."""
        return "model" not in (self.params or {}) and model_in_path(self.recording.path) is not None

    @property
    def can_be_sent_again(self) -> bool:
        return not (isinstance(self.body, Upload) and self.body.begun)

    @property
    def context(self) -> Context:
        """What of it decides its way through a plan. The user is the metadata's `_user`, else the body's."""
        recording = self.recording
        user = (recording.metadata or {}).get("_user")
        return Context(
            path=recording.path,
            metadata=recording.metadata,
            params=self.params,
            user=user if isinstance(user, str) else recording.body_user,
            trace_id=recording.trace_id,
        )

    def hold(self, state: TargetState) -> None:
        """An attempt is on its way: its target has one request more in flight."""
        self._held = state
        state.in_flight += 1

    def completed(self, status: int) -> None:
        """The answer has been read to its end."""
        if self._held is not None:
            self._held.completed(status)

    def broke_off(self, error: UpstreamError, now_s: float) -> None:
        """The answer had begun and failed later."""
        if self._held is not None:
            self._held.failed(error, now_s)

    def let_go(self) -> None:
        """The answer is over, or not wanted."""
        held, self._held = self._held, None
        if held is not None:
            held.in_flight -= 1


class Outcome(NamedTuple):
    """What one attempt came to: an answer or an error, and how it failed, if it did."""

    response: UpstreamResponse | None
    error: GatewayError | None = None
    failure: Failure | None = None
    retry_after_s: float | None = None
    has_another_key: bool = False

    def delivered(self) -> UpstreamResponse:
        """The answer. Raises the error where there is none."""
        if self.response is None:
            raise self.error or UpstreamBroken("the upstream gave no answer")
        return self.response


class Attempts:
    """`open` a plan: an answer to relay, or the last attempt's error.

    `find` gives the upstream that a target means, `shares` the weights that feedback set for a strategy, or
    None. `clock_s` is `time.perf_counter`'s, `wall_s` the time since the epoch.
    """

    def __init__(
        self,
        find: Callable[[Leaf], Upstream],
        *,
        shares: Callable[[LoadBalance], Sequence[float] | None],
        rng: random.Random,
        clock_s: Callable[[], float] = perf_counter,
        wall_s: Callable[[], float] = lambda: time_ns() / 1e9,
    ) -> None:
        self._find = find
        self.shares = shares
        self._rng = rng
        self._clock_s = clock_s
        self._wall_s = wall_s

    # --- what the walk asks ---

    def is_resting(self, leaf: Leaf) -> bool:
        upstream, now = self._find(leaf), self._clock_s()
        if upstream.state(leaf.model).health.is_resting(now):
            return True
        return leaf.api_key is None and upstream.has_no_key_left(now)

    def badness(self, leaf: Leaf) -> float:
        upstream, now = self._find(leaf), self._clock_s()
        rest_s = upstream.state(leaf.model).health.badness(now)
        if leaf.api_key is None and upstream.has_own_key:
            rest_s = max(rest_s, upstream.keys.rest_s(now))
        return rest_s

    def in_flight(self, leaf: Leaf) -> int:
        return self._find(leaf).state(leaf.model).in_flight

    # --- the attempts ---

    async def open(self, ask: Ask, plan: Plan) -> UpstreamResponse:
        """Raises what the last attempt failed with, where it did not answer."""
        deadline = None if plan.deadline_s is None else ask.recording.started_at + plan.deadline_s
        recording = ask.recording
        recording.attempts = []
        walk = Walk(plan, ask.context, self, self._rng)
        leaf: Leaf = walk.first()
        if deadline is not None and self._clock_s() >= deadline:
            raise UpstreamTimeout(
                f"the request's deadline (deadline_s: {plan.deadline_s:g}) passed before an upstream was "
                "asked: its body came too slowly, or it waited for another request's answer",
                limit="deadline",
            )
        while True:
            if len(plan.leaves) > 1:
                recording.target = leaf.label
            outcome = await self._tries(leaf, ask, deadline)
            following = None
            if outcome.failure is not None and self._may_go_on(ask, deadline):
                following = walk.after(outcome.failure)
            if following is None:
                return outcome.delivered()
            await _discard(outcome, ask)
            leaf = following

    def _may_go_on(self, ask: Ask, deadline: float | None) -> bool:
        return (
            ask.can_be_sent_again
            and len(ask.recording.attempts) < _MAX_ATTEMPTS
            and (deadline is None or self._clock_s() < deadline)
        )

    async def _tries(self, leaf: Leaf, ask: Ask, deadline: float | None) -> Outcome:
        """One target, as often as its retry policy says."""
        upstream = self._find(leaf)
        upstream.budget.request(self._clock_s())
        tries = 0
        while True:
            tries += 1
            outcome = await self._try(leaf, upstream, ask, deadline)
            if outcome.failure is None or not self._may_go_on(ask, deadline):
                return outcome
            wait_s = next_wait_s(leaf.retry, tries, outcome.failure, outcome.retry_after_s, self._rng)
            if outcome.has_another_key and tries < leaf.retry.attempts and outcome.failure in leaf.retry.on:
                wait_s = 0.0  # what one key was refused is no reason for another to wait
            now = self._clock_s()
            if wait_s is None or (deadline is not None and now + wait_s >= deadline):
                return outcome
            if not upstream.budget.take(now):
                return outcome
            await _discard(outcome, ask)
            if wait_s:
                await asyncio.sleep(wait_s + _TIMER_GRAIN_S)

    async def _try(self, leaf: Leaf, upstream: Upstream, ask: Ask, deadline: float | None) -> Outcome:
        began = self._clock_s()
        key = upstream.keys.take(began)
        state = upstream.state(leaf.model)
        ask.recording.upstream = upstream.name
        if upstream.drains:
            ask.downstream.keep_going_without_client()
        request = self._request(leaf, upstream, key, ask, deadline)
        attempt = Attempt(
            target=leaf.label,
            upstream=upstream.name,
            model=leaf.model,
            status=None,
            error_kind=None,
            started_ms=(began - ask.recording.started_at) * 1000,
            latency_ms=0.0,
            key=key + 1 if leaf.api_key is None and len(upstream.filters) > 1 else None,
        )
        state.health.begun(began)
        ask.hold(state)
        try:
            response = await upstream.transport.open(request)
        except UpstreamError as error:
            now = self._note(ask, attempt._replace(error_kind=error.code), began)
            ask.let_go()
            deadline_s = None if deadline is None else deadline - ask.recording.started_at
            if _was_hurried(error, leaf, upstream.limits, had_s=now - began, deadline_s=deadline_s):
                state.health.abandoned()
            else:
                state.failed(error, now)
            return Outcome(None, error, failure_of(error))
        except BaseException as gone:
            self._note(ask, attempt._replace(error_kind=_word(gone, ask.downstream)), began)
            ask.let_go()
            state.health.abandoned()
            raise
        now = self._note(ask, attempt._replace(status=response.status), began)
        status = response.status
        if status < 300:
            state.answered(status, now)
            return Outcome(response)
        after_s = retry_after_s(response.headers, self._wall_s())
        state.answered(status, now, after_s)
        if status not in KEY_REFUSED or not upstream.has_own_key or leaf.api_key is not None:
            return Outcome(response, None, status, after_s)
        upstream.keys.rest(key, now + min(after_s or _KEY_REST_S, _MAX_KEY_REST_S))
        return Outcome(response, None, status, after_s, has_another_key=not upstream.has_no_key_left(now))

    def _note(self, ask: Ask, attempt: Attempt, began: float) -> float:
        """Record how an attempt ended, which is now."""
        now = self._clock_s()
        attempts = ask.recording.attempts
        ask.recording.attempts = [*attempts, attempt._replace(latency_ms=(now - began) * 1000)]
        return now

    def _request(
        self, leaf: Leaf, upstream: Upstream, key: int, ask: Ask, deadline: float | None
    ) -> UpstreamRequest:
        """Raises InvalidField for a body that cannot be changed as the target asks."""
        body, body_bytes = ask.body, ask.head.body_bytes
        model = None if ask.names_model_in_path else leaf.model  # then it is changed there, not in the body
        if body and (model is not None or leaf.override_params):
            if ask.params is None:
                raise InvalidField(
                    f"target {leaf.label} changes the request (model or override_params), and this body is "
                    "not a JSON object; send JSON, or ask for a model whose route changes nothing",
                    param="model",
                )
            try:
                body = merged(ask.params, model, leaf.override_params)
            except ValueError as error:
                raise InvalidField(
                    f"target {leaf.label} changes the request (model or override_params), and this body is "
                    f"{error}; flatten it, or ask for a model whose route changes nothing"
                ) from error
            body_bytes = len(body)
        return UpstreamRequest(
            method=ask.recording.method,
            target=upstream.paths(
                ask.raw_path, ask.query, model=ask.recording.requested_model, renamed=leaf.model
            ),
            headers=self._headers(leaf, upstream, key, ask),
            body=body,
            body_bytes=body_bytes,
            on_sent=ask.recording.sent,
            limits=self._limits(leaf, upstream, deadline),
        )

    def _headers(self, leaf: Leaf, upstream: Upstream, key: int, ask: Ask) -> Headers:
        if leaf.api_key is None:
            headers = upstream.headers(ask.recording.path, key, ask.client_headers)
        else:
            headers = upstream.with_key(ask.recording.path, leaf.api_key, ask.client_headers)
        if leaf.headers:
            names = {name for name, _ in leaf.headers}
            headers = [field for field in headers if field[0] not in names] + leaf.headers
        return headers

    def _limits(self, leaf: Leaf, upstream: Upstream, deadline: float | None) -> Limits:
        limits = upstream.limits
        if leaf.has_timeouts:
            limits = Limits(
                leaf.connect_timeout_s or limits.connect_s,
                leaf.first_byte_timeout_s or limits.first_byte_s,
                leaf.idle_timeout_s or limits.idle_s,
                leaf.total_timeout_s or limits.total_s,
                where=f"target {leaf.label}",
            )
        if deadline is None:
            return limits
        return limits._replace(deadline_s=max(_MIN_LEFT_S, deadline - self._clock_s()))


def _was_hurried(
    error: UpstreamError, leaf: Leaf, limits: Limits, *, had_s: float, deadline_s: float | None
) -> bool:
    """Whether an attempt that was given `had_s` had too little time to say anything of its target.

    So it is where a request is less patient than its upstream's `limits`, and where most of the request's
    `deadline_s` was used up before.
    """
    if not isinstance(error, UpstreamTimeout):
        return False
    if error.code == DEADLINE_PASSED:
        return deadline_s is not None and had_s < deadline_s / 2
    own_s = limits.connect_s if error.code == "upstream_connect_timeout" else limits.first_byte_s
    return leaf.is_hurried and had_s < own_s


def _word(error: BaseException, downstream: Downstream) -> str:
    if isinstance(error, asyncio.CancelledError):
        return (downstream.interruption or ShuttingDown).code
    return error.code if isinstance(error, GatewayError) else GatewayError.code


async def _discard(outcome: Outcome, ask: Ask) -> None:
    """An answer nobody gets: read if it is all there, so that its connection can be used again."""
    ask.let_go()
    response = outcome.response
    if response is None:
        return
    try:
        if response.ready:
            await response.read()
    except UpstreamError:
        pass  # it was not wanted anyway
    finally:
        await response.close()
