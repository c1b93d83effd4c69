"""Where a path leads at an upstream, and what it says: the rules, and prefixes at the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.api import health
from gateway.api.routes import router
from gateway.compat.registry import vendors
from gateway.config.urls import OWN_PREFIXES
from gateway.endpoints import page_routes
from gateway.errors import InvalidField, InvalidPath, UnknownPath
from gateway.providers.credentials import credential_header, default_headers, headers_for
from gateway.providers.paths import UpstreamPaths, dialect, model_in_path, with_model
from tests.harness import RawClient, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = "content-type: application/json"
DEPLOYMENTS = UpstreamPaths("azure", b"/openai/deployments/{model}", native={"/openai": "/openai"})


# --- what a path says ---


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/v1/models/meta-llama/Llama-3:free", "meta-llama/Llama-3:free"),
        ("/v1/models/ft:gpt-4o:acme::x1", "ft:gpt-4o:acme::x1"),
        ("/v1/models/gemini:generateContent", "gemini"),
        ("/v1/models/", None),
        ("/v1/models", None),
        ("/v1/chat/completions", None),
        ("/v1/files/models/x", None),
        ("/v1beta/models/gemini:generateContent", "gemini"),
        ("/v1beta/models/a:b:predict", "a:b"),
        ("/v1beta/models/gemini", "gemini"),
        ("/v1beta/models", None),
        ("/v1beta/files/1", None),
        ("/openai/deployments/gpt/chat/completions", "gpt"),
        ("/openai/deployments/a:b/embeddings", "a:b"),
        ("/openai/responses", None),
    ],
)
def test_the_model_that_a_path_names(path: str, model: str | None) -> None:
    assert model_in_path(path) == model


@given(
    st.sampled_from(["/v1/models/%s", "/v1beta/models/%s:countTokens", "/openai/deployments/%s/chat"]),
    st.text(),
)
def test_a_renamed_path_names_the_new_model_and_nothing_else_changes(template: str, model: str) -> None:
    assume(model and "/" not in model and not any("\ud800" <= char <= "\udfff" for char in model))
    assume(not template.startswith("/v1/") or ":" not in model)

    renamed = with_model((template % "old").encode(), model)

    assert model_in_path(unquote(renamed.decode())) == model
    assert renamed.count(b"/") == template.count("/")


@pytest.mark.parametrize(
    ("provider", "path", "expected"),
    [
        ("openai", "/v1/messages", "openai"),
        ("anthropic", "/v1/chat/completions", "openai"),
        ("anthropic", "/v1/messages", "native"),
        ("anthropic", "/v1/models", "native"),
        ("gemini", "/v1/chat/completions", "openai"),
        ("gemini", "/v1/models", "openai"),
        ("gemini", "/v1beta/models/x:generateContent", "native"),
        ("gemini", "/v1/models/x:generateContent", "native"),
        ("azure", "/v1/responses", "openai"),
    ],
)
def test_whose_api_a_path_is_of(provider: str, path: str, expected: str) -> None:
    assert dialect(provider, path) == expected


def test_one_key_goes_in_the_header_of_each_dialect() -> None:
    assert headers_for("gemini", "k") == {
        "openai": [(b"authorization", b"Bearer k")], "native": [(b"x-goog-api-key", b"k")],
    }  # fmt: skip
    assert headers_for("anthropic", "k")["native"] == [(b"x-api-key", b"k")]
    assert credential_header("azure", "k") == (b"api-key", b"k")
    assert [
        provider for provider in ("openai", "azure", "gemini") if any(default_headers(provider).values())
    ] == []


# --- where it leads ---


def test_a_plain_upstream_gets_path_and_query_as_they_came() -> None:
    plain = UpstreamPaths("u", b"/base")
    assert plain(b"/v1/files/a%2Fb", b"limit=2&x=%20") == b"/base/files/a%2Fb?limit=2&x=%20"
    assert plain(b"/v1/chat/completions", b"", model="m") == b"/base/chat/completions"


def test_the_longest_prefix_wins_and_only_whole_segments_count() -> None:
    paths = UpstreamPaths(
        "u",
        b"/base",
        native={"/a": "/x", "/a/b": "/y", "/v1/messages": "/anthropic/v1/messages", "/root": ""},
    )
    assert paths(b"/a/b/c", b"") == b"/y/c"
    assert paths(b"/a/bc", b"") == b"/x/bc"
    assert paths(b"/a", b"q=1") == b"/x?q=1"
    assert paths(b"/root", b"") == b"/"
    assert paths(b"/root/c", b"") == b"/c"
    assert paths(b"/v1/messages/count_tokens", b"") == b"/anthropic/v1/messages/count_tokens"
    assert paths(b"/v1/messages2", b"") == b"/base/messages2"
    with pytest.raises(
        UnknownPath, match=r"upstream u has no /ab; say where it leads with upstreams\.u\.paths"
    ):
        paths(b"/ab", b"")


def test_query_parameters_of_the_configuration_replace_the_clients() -> None:
    paths = UpstreamPaths("u", b"/b", query={"api-version": "2024 x", "b": "&"}, dropped=(b"key",))
    assert paths(b"/v1/x", b"") == b"/b/x?api-version=2024%20x&b=%26"
    assert paths(b"/v1/x", b"a=1&api%2Dversion=9&key=k&&c") == b"/b/x?a=1&c&api-version=2024%20x&b=%26"


def test_a_deployment_without_a_model_is_refused() -> None:
    with pytest.raises(InvalidField, match="the request names none; send a model"):
        DEPLOYMENTS(b"/v1/chat/completions", b"")
    assert DEPLOYMENTS(b"/v1/models", b"") == b"/openai/models"


def test_a_base_url_with_the_model_elsewhere_always_needs_it() -> None:
    paths = UpstreamPaths("u", b"/serving/{model}/v1")
    assert paths(b"/v1/models", b"", model="m") == b"/serving/m/v1/models"
    with pytest.raises(InvalidField):
        paths(b"/v1/models", b"")


@given(st.text(min_size=1))
def test_a_model_stays_in_its_segment_or_is_refused(model: str) -> None:
    try:
        target = DEPLOYMENTS(b"/v1/chat/completions", b"", model=model)
    except InvalidPath:
        return
    segments = target.split(b"/")
    assert [*segments[:3], *segments[4:]] == [b"", b"openai", b"deployments", b"chat", b"completions"]
    assert segments[3] not in (b"", b".", b"..")
    assert not set(target) & set(b"?# \r\n\\;")


@pytest.mark.parametrize("prefix", ["/v1", "/v1beta", "/openai", "/v1/messages"])
@pytest.mark.parametrize(
    "rest", ["/../admin", "/a/./b", "/%2e%2E/admin", "/a/.%2e", "/..", "/a%2f..%2fb", "/a/..;/b"]
)
def test_dot_segments_are_refused_under_every_prefix(prefix: str, rest: str) -> None:
    natives = {"/v1beta": "/v1beta", "/openai": "/openai", "/v1/messages": "/anthropic/v1/messages"}
    paths = UpstreamPaths("u", b"/base", native=natives)
    with pytest.raises(InvalidPath):
        paths((prefix + rest).encode(), b"")


# --- prefixes at the wire ---


@pytest.fixture(scope="module")
def gateway(wire: WireUpstream) -> Iterator[RunningGateway]:
    """One upstream without routes, with a path of its own besides /v1."""
    upstream: dict[str, Any] = {"base_url": wire.base_url, "paths": {"/tools/rerank": "/api/rerank"}}
    with run_gateway({"upstreams": {"only": upstream}}) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


def test_a_configured_prefix_is_forwarded_and_recorded(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    client.post(
        "/tools/rerank/v2?a=b", b'{"model":"m"}', JSON, f"x-trace-id: {trace}", "authorization: Bearer c"
    )

    assert client.read_answer().body == b'{"fine": true}\n'
    assert upstream.request().target == b"/api/rerank/v2?a=b"
    assert upstream.request().all("authorization") == ["Bearer c"]
    row = gateway.rows.the_exchange(trace)
    assert (row["path"], row["requested_model"]) == ("/tools/rerank/v2", "m")


@pytest.mark.parametrize("path", ["/toolsrerank/x", "/tools/rerankx/y", "/tools/x"])
def test_what_only_resembles_a_prefix_is_not_forwarded(
    client: RawClient, upstream: WireUpstream, path: str
) -> None:
    client.get(path)
    assert client.read_answer().json()["error"]["code"] == "unknown_path"
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path", ["/openai/deployments/m/chat/completions", "/v1beta/models/m:generateContent"]
)
def test_a_vendors_own_path_is_told_what_is_missing(
    client: RawClient, upstream: WireUpstream, path: str
) -> None:
    client.post(path, b"{}", JSON)

    answer = client.read_answer()
    assert answer.status == 404
    assert "upstream only has no /" in answer.json()["error"]["message"]
    assert upstream.requests == []


def test_a_prefix_climbs_nowhere(client: RawClient, upstream: WireUpstream) -> None:
    client.post("/tools/rerank/%2e%2e/admin", b"{}", JSON)
    assert client.read_answer().json()["error"]["code"] == "invalid_path"
    assert upstream.requests == []


def test_every_path_of_our_own_is_kept_from_upstreams() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return Anything()

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return Anything()

        def __iter__(self) -> Iterator[Any]:
            return iter(())

    anything: Any = Anything()
    served = router(anything, vendors(anything), [*health.routes(anything), *page_routes(anything)])
    firsts = {getattr(route, "path", "/").split("/")[1] for route in served.routes}
    assert firsts - {"", "v1"} <= OWN_PREFIXES
