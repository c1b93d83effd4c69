"""What must hold between the settings of routing: a strategy and its targets, conditions and names.

Each setting by itself is checked where it is born, in `gateway.config.routes`; that a target's upstream
exists, in `gateway.config.schema`, which alone knows the upstreams.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gateway.config.section import Problem, refused

if TYPE_CHECKING:
    from gateway.config.routes import Strategy, Target

MAX_DEPTH = 16

CAUSES = ("connection", "timeout")
_FIRST_STATUS, _LAST_STATUS = 300, 599

MODE_OF = {
    "on": "fallback",
    "pick": "loadbalance",
    "sticky_by": "loadbalance",
    "by_feedback": "loadbalance",
    "conditions": "conditional",
    "default": "conditional",
}
"""Which mode a setting of a strategy belongs to."""


def check_failure(value: Any) -> Any:
    """One entry of `on`. Raises ValidationError."""
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        value = int(value)  # as text where it was a variable
    is_status = isinstance(value, int) and not isinstance(value, bool)
    if is_status and _FIRST_STATUS <= value <= _LAST_STATUS:
        return value
    if isinstance(value, str) and value in CAUSES:
        return value
    raise refused([Problem((), value, _no_failure(value))])


def _no_failure(value: Any) -> str:
    close = get_close_matches(value.lower(), CAUSES, n=1) if isinstance(value, str) else []
    remedy = f'did you mean "{close[0]}"?' if close else "such as 429, connection or timeout"
    separator = "; " if close else ", "
    return f"{{value}} is no status from {_FIRST_STATUS} to {_LAST_STATUS} and no cause{separator}{remedy}"


def check_strategy(strategy: Strategy) -> None:
    """Raises ValidationError with everything that does not go together in a strategy."""
    _raise(_strategy_problems(strategy))


def check_target(target: Target) -> None:
    """Raises ValidationError with everything that does not go together in a target and its own targets."""
    _raise(_target_problems(target))


def _raise(problems: Iterator[Problem]) -> None:
    found = list(problems)
    if found:
        raise refused(found)


def _strategy_problems(strategy: Strategy) -> Iterator[Problem]:
    fields = type(strategy).model_fields
    for name, mode in MODE_OF.items():
        value = getattr(strategy, name)
        if strategy.mode != mode and value != fields[name].get_default():
            yield Problem((name,), value, f"belongs to mode {mode}, this is {strategy.mode}; remove it")
    if strategy.mode == "conditional" and not strategy.conditions:
        yield Problem(("conditions",), (), "is missing; add conditions, each with a query and a then")
    if strategy.by_feedback is not None and strategy.pick != "weight":
        rule = f"{strategy.pick} leaves feedback nothing to decide; remove it, or by_feedback"
        yield Problem(("pick",), strategy.pick, rule)


def _target_problems(target: Target) -> Iterator[Problem]:
    places = [name for name in ("target", "upstream", "targets") if getattr(target, name, None)]
    if len(places) > 1:
        yield Problem((), target, f"has {' and '.join(places)}; give one of them")
    elif not places and hasattr(target, "target"):
        yield Problem(
            ("target",), None, "is missing; add it: where matching requests go; or targets and a strategy"
        )
    elif not places:
        yield Problem((), target, "leads nowhere; give it an upstream, or targets and a strategy")
    if target.model is not None and isinstance(target.override_params.get("model"), str):
        rule = "{value} is there besides model; keep one of them"
        yield Problem(("override_params", "model"), target.override_params["model"], rule)
    if target.strategy is not None and not target.targets:
        yield Problem(("strategy",), target.strategy, "has no targets to choose from; add targets beside it")
    if target.targets:
        yield from _group_problems(target)


def _group_problems(target: Target) -> Iterator[Problem]:
    mode = target.strategy.mode if target.strategy else "single"
    count = len(target.targets)
    if mode == "single" and count > 1:
        rule = f"there are {count} and nothing says how to choose; add strategy: fallback, or loadbalance"
        yield Problem(("targets",), target.targets, rule)
    if mode == "loadbalance" and not any(inner.weight for inner in target.targets):
        rule = "every weight is 0, so there is nothing to choose; give one of them a weight"
        yield Problem(("targets",), target.targets, rule)
    if _depth(target) > MAX_DEPTH:
        yield Problem(
            ("targets",), target.targets, f"are nested deeper than {MAX_DEPTH} levels; flatten them"
        )
    yield from _name_problems(target)
    if target.strategy is not None and target.strategy.by_feedback is not None:
        yield from _label_problems(target)
    if mode == "conditional":
        yield from _condition_problems(target)


def _name_problems(target: Target) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for place, inner in enumerate(target.targets):
        if inner.name is not None and inner.name in first:
            rule = f"{{value}} is the name of targets[{first[inner.name]}] already; choose another"
            yield Problem(("targets", place, "name"), inner.name, rule)
        elif inner.name is not None:
            first[inner.name] = place


def _label_problems(target: Target) -> Iterator[Problem]:
    """Feedback knows targets by what logs call them: their name, else upstream and model."""
    first: dict[str, int] = {}
    for place, inner in enumerate(target.targets):
        if inner.upstream is None:
            continue
        model = inner.model or inner.override_params.get("model")
        label = inner.name or (f"{inner.upstream}/{model}" if model else inner.upstream)
        if inner.name is None and label in first:
            rule = f"is missing; add it: feedback cannot tell this target from targets[{first[label]}]"
            yield Problem(("targets", place, "name"), None, rule)
        first.setdefault(label, place)


def _condition_problems(target: Target) -> Iterator[Problem]:
    strategy = target.strategy
    if strategy is None:
        return
    for place, inner in enumerate(target.targets):
        if inner.name is None:
            rule = "is missing; add it: conditions choose their target by its name"
            yield Problem(("targets", place, "name"), None, rule)
    names = [inner.name for inner in target.targets if inner.name is not None]
    for place, condition in enumerate(strategy.conditions):
        if condition.then not in names:
            yield _unknown_target(("strategy", "conditions", place, "then"), condition.then, names)
    if strategy.default is not None and strategy.default not in names:
        yield _unknown_target(("strategy", "default"), strategy.default, names)


def _unknown_target(path: tuple[str | int, ...], name: str, names: list[str]) -> Problem:
    close = get_close_matches(name, names, n=1)
    if close:
        remedy = f'did you mean "{close[0]}"?'
    elif names:
        remedy = f"the targets are {', '.join(names)}"
    else:
        remedy = "give the target that is meant this name"
    return Problem(path, name, f"{{value}} is the name of no target here; {remedy}")


def _depth(target: Target) -> int:
    """Levels of targets below, itself among them. Its own targets have been held to the limit before."""
    return 1 + max((_depth(inner) for inner in target.targets), default=0)
