"""No secret is ever shown: not in the effective configuration, not in a sentence about a mistake."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.load import build
from gateway.config.masked import is_credential_header, masked_key, masked_yaml
from gateway.config.upstreams import CREDENTIAL_HEADERS
from gateway.config.urls import masked_url
from gateway.errors import ConfigError

SECRETS = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=8, max_size=60
).map(lambda text: f"sk-{text}")
PLACES = [
    "api_key",
    "header",
    "credential header",
    "proxy password",
    "proxy user",
    "base_url user",
    "base_url query",
]


def upstream(place: str, secret: str) -> dict[str, Any]:
    data: dict[str, Any] = {"base_url": "https://api.example.com/v1", "transport": "httpx"}
    return (
        data
        | {
            "api_key": {"api_key": secret},
            "header": {"headers": {"x-team": secret}},
            "credential header": {"headers": {"X-Provider-Token": secret}},
            "proxy password": {"proxy": f"http://me:{secret}@proxy:3128"},
            "proxy user": {"proxy": f"socks5://{secret}@proxy:1080"},
            "base_url user": {"base_url": f"https://{secret}@api.example.com/v1"},
            "base_url query": {"base_url": f"https://api.example.com/v1?key={secret}"},
        }[place]
    )


def shown(data: dict[str, Any], environ: dict[str, str]) -> str:
    """What `gateway check-config` would print."""
    try:
        loaded = build(data, environ)
    except ConfigError as refused:
        return "\n".join(refused.problems)
    return masked_yaml(loaded.settings, loaded.from_environment)


@given(secret=SECRETS, place=st.sampled_from([place for place in PLACES if place != "header"]))
def test_a_secret_in_the_file_is_never_shown(secret: str, place: str) -> None:
    assert secret not in shown({"upstreams": {"a": upstream(place, secret)}}, {})


@given(secret=SECRETS, place=st.sampled_from(PLACES))
def test_a_secret_from_the_environment_is_never_shown(secret: str, place: str) -> None:
    assert secret not in shown({"upstreams": {"a": upstream(place, "${SECRET}")}}, {"SECRET": secret})


@given(secret=SECRETS, place=st.sampled_from(PLACES), damage=st.sampled_from([" ", "\n", "\x1b", "ü", "\t"]))
def test_a_damaged_secret_is_refused_without_being_shown(secret: str, place: str, damage: str) -> None:
    text = shown({"upstreams": {"a": upstream(place, f"${{SECRET}}{damage}x")}}, {"SECRET": secret})
    assert secret not in text


@given(secret=SECRETS, key=st.sampled_from(["port", "workers", "keep_alive_s", "log_level", "host"]))
def test_a_secret_that_slipped_into_another_setting_is_never_shown(secret: str, key: str) -> None:
    """Except the host, which is plain to see in `ss -l` as well."""
    text = shown({"server": {key: "${SECRET}"}}, {"SECRET": secret})
    assert secret not in text or key == "host"


@given(
    secret=SECRETS,
    data=st.sampled_from(
        [
            lambda secret: {"upstreams": {"a": secret}},
            lambda secret: {"upstreams": secret},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "headers": secret}}},
            lambda secret: {
                "upstreams": {"a": {"base_url": "http://a", "headers": {"x-key": {"a": secret}}}}
            },
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "headers": {"x y": secret}}}},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "api_key": [secret]}}},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "apikey": secret}}},
            lambda secret: {"upstreams": {"a": {"api_key": secret}}},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "api_key": secret + "${NOPE}"}}},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "api_key": secret + "${"}}},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "proxy": f"http://u:{secret}/x@h"}}},
            lambda secret: {"upstreams": {"a": {"base_url": "http://a", "proxy": f"u:{secret}@h"}}},
            lambda secret: {"api_key": secret},
            lambda secret: {"store": {"url": f"postgres://u:{secret}@h/d"}},
        ]
    ),
)
def test_a_secret_in_a_refused_configuration_is_never_shown(secret: str, data: Any) -> None:
    text = shown(data(secret), {})
    assert secret not in text
    assert text


@pytest.mark.parametrize(
    ("key", "masked"),
    [
        ("short", "****"),
        ("fifteen-letters", "****"),
        ("sixteen-letters!", "****ers!"),
        ("sk-" + "x" * 40, "****xxxx"),
    ],
)
def test_only_a_long_key_keeps_its_last_four_characters(key: str, masked: str) -> None:
    assert masked_key(key) == masked


@pytest.mark.parametrize(
    "name",
    [
        *sorted(CREDENTIAL_HEADERS),
        "X-My-Key",
        "x-token",
        "secret-thing",
        "x-AUTH-y",
        "x-session-id",
    ],
)
def test_headers_that_look_like_credentials_are_known(name: str) -> None:
    assert is_credential_header(name)


@pytest.mark.parametrize("name", ["x-team", "openai-organization", "user-agent", "accept"])
def test_other_headers_are_shown(name: str) -> None:
    data = {"upstreams": {"a": {"base_url": "http://a", "headers": {name: "plain"}}}}
    assert yaml.safe_load(shown(data, {}))["upstreams"]["a"]["headers"] == {name: "plain"}


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://user:pass@host:1/x", "http://****@host:1/x"),
        ("http://user@host", "http://****@host"),
        ("http://u:p@ss@host", "http://****@host"),
        ("u:p://ss@host", "****@host"),
        ("http://host/?k=v#f", "http://host/?****"),
        ("http://host/#f", "http://host/#****"),
        ("memory:", "memory:"),
    ],
)
def test_urls_are_shown_without_what_may_be_secret(url: str, masked: str) -> None:
    assert masked_url(url) == masked


def test_what_is_shown_is_the_whole_configuration_and_valid_yaml() -> None:
    loaded = build({}, {"OPENAI_API_KEY": "sk-1234567890abcdef"})
    effective = yaml.safe_load(masked_yaml(loaded.settings, loaded.from_environment))

    assert effective["upstreams"]["openai"].pop("api_key") == "****cdef"
    data = loaded.settings.model_dump(mode="json")
    data["upstreams"]["openai"].pop("api_key")
    assert effective == data
    assert build(effective, {}).settings == build({}, {}).settings


def test_a_representation_of_the_settings_hides_the_key() -> None:
    assert "sk-12345678" not in repr(build({}, {"OPENAI_API_KEY": "sk-12345678"}).settings)
