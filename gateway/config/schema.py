"""Every setting with its type, default and help: the one place where a user setting is born.

The reference in README.md is generated from here. No files and no environment are read here; that is
`gateway.config.load`.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from gateway.config.urls import check_base_url, check_proxy_url, check_store_url, is_visible_ascii

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"
HEADER_VALUE = r"^[\t\x20-\x7e]{0,8192}$"
SHA256 = r"^[0-9A-Fa-f]{64}$"

PATTERN_MEANINGS = {
    NAME: "1 to 64 letters, digits, dots, hyphens and underscores, beginning with a letter or a digit",
    HEADER_NAME: "an HTTP header name such as x-team, up to 128 characters",
    HEADER_VALUE: "visible ASCII characters on one line, up to 8192",
    SHA256: "the 64 hexadecimal digits of a SHA-256",
}
"""What a pattern asks for, in words for the person whose value did not match it."""

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(pattern=NAME)]
HeaderName = Annotated[str, StringConstraints(pattern=HEADER_NAME, to_lower=True)]
HeaderValue = Annotated[str, StringConstraints(pattern=HEADER_VALUE, strip_whitespace=True)]

MIB = 1024 * 1024
MIN_KEY_CHARS = 16

Switch = TypeVar("Switch", str | None, bool)

CREDENTIAL_HEADERS = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "x-api-key",
        "x-goog-api-key", "x-portkey-api-key", "x-portkey-virtual-key", "x-portkey-config",
        "confident-api-key", "confident_api_key", "x-log10-token", "x-amz-security-token",
    }
)  # fmt: skip

FRAMING_HEADERS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te",
        "trailer", "upgrade", "expect",
    }
)  # fmt: skip
"""Headers a transport sets itself (RFC 9110 section 7.6.1, RFC 9112 section 6); set twice they break it."""


class Section(BaseModel):
    """A part of the configuration. Unknown keys are refused; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _as_written_in_yaml(cls, data: Any) -> Any:
        """Let a key without a value keep its default, and refuse `yes` where a number belongs."""
        if data is None:
            return {}
        if not isinstance(data, dict):
            return data
        return {
            key: _not_a_number(value) if cls._is_number(key) else value
            for key, value in data.items()
            if value is not None or key not in cls.model_fields
        }

    @classmethod
    def _is_number(cls, key: Any) -> bool:
        return key in cls.model_fields and cls.model_fields[key].annotation in (int, float)


def _not_a_number(value: Any) -> Any:
    """pydantic reads True as 1; as text it is refused."""
    return str(value).lower() if isinstance(value, bool) else value


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


class Upstream(Section):
    """A base URL we call, with its credentials, limits and timeouts."""

    base_url: str = Field(description="Where `/v1` of the gateway leads, e.g. `https://api.openai.com/v1`.")
    provider: Literal["openai", "azure", "anthropic", "gemini"] = Field(
        default="openai", description="The dialect it speaks; decides the header that carries `api_key`."
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The provider's key. Without one the client's own `Authorization` is forwarded.",
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Headers set on every request, replacing the client's."
    )
    forward_headers: tuple[HeaderName, ...] = Field(
        default=(),
        description="The gateway's own headers (`x-trace-id`, `x-portkey-*`, …) to send upstream after all.",
    )
    transport: Literal["native", "httpx"] = Field(
        default="native", description="`native`: HTTP/1.1, fast. `httpx`: also proxies and HTTP/2."
    )
    connect_timeout_s: Seconds = Field(
        default=10.0, description="Limit for a connection, TLS included, to be ready."
    )
    first_byte_timeout_s: Seconds = Field(
        default=600.0, description="Limit from the request to the answer's first byte."
    )
    idle_timeout_s: Seconds = Field(default=300.0, description="Limit between two bytes of the answer.")
    total_timeout_s: Seconds = Field(default=1800.0, description="Limit for the whole exchange.")
    max_connections: int = Field(
        default=1000, ge=1, le=100_000, description="Connections open at once; more wait."
    )
    max_idle_connections: int = Field(
        default=100, ge=0, le=100_000, description="Connections kept for the next request."
    )
    keepalive_expiry_s: Seconds = Field(default=30.0, description="How long an idle connection is kept.")
    on_disconnect: Literal["cancel", "drain"] = Field(
        default="cancel",
        description="When the client goes away: cancel the call, or read it to its end for the record.",
    )
    proxy: str | None = Field(default=None, description="HTTP or SOCKS proxy URL (needs `transport: httpx`).")
    http2: bool = Field(default=False, description="Speak HTTP/2 where offered (needs `transport: httpx`).")
    ca_file: str | None = Field(default=None, description="PEM file of the certificate authorities to trust.")
    verify_tls: bool = Field(default=True, description="Check the upstream's certificate.")

    @field_validator("base_url")
    @classmethod
    def _http_url(cls, url: str) -> str:
        return check_base_url(url)

    @field_validator("api_key")
    @classmethod
    def _empty_key_is_none(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None or not key.get_secret_value().strip():
            return None
        if not is_visible_ascii(key.get_secret_value()):
            raise ValueError("a key has visible ASCII characters only; check for a stray space or line break")
        return key

    @field_validator("headers", mode="before")
    @classmethod
    def _each_header_once(cls, headers: Any) -> Any:
        if isinstance(headers, dict):
            names = [name.lower() for name in headers if isinstance(name, str)]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{name} is there twice (case does not matter); remove one")
        return headers

    @field_validator("headers")
    @classmethod
    def _no_framing(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if name in FRAMING_HEADERS:
                raise ValueError(f"{name} is set by the gateway for every request; remove it")
        return headers

    @field_validator("proxy")
    @classmethod
    def _proxy_url(cls, url: str | None) -> str | None:
        return check_proxy_url(url) if url else None

    @field_validator("proxy", "http2")
    @classmethod
    def _httpx_only(cls, value: Switch, info: ValidationInfo) -> Switch:
        if value and info.data.get("transport") == "native":
            raise ValueError(f"{info.field_name} needs transport: httpx; add it or remove {info.field_name}")
        return value

    @field_validator("ca_file")
    @classmethod
    def _empty_file_is_none(cls, path: str | None) -> str | None:
        return path or None


class Target(Section):
    """An upstream that a route leads to."""

    upstream: Name = Field(description="Name of an entry in `upstreams`.")


class Route(Section):
    """An incoming model name mapped to a target."""

    models: tuple[Annotated[str, StringConstraints(min_length=1, max_length=256)], ...] = Field(
        min_length=1,
        description='Model names or patterns (`gpt-*`). `"*"` matches all, also requests without a model.',
    )
    target: Target = Field(description="Where matching requests go.")


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
    upstreams: dict[Name, Upstream] = Field(
        default_factory=_openai,
        min_length=1,
        description="The base URLs the gateway calls, by a name of your choice. Without this section: "
        "`openai`, with the key in the environment variable `OPENAI_API_KEY` if it is set.",
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

    @field_validator("routes")
    @classmethod
    def _routes_lead_somewhere(cls, routes: tuple[Route, ...], info: ValidationInfo) -> tuple[Route, ...]:
        """Every target must be an upstream, and several upstreams need routes.

        The loader hands in the names as `context={"upstream_names": …}`, so that a bad setting of an upstream
        does not hide a bad route.
        """
        names = (info.context or {}).get("upstream_names") or tuple(info.data.get("upstreams", ()))
        if not names:
            return routes
        if not routes and len(names) > 1:
            raise ValueError(
                f"there are {len(names)} upstreams and no routes to choose between them; "
                f'add a route such as {{models: ["*"], target: {{upstream: {names[0]}}}}}'
            )
        strays = [(i, r.target.upstream) for i, r in enumerate(routes) if r.target.upstream not in names]
        if strays:
            raise ValidationError.from_exception_data(
                "routes", [_stray(i, name, names) for i, name in strays]
            )
        return routes


def _stray(index: int, name: str, names: tuple[str, ...]) -> InitErrorDetails:
    close = get_close_matches(name, names, n=1)
    remedy = f'did you mean "{close[0]}"?' if close else f"upstreams has {', '.join(names)}"
    problem = PydanticCustomError("unknown_upstream", "unknown upstream; {remedy}", {"remedy": remedy})
    return InitErrorDetails(type=problem, loc=(index, "target", "upstream"), input=name)
