"""Plans that a request brings itself, in Portkey's headers: `x-portkey-config` and those beside it.

Translating is `portkey_config`'s; here is which header says what, and the plans remembered from request to
request. The contract and its sources: docs/wire/portkey-routing.md.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace as replaced
from hashlib import sha256
from typing import Any

from gateway.compat.portkey_config import Fixed, Routed, translate
from gateway.compat.portkey_parts import CONFIG, MAX_TIMEOUT_MS
from gateway.compat.portkey_providers import Providers, Refused
from gateway.config.queries import patterns_in
from gateway.config.schema import Settings
from gateway.config.section import NAME
from gateway.errors import InvalidHeader
from gateway.feedback.item import is_deeper
from gateway.jsonio import loads, readable
from gateway.routing.hosts import AllowedHosts
from gateway.routing.plan import Conditional, Leaf, Node, Plan, compile_plan, dressed

PROVIDER = "x-portkey-provider"
VIRTUAL_KEY = "x-portkey-virtual-key"
CUSTOM_HOST = "x-portkey-custom-host"
REQUEST_TIMEOUT = "x-portkey-request-timeout"
ROUTING_HEADERS = frozenset(
    name.encode() for name in (CONFIG, PROVIDER, VIRTUAL_KEY, CUSTOM_HOST, REQUEST_TIMEOUT)
)
"""Requests without any of these go by their model alone."""

MAX_REMEMBERED = 256
MAX_REMEMBERED_BYTES = 8 * 1024 * 1024
_NODE_BYTES = 8 * 1024
_PATTERN_BYTES = 512 * 1024
"""What a target and what a `$regex` may take when compiled, which is far more than they take in a header."""
_MAX_LEVELS = 100


class RequestedPlans:
    """`plan` gives the plan that a request's headers ask for; compiled ones are remembered, within bounds.

    `configs` are the plans that a request may name.
    """

    def __init__(self, settings: Settings, configs: Mapping[str, Plan]) -> None:
        self._providers = Providers(settings.upstreams, AllowedHosts(settings.custom_hosts))
        self._configs = configs
        self._remembered: OrderedDict[bytes, tuple[Plan, int]] = OrderedDict()
        self.remembered_bytes = 0

    @property
    def remembered(self) -> int:
        """How many plans are."""
        return len(self._remembered)

    def plan(self, found: Mapping[bytes, bytes], routed: Routed, model: str | None) -> Plan:
        """`routed` gives the plan of a model. Raises InvalidHeader, and NoRoute from `routed`."""
        asked = {name: found[name].strip() for name in ROUTING_HEADERS & found.keys() if found[name].strip()}
        if not asked:
            return routed(model)
        key = _digest(asked, model)
        remembered = self._remembered.get(key)
        if remembered is not None:
            self._remembered.move_to_end(key)
            return remembered[0]
        plan = self._compiled({name.decode(): value for name, value in asked.items()}, routed, model)
        self._remember(key, plan, sum(map(len, asked.values())) + len(model or "") + _held_bytes(plan.root))
        return plan

    def _remember(self, key: bytes, plan: Plan, size: int) -> None:
        self._remembered[key] = (plan, size)
        self.remembered_bytes += size
        while len(self._remembered) > MAX_REMEMBERED or self.remembered_bytes > MAX_REMEMBERED_BYTES:
            _, (_, forgotten) = self._remembered.popitem(last=False)
            self.remembered_bytes -= forgotten

    def _compiled(self, asked: Mapping[str, bytes], routed: Routed, model: str | None) -> Plan:
        fixed = Fixed(_text(asked, CUSTOM_HOST), _timeout_ms(asked.get(REQUEST_TIMEOUT)))
        written = asked.get(CONFIG)
        if written is not None and not written.startswith((b"{", b"[")):
            return self._named(written.decode("latin-1"), fixed)
        if written is None and not asked.keys() & {PROVIDER, VIRTUAL_KEY, CUSTOM_HOST}:
            return _limited(routed(model), fixed)
        if fixed.custom_host is not None:
            self._check(CUSTOM_HOST, fixed.custom_host)
        config = _parsed(written) if written is not None else {}
        if isinstance(config, dict) and not (config.get("provider") or config.get("targets")):
            config = config | self._place(asked)
        translated = translate(config, self._providers, routed, model, fixed)
        return compile_plan(translated.plan, translated.dress)

    def _named(self, name: str, fixed: Fixed) -> Plan:
        plan = self._configs.get(name)
        if plan is None:
            # What is not shaped like a name is an object that was written wrongly, and may have a key in it.
            shown = f'no config "{name}"' if re.fullmatch(NAME, name) else "no config of such a name"
            there = f"configs has {', '.join(self._configs)}" if self._configs else "there are none"
            raise InvalidHeader(f"{CONFIG}: there is {shown}; {there}", param=CONFIG)
        if fixed.custom_host is not None:
            raise InvalidHeader(
                f'{CUSTOM_HOST}: does not go with the config "{name[:64]}", which has its own hosts; '
                "send one or the other",
                param=CUSTOM_HOST,
            )
        return _limited(plan, fixed)

    def _place(self, asked: Mapping[str, bytes]) -> dict[str, Any]:
        """What the headers say of a config's one target, checked here so that errors name the header."""
        place: dict[str, Any] = {}
        for header, key in ((PROVIDER, "provider"), (VIRTUAL_KEY, "virtual_key")):
            value = _text(asked, header)
            if value is not None:
                if CUSTOM_HOST not in asked:
                    self._check(header, value)
                place[key] = value
        return place

    def _check(self, header: str, value: str) -> None:
        try:
            if header == CUSTOM_HOST:
                self._providers.custom_host(value, None)
            else:
                self._providers.named(value, is_secret=header == VIRTUAL_KEY)
        except Refused as error:
            raise InvalidHeader(readable(f"{header}: {error}"), param=header) from None


def _digest(asked: Mapping[bytes, bytes], model: str | None) -> bytes:
    """What a plan is remembered under. The plan may hold a key that the request brought, so two requests must
    never meet by accident or by design: a cryptographic hash, with every length in it."""
    digest = sha256()
    for name in sorted(asked):
        digest.update(b"%d:%b%d:%b" % (len(name), name, len(asked[name]), asked[name]))
    if model is not None:
        wanted = model.encode("utf-8", "surrogatepass")
        digest.update(b"model%d:%b" % (len(wanted), wanted))  # no header's length begins with a letter
    return digest.digest()


def _held_bytes(node: Node) -> int:
    """About what a compiled plan takes at most."""
    if isinstance(node, Leaf):
        return _NODE_BYTES
    held = _NODE_BYTES + sum(map(_held_bytes, node.children))
    if isinstance(node, Conditional):
        held += _PATTERN_BYTES * sum(patterns_in(query) for query, _ in node.conditions)
    return held


def _limited(plan: Plan, fixed: Fixed) -> Plan:
    """The plan with the limit that the request set for every attempt, until its answer begins."""
    if fixed.timeout_ms is None:
        return plan
    seconds = fixed.timeout_ms / 1000

    def limit(leaf: Leaf) -> Leaf:
        return replaced(leaf, connect_timeout_s=seconds, first_byte_timeout_s=seconds, is_hurried=True)

    return dressed(plan, limit)


def _parsed(written: bytes) -> Any:
    try:
        config = loads(written)
    except ValueError as error:
        raise InvalidHeader(
            f"{CONFIG}: is not JSON ({error}); send an object, or the name of a config", param=CONFIG
        ) from None
    if is_deeper(config, _MAX_LEVELS):
        raise InvalidHeader(f"{CONFIG}: is nested deeper than {_MAX_LEVELS} levels; flatten it", param=CONFIG)
    return config


def _text(asked: Mapping[str, bytes], header: str) -> str | None:
    value = asked.get(header)
    return None if value is None else value.decode("latin-1")


def _timeout_ms(value: bytes | None) -> int | None:
    if value is None or value == b"0":
        return None
    if not value.isdigit() or len(value) > len(str(MAX_TIMEOUT_MS)) or int(value) > MAX_TIMEOUT_MS:
        raise InvalidHeader(
            f"{REQUEST_TIMEOUT}: {value.decode('latin-1')[:32]!r} is not a whole number of milliseconds up "
            f"to {MAX_TIMEOUT_MS}",
            param=REQUEST_TIMEOUT,
        )
    return int(value) or None
