"""Every setting with its type, default and help: the one place where a user setting is born.

The reference in README.md is generated from here. No files and no environment are read here; that is
`gateway.config.load`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.config.cache import Cache
from gateway.config.custom_hosts import CustomHosts
from gateway.config.routes import CacheUse, Plan, Retry, Route, Steering, Target
from gateway.config.section import MIB, SHA256, HeaderName, Name, Seconds, Section
from gateway.config.upstreams import CREDENTIAL_HEADERS, Upstream
from gateway.config.urls import check_store_url

__all__ = [
    "Cache", "CacheUse", "Capture", "Key", "Plan", "Retry", "Route", "Section", "Server", "Settings",
    "Steering", "Store", "Target", "Upstream",
]  # fmt: skip

MIN_KEY_CHARS = 16


class Server(Section):
    """How the gateway listens, and the limits it holds its clients to."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8787, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that serve the port.")
    shutdown_grace_s: Seconds = Field(
        default=30.0, description="How long requests in flight may take after SIGTERM."
    )
    keep_alive_s: Seconds = Field(default=75.0, description="How long an idle client connection is kept.")
    head_timeout_s: Seconds = Field(default=15.0, description="Limit for a client to send a request's head.")
    body_timeout_s: Seconds = Field(
        default=30.0, description="Limit between two pieces of a request body, then 408."
    )
    write_timeout_s: Seconds = Field(
        default=120.0,
        description="How long a client may leave an answer unread before its connection is closed.",
    )
    max_head_bytes: int = Field(
        default=64 * 1024, ge=1024, le=MIB, description="Largest request line and headers together, then 431."
    )
    max_json_body_bytes: int = Field(
        default=64 * MIB,
        ge=1024,
        description="Largest JSON request body, then 413. JSON bodies are collected.",
    )
    max_upload_bytes: int = Field(
        default=1024 * MIB, ge=1024, description="Largest other request body, then 413. These are streamed."
    )
    collect_upload_bytes: int = Field(
        default=64 * 1024,
        ge=0,
        le=64 * MIB,
        description="Other bodies up to this size are collected, not streamed.",
    )
    max_in_flight: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Forwarded requests served at once by a process; more are answered 503 at once.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log line."
    )


class Store(Section):
    """Where exchanges and feedback are kept."""

    url: str = Field(
        default="sqlite:///data/gateway.db",
        description="`sqlite:///relative.db`, `sqlite:////absolute.db`, or `memory:` (gone at exit).",
    )
    synchronous: Literal["normal", "full"] = Field(
        default="normal",
        description="`normal` survives a killed process; `full` a power cut too, for an fsync a commit.",
    )
    busy_timeout_s: Seconds = Field(default=5.0, description="How long to wait for another process's lock.")
    read_timeout_s: Seconds = Field(default=30.0, description="Limit for one read query, then 503.")
    commit_timeout_s: Seconds = Field(
        default=5.0,
        description="How long an answer waits for its row to be committed before it goes on without.",
    )
    retry_s: Seconds = Field(default=1.0, description="Pause before a failed write is tried again.")
    queue_max_rows: int = Field(default=10_000, ge=1, description="Rows that may wait for a failing store.")
    queue_max_bytes: int = Field(
        default=64 * MIB, ge=MIB, description="Bytes of bodies that may wait for a failing store."
    )
    idempotency_ttl_s: float = Field(
        default=86_400, gt=0, le=30 * 86_400, description="How long an Idempotency-Key is remembered."
    )

    @field_validator("url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        return check_store_url(url)


class Capture(Section):
    """What is recorded of an exchange."""

    commit: Literal["sync", "background"] = Field(
        default="sync",
        description="`sync`: the last byte leaves after the row's commit. `background`: it does not wait.",
    )
    bodies: Literal["all", "none", "errors"] = Field(
        default="all", description="Which exchanges keep their bodies."
    )
    max_body_bytes: int = Field(
        default=MIB,
        ge=0,
        le=64 * MIB,
        description="Longest body kept whole, a side; longer ones keep head and tail.",
    )
    request_headers: tuple[HeaderName, ...] = Field(
        default=(
            "content-type", "content-encoding", "accept", "accept-encoding", "user-agent", "openai-beta",
            "anthropic-version", "anthropic-beta", "traceparent", "idempotency-key", "x-stainless-lang",
            "x-stainless-package-version", "x-stainless-retry-count",
        ),
        description="Request headers that are stored; all others are not.",
    )  # fmt: skip
    response_headers: tuple[HeaderName, ...] = Field(
        default=(
            "content-type", "content-encoding", "content-length", "x-request-id", "request-id", "retry-after",
            "openai-model", "openai-processing-ms", "openai-version", "cf-ray",
        ),
        description="Response headers that are stored; all others are not.",
    )  # fmt: skip

    @field_validator("request_headers", "response_headers")
    @classmethod
    def _no_credentials(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name in CREDENTIAL_HEADERS:
                raise ValueError(f"{name} carries credentials and is never stored; remove it")
        return names


class Key(Section):
    """A virtual key: what it sends and gives feedback on is seen with it only."""

    key: SecretStr | None = Field(
        default=None,
        description="The key itself, best as `${NAME}`. At least 16 characters; only its hash is held.",
    )
    sha256: Annotated[str, StringConstraints(pattern=SHA256, to_lower=True)] | None = Field(
        default=None,
        description="Instead of `key`: its SHA-256 in hex, so that this file holds no secret "
        '(`printf %s "$KEY" | sha256sum`).',
    )

    @field_validator("key")
    @classmethod
    def _not_guessable(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < MIN_KEY_CHARS:
            raise ValueError(
                f"has fewer than {MIN_KEY_CHARS} characters; make one with `openssl rand -hex 24`"
            )
        return key

    def digest(self, hash_of: Callable[[bytes], str]) -> str:
        """The hash that is held, made by `hash_of` where the file has the key itself."""
        return hash_of(self.key.get_secret_value().encode()) if self.key else self.sha256 or ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Key:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("needs either key or sha256; give one of them")
        return self


OPENAI_BASE_URL = "https://api.openai.com/v1"


def _openai() -> dict[str, Upstream]:
    return {"openai": Upstream(base_url=OPENAI_BASE_URL)}


class Settings(Section):
    """The whole configuration."""

    server: Server = Field(
        default_factory=Server,
        description="How the gateway listens, and the limits it holds its clients to.",
    )
    store: Store = Field(default_factory=Store, description="Where exchanges and feedback are kept.")
    capture: Capture = Field(default_factory=Capture, description="What is recorded of an exchange.")
    cache: Cache = Field(
        default_factory=Cache,
        description="Answers kept for repeated requests. Off until a route or a request asks for it.",
    )
    upstreams: dict[Name, Upstream] = Field(
        default_factory=_openai,
        min_length=1,
        description="The base URLs the gateway calls, by a name of your choice. Without this section: "
        "`openai`, with the key in the environment variable `OPENAI_API_KEY` if it is set.",
    )
    custom_hosts: CustomHosts = Field(
        default_factory=CustomHosts,
        description="Hosts that requests may name themselves (`x-portkey-custom-host`). None unless listed. "
        "Only keys that the request brings go there, never one of the gateway's.",
    )
    keys: dict[Name, Key] = Field(
        default_factory=dict,
        description="Virtual keys by a name of your choice. With any, every request needs one, in the header "
        "where its SDK puts its API key, and sees only its own traces. `default` is the name that owns what "
        "was recorded without keys. Without this section no key is asked for.",
    )
    routes: tuple[Route, ...] = Field(
        default=(),
        validate_default=True,
        description="Which models go where, first match wins. With one upstream none are needed.",
    )

    @field_validator("store")
    @classmethod
    def _memory_has_one_worker(cls, store: Store, info: ValidationInfo) -> Store:
        server = info.data.get("server")
        if store.url == "memory:" and server is not None and server.workers > 1:
            raise ValueError(
                "memory: is not shared between workers; use sqlite:///data/gateway.db or server.workers: 1"
            )
        return store

    configs: dict[Name, Plan] = Field(
        default_factory=dict,
        description="Plans that a request may name in `x-portkey-config`, by a name of your choice.",
    )

    @field_validator("routes")
    @classmethod
    def _several_upstreams_need_routes(
        cls, routes: tuple[Route, ...], info: ValidationInfo
    ) -> tuple[Route, ...]:
        names = upstream_names(info)
        if not routes and len(names) > 1:
            raise ValueError(
                f"there are {len(names)} upstreams and no routes to choose between them; "
                f'add a route such as {{models: ["*"], target: {{upstream: {names[0]}}}}}'
            )
        refuse_strays(routes, names)
        return routes

    @field_validator("configs")
    @classmethod
    def _configs_lead_somewhere(cls, configs: dict[str, Plan], info: ValidationInfo) -> dict[str, Plan]:
        refuse_strays(configs, upstream_names(info))
        return configs


def upstream_names(info: ValidationInfo) -> tuple[str, ...]:
    """The loader hands the names in, so that a bad setting of an upstream does not hide a bad route."""
    return (info.context or {}).get("upstream_names") or tuple(info.data.get("upstreams", ()))


def refuse_strays(plans: Mapping[str, Plan] | Sequence[Plan], names: tuple[str, ...]) -> None:
    """Every target's upstream must exist. Raises ValidationError with all that do not."""
    if not names:
        return
    entries = plans.items() if isinstance(plans, Mapping) else enumerate(plans)
    strays = [stray for at, plan in entries for stray in _strays(plan, (at,), names)]
    if strays:
        raise ValidationError.from_exception_data("targets", strays)


def _strays(target: Target, at: tuple[str | int, ...], names: tuple[str, ...]) -> Iterator[InitErrorDetails]:
    if target.upstream is not None and target.upstream not in names:
        yield _stray((*at, "upstream"), target.upstream, names)
    for index, inner in enumerate(target.targets):
        yield from _strays(inner, (*at, "targets", index), names)
    if isinstance(target, Route) and target.target is not None:
        yield from _strays(target.target, (*at, "target"), names)


def _stray(at: tuple[str | int, ...], name: str, names: tuple[str, ...]) -> InitErrorDetails:
    close = get_close_matches(name, names, n=1)
    remedy = f'did you mean "{close[0]}"?' if close else f"upstreams has {', '.join(names)}"
    problem = PydanticCustomError("unknown_upstream", "unknown upstream; {remedy}", {"remedy": remedy})
    return InitErrorDetails(type=problem, loc=at, input=name)
