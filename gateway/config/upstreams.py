"""The settings of an upstream: where it is, how it is called, and within which limits."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.config.headers import SetHeaders
from gateway.config.presets import check_preset, with_preset
from gateway.config.section import PARAMETER, HeaderName, Seconds, Section
from gateway.config.urls import check_base_url, check_path, check_prefix, check_proxy_url, is_visible_ascii

Switch = TypeVar("Switch", str | None, bool)

CREDENTIAL_HEADERS = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "x-api-key",
        "x-goog-api-key", "x-portkey-api-key", "x-portkey-virtual-key", "x-portkey-config",
        "confident-api-key", "confident_api_key", "x-log10-token", "x-amz-security-token",
    }
)  # fmt: skip


Parameter = Annotated[str, StringConstraints(pattern=PARAMETER)]


class Upstream(Section):
    """A base URL we call, with its credentials, limits and timeouts."""

    preset: str | None = Field(
        default=None,
        description="A vendor's settings by name, e.g. `groq`; what is written beside it wins.",
    )
    base_url: str = Field(
        description="Where `/v1` of the gateway leads, e.g. `https://api.openai.com/v1`. `{model}` in it is "
        "replaced by the request's model."
    )
    provider: Literal["openai", "azure", "anthropic", "gemini"] = Field(
        default="openai", description="The dialect it speaks; decides the header that carries `api_key`."
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The provider's key. Without one the client's own `Authorization` is forwarded.",
    )
    api_keys: tuple[SecretStr, ...] = Field(
        default=(),
        description="Instead of `api_key`: several, used in turn; one that is told 429 rests alone.",
    )
    headers: SetHeaders = Field(
        default_factory=dict, description="Headers set on every request, replacing the client's."
    )
    query: dict[Parameter, str] = Field(
        default_factory=dict,
        description="Query parameters set on every request, replacing the client's, "
        "e.g. `{api-version: 2024-10-21}`.",
    )
    paths: dict[str, str] = Field(
        default_factory=dict,
        description="Further paths of the gateway and the upstream's own that they lead to, "
        "e.g. `{/v1beta: /v1beta}`. `gemini` and `azure` have theirs without it.",
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
    retry_budget: float = Field(
        default=0.2,
        ge=0,
        le=10,
        description="Retries there may be for each request, on average, so that an outage is not multiplied.",
    )
    min_retries_per_s: float = Field(
        default=10.0, ge=0, le=10_000, description="Retries that are allowed however few requests there are."
    )
    rest_after_failures: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="After so many failures in a row it rests and others are tried first; 0: it never rests.",
    )
    rest_s: Seconds = Field(
        default=10.0, description="How long it rests before one request tries it again; doubles each time."
    )
    max_rest_s: Seconds = Field(default=300.0, description="Where the doubling ends.")
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

    @property
    def keys(self) -> tuple[str, ...]:
        """The provider's keys; none where the client's own is forwarded."""
        given = self.api_keys or ((self.api_key,) if self.api_key else ())
        return tuple(key.get_secret_value() for key in given)

    @model_validator(mode="before")
    @classmethod
    def _with_its_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("preset"), str):
            return data
        merged = with_preset(data)
        # An unknown preset is reported as such, and not a second time as the base URL that it did not give.
        return merged if merged.get("base_url") else {**merged, "base_url": "http://unknown.invalid"}

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, name: str | None) -> str | None:
        return check_preset(name) if name is not None else None

    @field_validator("api_key")
    @classmethod
    def _empty_key_is_none(cls, key: SecretStr | None) -> SecretStr | None:
        return next(iter(_usable(() if key is None else (key,))), None)

    @field_validator("api_keys")
    @classmethod
    def _empty_keys_are_none(cls, keys: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        given = _usable(keys)
        if given and info.data.get("api_key") is not None:
            raise ValueError("there is api_key, too; put all of them into api_keys")
        if len({key.get_secret_value() for key in given}) < len(given):
            raise ValueError("has one key twice; remove it once")
        return given

    @field_validator("query", mode="before")
    @classmethod
    def _as_text(cls, query: Any) -> Any:
        """YAML reads `api-version: 2024-10-21` as a date."""
        if not isinstance(query, dict):
            return query
        return {
            name: str(value) if isinstance(value, date | int) and not isinstance(value, bool) else value
            for name, value in query.items()
        }

    @field_validator("paths")
    @classmethod
    def _each_path_leads_somewhere(cls, paths: dict[str, str]) -> dict[str, str]:
        return {check_prefix(prefix): check_path(path) for prefix, path in paths.items()}

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

    @model_validator(mode="after")
    def _rests_grow(self) -> Self:
        if self.max_rest_s < self.rest_s:
            raise ValueError(f"max_rest_s is less than rest_s; make it {self.rest_s:g} or more")
        return self


def _usable(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """The keys that are not empty, as a variable that is not set leaves them. Raises ValueError."""
    given = tuple(key for key in keys if key.get_secret_value().strip())
    if not all(is_visible_ascii(key.get_secret_value()) for key in given):
        raise ValueError("a key has visible ASCII characters only; check for a stray space or line break")
    return given
