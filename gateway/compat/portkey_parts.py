"""The parts of Portkey's config objects: keys in both spellings, and each part's values as our settings.

Pure. How parts make a plan, and what is inherited, is in `portkey_config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeGuard

from gateway.config import routes as schema
from gateway.errors import InvalidHeader
from gateway.jsonio import readable

CONFIG = "x-portkey-config"
MAX_TIMEOUT_MS = 86_400_000
MAX_RETRIES = 9  # our `attempts` count the first try, too
MAX_CACHE_AGE_S = 366 * 86_400
DEFAULT_CACHE_AGE_S = 7 * 86_400
RETRIED = (429, 500, 502, 503, 504)
NOT_OK: schema.Failures = (*range(300, 600), "connection", "timeout")

AS_HEADERS = ("openai_organization", "openai_project", "openai_beta", "anthropic_beta", "anthropic_version")
"""Keys that Portkey sends on as headers of these names."""

_TIMED_OUT = 408
_UNREACHABLE = frozenset({500, 502, 503})
_GUARDRAIL_VERDICTS = frozenset({246, 446})
_LONGEST_RETRY_AFTER_S = 60.0
_MODES = ("single", "fallback", "loadbalance", "conditional")
_KINDS: dict[type, str] = {str: "a text", dict: "an object", list: "a list"}
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")

_UNDERSTOOD = (
    "strategy", "targets", "provider", "virtual_key", "api_key", "custom_host", "override_params", "retry",
    "cache", "request_timeout", "weight", "name", *AS_HEADERS,
)  # fmt: skip
_WITHOUT_EFFECT = frozenset(
    {
        # Answers are the upstream's own, a client's headers go there anyway, resting is the gateway's affair.
        "strict_open_ai_compliance", "forward_headers", "cb_config", "is_open", "index", "original_index",
        "id", "version", "version_id", "description", "metadata", "on_status_codes", "$schema",
    }
)  # fmt: skip
_GUARDRAILS = re.compile(r".*(guardrails|hooks|mutators)")
_STRATEGY_KEYS = frozenset({"mode", "on_status_codes", "conditions", "default"})
_RETRY_KEYS = frozenset({"attempts", "on_status_codes", "use_retry_after_header"})
_CACHE_KEYS = frozenset({"mode", "max_age"})


def refusal(what: str) -> InvalidHeader:
    """The error for something in the header; `what` begins with the path in the JSON."""
    path, _, _ = what.partition(": ")
    return InvalidHeader(
        readable(f"{CONFIG}: {what}"), param=f"{CONFIG}.{path}" if " " not in path else CONFIG
    )


def strategy_of(raw: Any, path: str, targets: int) -> dict[str, Any]:
    if raw is None:
        if targets > 1:
            raise refusal(f"{path}: is missing; write one of {', '.join(_MODES)} as its mode")
        return {"mode": "single"}
    asked = _part(raw, path, _STRATEGY_KEYS)
    mode = asked.get("mode")
    if mode not in _MODES:
        raise refusal(f"{at(path, 'mode')}: {_shown(mode)} is not known; use one of {', '.join(_MODES)}")
    data: dict[str, Any] = {"mode": mode}
    if mode == "fallback":
        codes = _statuses(asked.get("on_status_codes"), at(path, "on_status_codes"))
        data["on"] = NOT_OK if codes is None else _failures(codes, _UNREACHABLE)
    if mode == "conditional":
        data["conditions"] = asked.get("conditions")
        data["default"] = asked.get("default")
    return data


def patterns_in(conditions: Any) -> int:
    """How many `$regex` there are in conditions as they were written, rightly or wrongly."""
    if isinstance(conditions, dict):
        return sum((key == "$regex") + patterns_in(value) for key, value in conditions.items())
    return sum(map(patterns_in, conditions)) if isinstance(conditions, list) else 0


def retry_of(raw: Any, path: str) -> dict[str, Any]:
    asked = _part(raw, path, _RETRY_KEYS)
    attempts = asked.get("attempts")
    if not _is_whole(attempts) or not 0 <= attempts <= MAX_RETRIES:
        raise refusal(
            f"{at(path, 'attempts')}: {_shown(attempts)} is not a whole number from 0 to {MAX_RETRIES}; it "
            "counts the tries after the first"
        )
    codes = _statuses(asked.get("on_status_codes"), at(path, "on_status_codes"))
    data: dict[str, Any] = {
        "attempts": int(attempts) + 1,
        # Portkey tries again after a failed connection whatever is listed.
        "on": (*_failures(RETRIED if codes is None else codes, frozenset()), "connection"),
    }
    if asked.get("use_retry_after_header"):
        data["max_retry_after_s"] = _LONGEST_RETRY_AFTER_S
    return data


def cache_of(raw: Any, path: str) -> dict[str, Any] | None:
    asked: dict[str, Any] = {"mode": raw} if isinstance(raw, str) else _part(raw, path, _CACHE_KEYS)
    mode = asked.get("mode")
    if isinstance(mode, str) and mode.lower() == "disabled":
        return None
    if mode not in ("simple", "semantic"):  # an exact answer is the nearest there is
        raise refusal(f"{at(path, 'mode')}: {_shown(mode)} is not known; use simple, or disabled")
    age = asked.get("max_age")
    if age is None:
        return {"max_age_s": DEFAULT_CACHE_AGE_S}
    if not _is_number(age) or not 0 < age <= MAX_CACHE_AGE_S:
        raise refusal(
            f"{at(path, 'max_age')}: {_shown(age)} is not a number of seconds up to {MAX_CACHE_AGE_S}"
        )
    return {"max_age_s": float(age)}


def timeout_of(raw: Any, path: str) -> int | None:
    if not _is_number(raw) or not 0 <= raw <= MAX_TIMEOUT_MS:
        raise refusal(f"{path}: {_shown(raw)} is not a number of milliseconds up to {MAX_TIMEOUT_MS}")
    return max(1, int(raw)) if raw else None


def _statuses(raw: Any, path: str) -> tuple[int, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, list) or not all(_is_whole(code) for code in raw):
        raise refusal(f"{path}: is not a list of statuses; write [429, 503]")
    codes = tuple(int(code) for code in raw if code not in _GUARDRAIL_VERDICTS)
    for code in codes:
        if not 300 <= code <= 599:
            raise refusal(f"{path}: {code} is no failure; list statuses from 300 to 599")
    return codes


def _failures(codes: tuple[int, ...], unreachable: frozenset[int]) -> tuple[Any, ...]:
    """Statuses as Portkey has them, with what it answers itself spelled out: 408 for a limit that passed, 5xx
    for a connection that failed."""
    words: list[Any] = []
    if _TIMED_OUT in codes:
        words.append("timeout")
    if not unreachable.isdisjoint(codes):
        words.append("connection")
    return (*codes, *words)


# --- keys and values ---


def keys_of(raw: Any, path: str) -> dict[str, Any]:
    """A target's keys in snake_case. Raises InvalidHeader for those that ask for what is not done here."""
    if not isinstance(raw, dict):
        raise refusal(f'{path + ": " if path else ""}is not an object; write {{"provider": …}}')
    asked = _in_snake_case(raw, path)
    for key in asked:
        if key in _UNDERSTOOD or key in _WITHOUT_EFFECT or asked[key] in (None, [], {}):
            continue
        if _GUARDRAILS.fullmatch(key):
            raise refusal(f"{at(path, key)}: guardrails are not run here; remove it to send without them")
        if key in ("options", "mode"):
            raise refusal(f"{at(path, key)}: is of Portkey's older form; use strategy and targets")
        close = get_close_matches(key, _UNDERSTOOD, n=1)
        remedy = f'did you mean "{close[0]}"?' if close else "what providers need is set at upstreams"
        raise refusal(f"{at(path, key[:64])}: unknown key; {remedy}")
    return asked


def _in_snake_case(raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for key, value in raw.items():
        snake = _CAPITAL.sub(r"_\1", key).lower().replace("open_ai_", "openai_", 1)
        snake = "strict_open_ai_compliance" if snake == "strict_openai_compliance" else snake
        if snake in asked:
            raise refusal(f"{at(path, snake[:64])}: is there twice, in both spellings; remove one")
        asked[snake] = value
    return asked


def _part(raw: Any, path: str, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise refusal(f"{path}: is not an object with {', '.join(sorted(known))}")
    asked = _in_snake_case(raw, path)
    for key in asked:
        if key not in known and key not in _WITHOUT_EFFECT:
            raise refusal(f"{at(path, key[:64])}: unknown key; there are {', '.join(sorted(known))}")
    return asked


def value_of(asked: Mapping[str, Any], key: str, kind: type, path: str, default: Any) -> Any:
    value = asked.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise refusal(f"{at(path, key)}: is not {_KINDS[kind]}")
    return value


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> TypeGuard[float]:
    return _is_number(value) and float(value).is_integer()


def _shown(value: Any) -> str:
    """A value in a message; only those that are no secret come here."""
    if value is None:
        return "nothing"
    return f'"{value[:64]}"' if isinstance(value, str) else str(value)[:64]


def at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
