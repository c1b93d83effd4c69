"""The settings of routing: which requests go where, what is tried again, what is remembered.

Only what can be written; what a strategy then does is `gateway.routing`'s business.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from gateway.config.headers import SetHeaders
from gateway.config.plans import check_failure, check_strategy, check_target
from gateway.config.queries import BadQuery, parsed
from gateway.config.section import Name, Problem, Seconds, Section, refused
from gateway.records import DEFAULT_NAME

Cause = Literal["connection", "timeout"]
Failure = Annotated[int | Cause, BeforeValidator(check_failure)]
Failures = tuple[Failure, ...]
"""What an attempt may end with: a status the upstream answered; `connection` (refused, broken off or not
HTTP before an answer began, no free connection); `timeout` (no connection or no first byte in time)."""

WORTH_ANOTHER_TRY: Failures = (429, 500, 502, 503, 504, 529, "connection", "timeout")

ModelPattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Retry(Section):
    """How often one target is tried, and how long is waited in between."""

    attempts: int = Field(default=1, ge=1, le=10, description="Tries at one target, the first included.")
    on: Failures = Field(
        default=WORTH_ANOTHER_TRY,
        description="What is tried again: statuses, `connection`, `timeout`.",
    )
    backoff_s: Seconds = Field(
        default=0.5,
        description="Longest wait before the second try; it doubles with each. The wait is a random part.",
    )
    max_backoff_s: Seconds = Field(default=8.0, description="Where the doubling ends.")
    max_retry_after_s: Seconds = Field(
        default=30.0,
        description="An upstream's `Retry-After` up to this is obeyed; a longer one ends the tries there.",
    )


class Steering(Section):
    """Weights that follow what people thought: Thompson sampling over the scores of one feedback name."""

    name: str = Field(
        default=DEFAULT_NAME, min_length=1, max_length=256, description="The feedback that counts."
    )
    half_life_s: float = Field(
        default=7 * 86_400,
        gt=0,
        le=3650 * 86_400,
        description="After this time a score counts half, so that a target that changed is noticed.",
    )
    explore: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the requests that is spread evenly, whatever scores say.",
    )
    refresh_s: Seconds = Field(default=30.0, description="How often the weights are worked out again.")


class Condition(Section):
    """Requests that match `query` go to the target named `then`."""

    query: dict[str, Any] = Field(
        description="What must hold of `metadata.<key>`, `params.<path>` (the JSON body) or `url.pathname`, "
        "e.g. `{metadata.tier: {$eq: paid}}`."
    )
    then: Name = Field(description="Name of one of the targets beside this strategy.")

    @field_validator("query")
    @classmethod
    def _can_be_asked(cls, query: dict[str, Any]) -> dict[str, Any]:
        try:
            parsed(query)
        except BadQuery as bad:
            raise refused(Problem(*problem) for problem in bad.problems) from None
        return query


class Strategy(Section):
    """How one of several targets is chosen. A word alone is its mode."""

    mode: Literal["single", "fallback", "loadbalance", "conditional"] = Field(
        default="single", description="`single`: the one target there is."
    )
    on: Failures = Field(
        default=WORTH_ANOTHER_TRY,
        description="`fallback`: what leads on to the next target: statuses, `connection`, `timeout`.",
    )
    pick: Literal["weight", "least_in_flight"] = Field(
        default="weight",
        description="`loadbalance`: at random by weight, or the target with the fewest requests in flight.",
    )
    sticky_by: Literal["user", "trace"] | None = Field(
        default=None, description="`loadbalance`: the same user, or trace, keeps its target."
    )
    by_feedback: Steering | None = Field(
        default=None, description="`loadbalance`: let feedback set the weights; `{}` for the defaults."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), description="`conditional`: asked in order, the first that holds decides."
    )
    default: Name | None = Field(
        default=None, description="`conditional`: name of the target where no condition holds."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_a_mode(cls, data: Any) -> Any:
        return {"mode": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _says_what_its_mode_needs(self) -> Self:
        check_strategy(self)
        return self


class Target(Section):
    """An upstream with what is changed on the way there, or a strategy over further targets.

    Routes and configs have these keys, too. What a level says of model, parameters, headers, timeouts and
    retries holds for everything below it that does not say otherwise.
    """

    name: Name | None = Field(default=None, description="What logs and conditions call it.")
    upstream: Name | None = Field(default=None, description="Name of an entry in `upstreams`.")
    model: ModelPattern | None = Field(
        default=None, description="The model to ask for instead of the one in the request."
    )
    override_params: dict[str, Any] = Field(
        default_factory=dict, description="Merged deeply into the request's JSON body; null removes a field."
    )
    headers: SetHeaders = Field(
        default_factory=dict, description="Headers set on the request, replacing those of the same name."
    )
    connect_timeout_s: Seconds | None = Field(default=None, description="Instead of the upstream's.")
    first_byte_timeout_s: Seconds | None = Field(default=None, description="Instead of the upstream's.")
    idle_timeout_s: Seconds | None = Field(default=None, description="Instead of the upstream's.")
    total_timeout_s: Seconds | None = Field(default=None, description="Instead of the upstream's.")
    weight: float = Field(
        default=1.0, ge=0, le=1_000_000, description="Share under `loadbalance`; 0 takes it out."
    )
    retry: Retry | None = Field(
        default=None,
        description="What is tried again here; without it as the level above says, else nothing.",
    )
    strategy: Strategy | None = Field(default=None, description="How one of `targets` is chosen.")
    targets: tuple[Target, ...] = Field(default=(), description="What the strategy chooses from.")

    @property
    def is_steered(self) -> bool:
        """Whether feedback sets the weights somewhere in it."""
        steers = self.strategy is not None and self.strategy.by_feedback is not None
        inner = (*self.targets, getattr(self, "target", None))
        return steers or any(target is not None and target.is_steered for target in inner)

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        check_target(self)
        return self


class CacheUse(Section):
    """Answer a request that was answered before without asking again."""

    max_age_s: float = Field(default=86_400, gt=0, le=366 * 86_400, description="How old an answer may be.")
    namespace: str | None = Field(
        default=None, min_length=1, max_length=256, description="Answers are shared within a namespace only."
    )
    share_in_flight: bool = Field(
        default=False,
        description="Let identical requests that arrive meanwhile wait for the first one's answer.",
    )


class Plan(Target):
    """Where a request goes, with what holds for the whole of it."""

    deadline_s: Seconds | None = Field(
        default=None,
        description="Limit for everything together: all attempts, the waits between them, and the answer.",
    )
    cache: CacheUse | None = Field(default=None, description="Answer repeated requests from the cache.")
    sse_keepalive_s: Seconds | None = Field(
        default=None,
        description="Send an SSE comment this often while a stream's first event is not there. The client "
        "then has status 200 already, so a later failure comes as an `error` event.",
    )


class Route(Plan):
    """Incoming model names and where their requests go."""

    models: tuple[ModelPattern, ...] = Field(
        min_length=1,
        description='Model names or patterns (`gpt-*`). `"*"` matches all, also requests without a model.',
    )
    target: Target | None = Field(
        default=None,
        description="Where matching requests go; `targets` and a `strategy` where it is several.",
    )
