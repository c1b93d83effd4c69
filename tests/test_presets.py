"""Vendors by configuration: where each preset's requests go and with which credentials, seen at the wire."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
import pytest
import yaml

from gateway.config.load import Overrides, build
from gateway.config.masked import masked_yaml
from gateway.config.presets import PRESETS, row
from gateway.errors import ConfigError
from tests.harness import RawClient, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parent.parent / "README.md"
CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
KEY = "key-of-the-gateway"
BEARER = ("authorization", f"Bearer {KEY}")

DEPLOYMENTS = "https://NAME.openai.azure.com/openai/deployments"

CHAT_TARGETS: dict[str, tuple[str, tuple[str, str]]] = {
    "openai": ("https://api.openai.com/v1/chat/completions", BEARER),
    "azure": ("https://NAME.openai.azure.com/openai/v1/chat/completions", ("api-key", KEY)),
    "azure-deployments": (
        f"{DEPLOYMENTS}/azure-deployments-m/chat/completions?api-version=2024-10-21",
        ("api-key", KEY),
    ),
    "openrouter": ("https://openrouter.ai/api/v1/chat/completions", BEARER),
    "groq": ("https://api.groq.com/openai/v1/chat/completions", BEARER),
    "together": ("https://api.together.ai/v1/chat/completions", BEARER),
    "mistral": ("https://api.mistral.ai/v1/chat/completions", BEARER),
    "deepseek": ("https://api.deepseek.com/chat/completions", BEARER),
    "fireworks": ("https://api.fireworks.ai/inference/v1/chat/completions", BEARER),
    "xai": ("https://api.x.ai/v1/chat/completions", BEARER),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", BEARER),
    "anthropic": ("https://api.anthropic.com/v1/chat/completions", BEARER),
    "ollama": ("http://127.0.0.1:11434/v1/chat/completions", BEARER),
    "vllm": ("http://127.0.0.1:8000/v1/chat/completions", BEARER),
    "llama.cpp": ("http://127.0.0.1:9931/v1/chat/completions", BEARER),
}
"""The whole address of a chat, and the header with the key, as each vendor's own page has it."""

CREDENTIALS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
CLIENTS_OWN = [f"{name}: sk-of-the-client" for name in CREDENTIALS]

COMPLETION = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Paris."},"finish_reason":"stop"}]}'
)


def ok(body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def events(*data: str) -> bytes:
    return b"".join(f"data: {each}\r\n\r\n".encode() for each in data)


def at(port: int, preset: str) -> dict[str, Any]:
    """An upstream of the preset, but with its host on this machine."""
    return {
        "preset": preset,
        "base_url": f"http://127.0.0.1:{port}{urlsplit(PRESETS[preset].base_url).path}",
        "api_key": KEY,
    }


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    """Every preset as an upstream; the model's name chooses, and `renamed-*` asks for another model."""
    upstreams = {name: {**at(wire.port, name), "transport": request.param} for name in PRESETS}
    routes = [{"models": [f"{name}-m*"], "target": {"upstream": name}} for name in PRESETS]
    routes += [
        {"models": [f"renamed-{name}"], "target": {"upstream": name, "model": "real/one"}} for name in PRESETS
    ]
    with run_gateway({"upstreams": upstreams, "routes": routes}) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


def credentials(upstream: WireUpstream) -> dict[str, str]:
    """The credentials that arrived, by their header."""
    found = upstream.request()
    assert b"sk-of-the-client" not in found.raw_head
    return {name: value for name in CREDENTIALS for value in found.all(name)}


# --- every preset ---


def test_each_preset_has_its_address_here() -> None:
    assert list(CHAT_TARGETS) == list(PRESETS)
    for name, preset in PRESETS.items():
        address = CHAT_TARGETS[name][0].replace("azure-deployments-m", "{model}")
        assert address.partition("?")[0] == f"{preset.base_url}/chat/completions"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_chat_goes_to_the_vendors_path_with_our_key_in_its_header(
    client: RawClient, upstream: WireUpstream, preset: str
) -> None:
    address, (header, value) = CHAT_TARGETS[preset]
    body = b'{ "model":"%b-m",  "strange": [1.0] }' % preset.encode()

    client.post(CHAT, body, JSON, *CLIENTS_OWN)

    assert client.read_answer().status == 200
    parts = urlsplit(address)
    assert upstream.request().target.decode() == parts.path + (f"?{parts.query}" if parts.query else "")
    assert credentials(upstream) == {header: value}
    assert upstream.request().body == body


@pytest.mark.parametrize("preset", PRESETS)
def test_the_openai_sdk_is_answered_through_each(
    gateway: RunningGateway, upstream: WireUpstream, preset: str
) -> None:
    upstream.answers(ok(COMPLETION))
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-of-the-client", max_retries=0) as sdk:
        answer = sdk.chat.completions.create(model=f"{preset}-m", messages=[{"role": "user", "content": "?"}])

    assert answer.choices[0].message.content == "Paris."
    assert credentials(upstream) == dict([CHAT_TARGETS[preset][1]])


def test_each_has_its_line_in_the_readme() -> None:
    page = README.read_text(encoding="utf-8").splitlines()
    assert [name for name in PRESETS if row(name) not in page] == []


# --- Anthropic's own API ---


@pytest.mark.parametrize(
    ("preset", "target", "header"),
    [
        ("anthropic", b"/v1/messages", ("x-api-key", KEY)),
        ("deepseek", b"/anthropic/v1/messages", BEARER),
        ("openrouter", b"/api/v1/messages", BEARER),
        ("fireworks", b"/inference/v1/messages", BEARER),
        ("xai", b"/v1/messages", BEARER),
        ("ollama", b"/v1/messages", BEARER),
        ("vllm", b"/v1/messages", BEARER),
        ("llama.cpp", b"/v1/messages", BEARER),
    ],
)
def test_messages_go_to_the_upstream_that_a_route_names(
    client: RawClient, upstream: WireUpstream, preset: str, target: bytes, header: tuple[str, str]
) -> None:
    body = b'{"model":"%b-m","max_tokens":1,"messages":[]}' % preset.encode()
    client.post("/v1/messages", body, JSON, "anthropic-version: 2099-01-01", *CLIENTS_OWN)

    assert client.read_answer().status == 200
    assert upstream.request().target == target
    assert credentials(upstream) == dict([header])
    assert upstream.request().all("anthropic-version") == ["2099-01-01"]
    assert upstream.request().body == body


def test_anthropics_version_is_given_to_a_request_that_has_none(
    client: RawClient, upstream: WireUpstream
) -> None:
    client.post("/v1/messages/count_tokens", b'{"model":"anthropic-m"}', JSON)
    assert client.read_answer().status == 200
    assert upstream.request().all("anthropic-version") == ["2023-06-01"]

    client.post(CHAT, b'{"model":"anthropic-m"}', JSON)
    assert client.read_answer().status == 200
    assert upstream.request(1).all("anthropic-version") == []


def test_a_stream_of_messages_passes_as_it_came_and_is_recorded(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    stream = (
        b'event: message_start\ndata: {"type":"message_start"}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    upstream.answers(ok(stream, "text/event-stream; charset=utf-8"))

    client.post("/v1/messages", b'{"model":"anthropic-m","stream":true}', JSON, f"x-trace-id: {trace}")

    assert client.read_answer().body == stream
    row = gateway.rows.the_exchange(trace)
    assert (row["upstream"], row["requested_model"], row["streamed"]) == ("anthropic", "anthropic-m", 1)


def test_several_keys_are_used_in_turn_in_the_header_of_each_dialect(upstream: WireUpstream) -> None:
    keys = ["first-key-of-ours", "second-key-of-ours"]
    anthropic = {**at(upstream.port, "anthropic"), "api_key": None, "api_keys": keys}
    with run_gateway({"upstreams": {"anthropic": anthropic}}) as running, RawClient(running.port) as client:
        for path in (CHAT, "/v1/messages", CHAT, "/v1/messages", "/v1/messages"):
            client.post(path, b'{"model":"m"}', JSON, *CLIENTS_OWN)
            assert client.read_answer().status == 200

    used = [(found.header("authorization"), found.header("x-api-key")) for found in upstream.requests]
    assert used == [
        (f"Bearer {keys[0]}", None),
        (None, keys[1]),
        (f"Bearer {keys[0]}", None),
        (None, keys[1]),
        (None, keys[0]),
    ]


# --- Gemini's own API ---


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1beta/models/gemini-m:generateContent", b"/v1beta/models/gemini-m:generateContent"),
        (
            "/v1beta/models/gemini-m:streamGenerateContent?alt=sse",
            b"/v1beta/models/gemini-m:streamGenerateContent?alt=sse",
        ),
        ("/v1beta/models/gemini-m:countTokens?key=sk-of-the-client", b"/v1beta/models/gemini-m:countTokens"),
        (
            "/v1beta/models/gemini-m:embedContent?k%65y=sk-of-the-client&alt=json&alt",
            b"/v1beta/models/gemini-m:embedContent?alt=json&alt",
        ),
        ("/v1beta/models/renamed-gemini:generateContent", b"/v1beta/models/real%2Fone:generateContent"),
    ],
)
def test_geminis_paths_go_to_the_upstream_of_the_model_in_them(
    client: RawClient, upstream: WireUpstream, path: str, target: bytes
) -> None:
    body = b'{"contents": [ {"parts":[{"text":"hi"}]} ]}'
    client.post(path, body, JSON, *CLIENTS_OWN)

    assert client.read_answer().status == 200
    assert upstream.request().target == target
    assert credentials(upstream) == {"x-goog-api-key": KEY}
    assert upstream.request().body == body  # the rename is in the path: Gemini knows no `model` in the body


def test_geminis_stream_passes_as_it_came_and_its_model_is_recorded(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    stream = events('{"candidates":[{"content":{"parts":[{"text":"Pa"}]}}]}', '{"candidates":[]}')
    upstream.answers(ok(stream, "text/event-stream"))

    client.post("/v1beta/models/gemini-m:streamGenerateContent?alt=sse", b"{}", JSON, f"x-trace-id: {trace}")

    assert client.read_answer().body == stream
    row = gateway.rows.the_exchange(trace)
    assert (row["upstream"], row["requested_model"]) == ("gemini", "gemini-m")
    assert (row["path"], row["streamed"]) == ("/v1beta/models/gemini-m:streamGenerateContent", 1)


def test_a_path_that_the_upstream_does_not_have_is_told_with_the_remedy(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    client.post("/v1beta/models/groq-m:generateContent", b"{}", JSON, f"x-trace-id: {trace}")

    answer = client.read_answer()
    assert answer.status == 404
    assert answer.json()["error"]["message"] == (
        "upstream groq has no /v1beta; say where it leads with upstreams.groq.paths: {/v1beta: …}, "
        "or route the model to an upstream that has it"
    )
    assert upstream.requests == []
    assert gateway.rows.the_exchange(trace)["error_kind"] == "unknown_path"


# --- Azure ---


@pytest.mark.parametrize("preset", ["azure", "azure-deployments"])
def test_the_azure_sdk_works_with_the_gateway_as_its_endpoint(
    gateway: RunningGateway, upstream: WireUpstream, preset: str
) -> None:
    upstream.answers(ok(COMPLETION))
    with openai.AzureOpenAI(
        azure_endpoint=gateway.url, api_key="sk-of-the-client", api_version="2024-10-21", max_retries=0
    ) as sdk:
        answer = sdk.chat.completions.create(model=f"{preset}-m", messages=[{"role": "user", "content": "?"}])

    assert answer.choices[0].message.content == "Paris."
    assert upstream.request().target == (
        b"/openai/deployments/%b-m/chat/completions?api-version=2024-10-21" % preset.encode()
    )
    assert credentials(upstream) == {"api-key": KEY}


@pytest.mark.parametrize("preset", ["azure", "azure-deployments"])
def test_the_azure_sdk_streams_from_a_deployment_that_a_route_renamed(
    gateway: RunningGateway, upstream: WireUpstream, preset: str
) -> None:
    chunk = (
        '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        '"choices":[{"index":0,"delta":{"content":"Pa"}}]}'
    )
    upstream.answers(ok(events(chunk, "[DONE]"), "text/event-stream"))
    with openai.AzureOpenAI(
        azure_endpoint=gateway.url, azure_deployment=f"renamed-{preset}", api_key="sk-of-the-client",
        api_version="2024-10-21", max_retries=0,
    ) as sdk:  # fmt: skip
        stream = sdk.chat.completions.create(
            model=f"renamed-{preset}", messages=[{"role": "user", "content": "?"}], stream=True
        )
        text = "".join(part.choices[0].delta.content or "" for part in stream)

    assert text == "Pa"
    assert upstream.request().target.startswith(b"/openai/deployments/real%2Fone/chat/completions?")
    assert b'"model":"real/one"' in upstream.request().body


@pytest.mark.parametrize(
    ("path", "model", "target"),
    [
        (CHAT, "renamed-azure-deployments", b"/openai/deployments/real%2Fone/chat/completions"),
        ("/v1/embeddings", "azure-deployments-m", b"/openai/deployments/azure-deployments-m/embeddings"),
        ("/v1/responses", "azure-deployments-m", b"/openai/responses"),
    ],
)
def test_only_what_azure_has_under_a_deployment_goes_there(
    client: RawClient, upstream: WireUpstream, path: str, model: str, target: bytes
) -> None:
    client.post(path, b'{"model":"%b"}' % model.encode(), JSON)

    assert client.read_answer().status == 200
    assert upstream.request().target == target + b"?api-version=2024-10-21"


@pytest.mark.parametrize("model", ["azure-deployments-m/../../x", "azure-deployments-m/%2e%2e/x?y=#z"])
def test_a_model_cannot_leave_its_place_in_the_path(
    client: RawClient, upstream: WireUpstream, model: str
) -> None:
    client.post(CHAT, b'{"model":"%b"}' % model.encode(), JSON)

    answer = client.read_answer()
    if answer.status == 200:
        path = upstream.request().target.partition(b"?")[0]
        assert path.startswith(b"/openai/deployments/azure-deployments-m%2F")
        assert path.count(b"/") == 5
    else:
        assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_path")
        assert upstream.requests == []


# --- the settings ---


def load(text: str) -> Any:
    return build(yaml.safe_load(text), {}, Overrides()).settings.upstreams


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(text)
    return error.value.problems


def test_what_is_written_wins_over_the_preset() -> None:
    [upstream] = load(
        "upstreams: {a: {preset: gemini, base_url: 'http://proxy/g', first_byte_timeout_s: 5}}"
    ).values()
    assert (upstream.base_url, upstream.provider, upstream.first_byte_timeout_s) == (
        "http://proxy/g",
        "gemini",
        5,
    )
    [upstream] = load("upstreams: {a: {preset: gemini, provider: openai}}").values()
    assert (upstream.base_url, upstream.provider) == (PRESETS["gemini"].base_url, "openai")


def test_mappings_are_laid_over_the_presets_key_by_key() -> None:
    [upstream] = load("upstreams: {a: {preset: deepseek, paths: {/beta: /beta/}}}").values()
    assert upstream.paths == {"/v1/messages": "/anthropic/v1/messages", "/beta": "/beta"}


def test_a_key_without_a_value_leaves_the_presets_word() -> None:
    [upstream] = load("upstreams: {a: {preset: groq, base_url: , api_key: }}").values()
    assert upstream.base_url == PRESETS["groq"].base_url


def test_a_version_that_yaml_takes_for_a_date_is_text() -> None:
    [upstream] = load(
        "upstreams: {a: {preset: azure-deployments, base_url: 'http://n/{model}', "
        "query: {api-version: 2025-04-01}}}"
    ).values()
    assert upstream.query == {"api-version": "2025-04-01"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            "preset: grog",
            'upstreams.a.preset: "grog" cannot be used: there is no such preset; did you mean "groq"?',
        ),
        ("preset: zzzzz", "there is no such preset; there are openai, azure, "),
        (
            "preset: azure",
            "upstreams.a: preset azure needs base_url, since the host is your own; e.g. https://NAME.openai",
        ),
        (
            "base_url: 'http://a/{deployment}'",
            "a base URL may have {model} once, as a whole segment of its path",
        ),
        ("base_url: 'http://{model}/v1'", "as a whole segment of its path"),
        ("base_url: 'http://a/x{model}/v1'", "as a whole segment of its path"),
        ("preset: groq, paths: {v1beta: /x}", "'v1beta' is not a path; write one such as /v1beta"),
        ("preset: groq, paths: {/v1: /x}", "/v1 leads to base_url; change that instead"),
        ("preset: groq, paths: {/ui/x: /x}", "/ui/x is the gateway's own; choose another path"),
        ("preset: groq, paths: {/a: /x/../y}", "is not a path"),
        ("preset: groq, api_key: secret-1, api_keys: [secret-2]", "upstreams.a.api_keys: "),
        ("preset: groq, api_keys: [secret-1, secret-1]", "has one key twice; remove it once"),
        ("preset: groq, api_keys: ['secret 1']", "a key has visible ASCII characters only"),
        (
            "preset: groq, rest_s: 60, max_rest_s: 30",
            "upstreams.a: max_rest_s is less than rest_s; make it 60",
        ),
        ("preset: groq, retry_budget: -1", "upstreams.a.retry_budget: -1 is too small; use 0 or more"),
        ("preset: groq, query: {api-version: [1]}", "upstreams.a.query.api-version: **** is not text"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(settings: str, sentence: str) -> None:
    [problem] = refused(f"upstreams: {{a: {{{settings}}}}}")
    assert sentence in problem
    assert "secret" not in problem


def test_keys_and_query_are_masked_where_the_configuration_is_shown() -> None:
    document = yaml.safe_load(
        "upstreams: {a: {preset: groq, api_keys: [secret-of-sixteen-1, secret-of-sixteen-2], "
        "query: {api-version: v, token: secret}}}"
    )
    shown = masked_yaml(build(document, {}, Overrides()).settings)
    assert "secret" not in shown
    assert "****en-1" in shown
    assert "api-version: v" in shown
    assert list(yaml.safe_load(shown)["upstreams"]["a"]["api_keys"]) == ["****en-1", "****en-2"]


def test_several_keys_or_one_are_the_upstreams_keys() -> None:
    [several] = load("upstreams: {a: {preset: groq, api_keys: [one, '', two]}}").values()
    [one] = load("upstreams: {a: {preset: groq, api_key: one}}").values()
    [none] = load("upstreams: {a: {preset: groq, api_key: ''}}").values()
    assert (several.keys, one.keys, none.keys) == (("one", "two"), ("one",), ())
