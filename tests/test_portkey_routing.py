"""Routing that a request asks for in Portkey's headers: what goes where, with whose key, what is told."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import openai
import portkey_ai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.portkey_answers import answer_headers
from gateway.compat.portkey_config import MAX_PATTERNS
from gateway.compat.portkey_parts import NOT_OK, RETRIED
from gateway.compat.portkey_routing import (
    MAX_REMEMBERED,
    MAX_REMEMBERED_BYTES,
    ROUTING_HEADERS,
    RequestedPlans,
)
from gateway.config.schema import Settings
from gateway.errors import ClientError, InvalidHeader
from gateway.proxy.incoming import ASKING
from gateway.records import Attempt
from gateway.routing.override import merged
from gateway.routing.plan import Conditional, Fallback, Leaf, LoadBalance, Plan, compile_plan
from gateway.routing.table import RouteTable
from gateway.upstreams import upstream_of
from tests.harness import SILENCE, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_KEY = "sk-first-of-the-gateway"
SECOND_KEY = "sk-second-of-the-gateway"
SECRETS = (FIRST_KEY, SECOND_KEY, "header-secret-of-the-gateway")
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
COMPLETION = json.dumps(
    {
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
    }
).encode()  # fmt: skip
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(COMPLETION),
    COMPLETION,
)
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"


# --- at the wire ---


@pytest.fixture(scope="module")
def first() -> Iterator[WireUpstream]:
    with WireUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def second() -> Iterator[WireUpstream]:
    with WireUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(first: WireUpstream, second: WireUpstream) -> Iterator[RunningGateway]:
    config: dict[str, Any] = {
        "upstreams": {
            "first": {
                "base_url": first.base_url,
                "api_key": FIRST_KEY,
                "headers": {"x-team": "header-secret-of-the-gateway"},
                "rest_after_failures": 1000,
            },
            "second": {"base_url": second.base_url, "api_key": SECOND_KEY, "rest_after_failures": 1000},
        },
        "routes": [
            {"models": ["renamed"], "target": {"upstream": "second", "model": "gpt-real"}},
            {"models": ["*"], "target": {"upstream": "first"}},
        ],
        "configs": {
            "spare": {"strategy": "fallback", "targets": [{"upstream": "first"}, {"upstream": "second"}]}
        },
    }
    with run_gateway(config) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    if "gateway" in request.fixturenames:
        for name in ("first", "second"):
            server: WireUpstream = request.getfixturevalue(name)
            server.reset()
            server.always_answers(OK)


def chat(
    gateway: RunningGateway, config: Any = None, body: dict[str, Any] | None = None, **headers: str
) -> httpx.Response:
    """A chat with `config` in its header, and further headers by their names without x-portkey-."""
    sent = {f"x-portkey-{name.replace('_', '-')}": value for name, value in headers.items()}
    if config is not None:
        sent["x-portkey-config"] = config if isinstance(config, str) else json.dumps(config)
    sent["authorization"] = "Bearer sk-of-the-client"
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body or CHAT, headers=sent, timeout=20)


def told(answer: httpx.Response) -> tuple[str | None, str | None, str | None, str | None]:
    """Option index, retries, cache and provider, as the answer's headers tell them."""
    names = ("last-used-option-index", "retry-attempt-count", "cache-status", "provider")
    index, retries, cache, provider = (answer.headers.get(f"x-portkey-{name}") for name in names)
    return index, retries, cache, provider


def key_of(server: WireUpstream) -> str | None:
    return server.request().header("authorization")


def test_a_provider_is_an_upstream_by_its_name(gateway: RunningGateway, second: WireUpstream) -> None:
    for name in ("second", "@second"):
        answer = chat(gateway, provider=name)
        assert (answer.status_code, answer.content) == (200, COMPLETION)
        assert told(answer) == ("config", "0", "DISABLED", "openai")
    assert key_of(second) == f"Bearer {SECOND_KEY}"
    assert [json.loads(request.body) for request in second.requests] == [CHAT, CHAT]


def test_a_virtual_key_is_one_too(gateway: RunningGateway, second: WireUpstream) -> None:
    assert chat(gateway, virtual_key="second").status_code == 200
    assert chat(gateway, {"virtualKey": "second"}).status_code == 200
    assert len(second.requests) == 2


def test_a_vendor_that_could_be_several_upstreams_is_refused(gateway: RunningGateway) -> None:
    answer = chat(gateway, provider="openai")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "x-portkey-provider"
    assert "could be any of the upstreams first, second" in error["message"]


def test_a_fallback_goes_on_after_any_answer_that_is_not_2xx(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream, trace: str
) -> None:
    first.answers(REFUSED)
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [
            {"provider": "first"},
            {"provider": "second", "override_params": {"model": "other", "temperature": 0.5}},
        ],
    }
    answer = chat(gateway, config, trace_id=trace)

    assert told(answer) == ("config.targets[1]", "0", "DISABLED", "openai")
    assert json.loads(second.request().body) == {**CHAT, "model": "other", "temperature": 0.5}
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["upstream"], row["target"]) == (200, "second", "second/other")


def test_on_status_codes_alone_lead_on_where_they_are_given(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream
) -> None:
    first.answers(REFUSED)
    config = {
        "strategy": {"mode": "fallback", "onStatusCodes": [429, 503]},
        "targets": [{"provider": "first"}, {"provider": "second"}],
    }
    answer = chat(gateway, config)
    assert (answer.status_code, told(answer)[0]) == (400, "config.targets[0]")
    first.answers(BUSY)
    assert told(chat(gateway, config))[0] == "config.targets[1]"


def test_portkeys_attempts_are_those_after_the_first(gateway: RunningGateway, first: WireUpstream) -> None:
    config = {"provider": "first", "retry": {"attempts": 2}}
    first.answers(BUSY)
    answer = chat(gateway, config)
    assert (answer.status_code, told(answer)[1], len(first.requests)) == (200, "1", 2)

    first.reset()
    first.always_answers(BUSY)
    answer = chat(gateway, config)
    assert (answer.status_code, told(answer)[1], len(first.requests)) == (503, "-1", 3)


def test_a_config_is_named_in_the_configuration(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream
) -> None:
    first.answers(BUSY)
    answer = chat(gateway, "spare")
    assert (answer.status_code, told(answer)[0]) == (200, "config.targets[1]")

    answer = chat(gateway, "pc-unknown")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith('x-portkey-config: there is no config "pc-unknown"')


def test_a_key_in_the_config_goes_instead_of_the_gateways_and_nowhere_else(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream, trace: str
) -> None:
    first.answers(BUSY)
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "first", "api_key": "sk-in-the-config"}, {"provider": "second"}],
    }
    assert chat(gateway, config, trace_id=trace).status_code == 200

    assert first.request().all("authorization") == ["Bearer sk-in-the-config"]
    assert second.request().all("authorization") == [f"Bearer {SECOND_KEY}"]
    gateway.rows.the_exchange(trace)
    kept = gateway.database
    assert kept is not None
    for file in kept.parent.glob(f"{kept.name}*"):
        assert b"sk-in-the-config" not in file.read_bytes()
    assert "sk-in-the-config" not in gateway.log


def test_two_keys_at_one_upstream_are_two_targets(gateway: RunningGateway, first: WireUpstream) -> None:
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"provider": "first", "api_key": key} for key in ("sk-a", "sk-b", "sk-c")],
    }
    first.answers(BUSY)
    first.answers(BUSY)
    answer = chat(gateway, config)
    assert told(answer)[:2] == ("config.targets[2]", "0")
    assert [request.header("authorization") for request in first.requests] == [
        "Bearer sk-a", "Bearer sk-b", "Bearer sk-c",
    ]  # fmt: skip


def test_the_same_config_with_another_key_is_another_plan(
    gateway: RunningGateway, first: WireUpstream
) -> None:
    for key in ("sk-one", "sk-two", "sk-one"):
        chat(gateway, {"provider": "first", "api_key": key})
    assert [request.header("authorization") for request in first.requests] == [
        "Bearer sk-one", "Bearer sk-two", "Bearer sk-one",
    ]  # fmt: skip


def test_a_config_without_a_provider_keeps_the_models_route(
    gateway: RunningGateway, second: WireUpstream
) -> None:
    second.answers(BUSY)
    answer = chat(gateway, {"retry": {"attempts": 1}}, {**CHAT, "model": "renamed"})
    assert (answer.status_code, told(answer)[1]) == (200, "1")
    assert json.loads(second.request().body)["model"] == "gpt-real"
    assert second.request().header("authorization") == f"Bearer {SECOND_KEY}"


def test_a_model_may_name_its_provider(gateway: RunningGateway, second: WireUpstream) -> None:
    config = {"override_params": {"model": "@second/gpt-5"}}
    assert chat(gateway, config).status_code == 200
    assert json.loads(second.request().body)["model"] == "gpt-5"


def test_a_condition_chooses_by_metadata(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream
) -> None:
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [{"query": {"metadata.plan": {"$eq": "paid"}}, "then": "good"}],
            "default": "cheap",
        },
        "targets": [{"name": "cheap", "provider": "first"}, {"name": "good", "provider": "second"}],
    }
    assert told(chat(gateway, config, metadata='{"plan": "paid"}'))[0] == "config.targets[1]"
    assert told(chat(gateway, config))[0] == "config.targets[0]"


def test_a_request_timeout_answers_408_as_portkeys_does(
    gateway: RunningGateway, first: WireUpstream, trace: str
) -> None:
    first.answers(SILENCE)
    began = time.monotonic()
    answer = chat(gateway, request_timeout="150", trace_id=trace)
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "upstream_first_byte_timeout")
    assert time.monotonic() - began < 3
    assert told(answer)[0] == "config"
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"]) == (408, "upstream_first_byte_timeout")


def test_a_request_timeout_leads_on_to_the_next_target(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream
) -> None:
    first.answers(SILENCE)
    config = {
        "strategy": {"mode": "fallback"},
        "request_timeout": 60_000,
        "targets": [{"provider": "first", "request_timeout": 100}, {"provider": "second"}],
    }
    answer = chat(gateway, config)
    assert (answer.status_code, told(answer)[0]) == (200, "config.targets[1]")


@pytest.mark.parametrize("config", [None, {"provider": "first", "request_timeout": 50}])
def test_impatient_requests_do_not_make_an_upstream_rest_for_all_others(
    first: WireUpstream, second: WireUpstream, config: Any
) -> None:
    settings: dict[str, Any] = {
        "upstreams": {
            "first": {"base_url": first.base_url, "rest_after_failures": 1, "first_byte_timeout_s": 5},
            "second": {"base_url": second.base_url},
        },
        "routes": [
            {
                "models": ["*"],
                "strategy": "fallback",
                "targets": [{"upstream": "first"}, {"upstream": "second"}],
            }
        ],
    }
    first.reset()
    with run_gateway(settings) as running:
        first.answers(0.5, OK)
        chat(running, config, **({} if config else {"request_timeout": "50"}))
        first.always_answers(OK)
        asked = len(first.requests)
        assert chat(running).status_code == 200
        assert len(first.requests) == asked + 1


def test_a_request_timeout_does_not_cut_an_answer_that_has_begun(
    gateway: RunningGateway, first: WireUpstream
) -> None:
    head, _, body = OK.partition(b"\r\n\r\n")
    first.answers(head + b"\r\n\r\n", 0.4, body)
    answer = chat(gateway, request_timeout="200")
    assert (answer.status_code, answer.content) == (200, COMPLETION)


def test_requests_without_these_headers_get_none_in_their_answers(gateway: RunningGateway) -> None:
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200
    assert told(answer) == (None, None, None, None)


BAD = {
    "no JSON": ("{", "x-portkey-config", "is not JSON"),
    "a list": ("[]", "x-portkey-config", "is not an object"),
    "an unknown mode": ({"strategy": {"mode": "sample"}, "targets": [{}]}, "strategy.mode", "use one of"),
    "no strategy": ({"targets": [{"provider": "first"}] * 2}, "strategy", "is missing"),
    "no targets": ({"strategy": {"mode": "fallback"}}, "strategy", "has no targets"),
    "an unknown provider": (
        {"strategy": {"mode": "fallback"}, "targets": [{"provider": "frist"}]},
        "targets[0].provider",
        "there are first, second",
    ),
    "a typing error": ({"proivder": "first"}, "proivder", 'did you mean "provider"?'),
    "guardrails": ({"provider": "first", "inputGuardrails": ["g"]}, "input_guardrails", "are not run here"),
    "too many retries": ({"provider": "first", "retry": {"attempts": 10}}, "retry.attempts", "from 0 to 9"),
    "half a retry": ({"provider": "first", "retry": {"attempts": 1.5}}, "retry.attempts", "whole number"),
    "a success to retry": (
        {"provider": "first", "retry": {"attempts": 1, "on_status_codes": [200]}},
        "retry.on_status_codes",
        "no failure",
    ),
    "a negative weight": (
        {"strategy": {"mode": "loadbalance"}, "targets": [{"provider": "first", "weight": -1}]},
        "targets[0].weight",
        "use 0 or more",
    ),
    "an unknown condition": (
        {
            "strategy": {"mode": "conditional", "conditions": [{"query": {"metadata.a": 1}, "then": "no"}]},
            "targets": [{"provider": "first", "name": "yes"}],
        },
        "strategy.conditions[0].then",
        "the name of no target",
    ),
    "a cache unknown": ({"provider": "first", "cache": {"mode": "magic"}}, "cache.mode", "use simple"),
    "a long timeout": ({"provider": "first", "request_timeout": 10**12}, "request_timeout", "up to"),
    "a host of its own": ({"provider": "first", "custom_host": "https://a.example"}, "custom_host", "off"),
    "a provider beside targets": (
        {"provider": "first", "strategy": {"mode": "single"}, "targets": [{"provider": "first"}]},
        "provider",
        "beside targets",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_followed_is_refused_by_its_path(
    gateway: RunningGateway, first: WireUpstream, name: str
) -> None:
    config, path, remedy = BAD[name]
    answer = chat(gateway, config)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_header"
    assert error["message"].startswith(
        f"{path}: " if path == "x-portkey-config" else f"x-portkey-config: {path}"
    )
    assert remedy in error["message"]
    assert error["param"] == (path if path == "x-portkey-config" else f"x-portkey-config.{path}")
    assert first.requests == []


def test_a_refusal_never_repeats_a_key(gateway: RunningGateway) -> None:
    bad: list[dict[str, Any]] = [
        {"provider": "first", "api_key": "sk secret-with-a-space"},
        {"provider": "first", "api_key": {"sk": "secret-with"}},
        {"virtual_key": "sk-secret-with"},
        {"provider": "first", "api_key": "sk-secret-with", "weight": "x"},
        {"custom_host": "https://user:secret-with@a.example", "api_key": "sk-secret-with"},
    ]
    for config in (*bad, *map(json.dumps, map(json.dumps, bad)), "api_key=sk-secret-with"):
        answer = chat(gateway, config)
        assert answer.status_code == 400
        assert "secret-with" not in answer.text
    assert "secret-with" not in chat(gateway, virtual_key="sk-secret-with").text
    assert "secret-with" not in gateway.log


def test_these_headers_do_not_go_upstream(gateway: RunningGateway, first: WireUpstream) -> None:
    chat(gateway, {"provider": "first", "api_key": "sk-x"}, request_timeout="5000")
    assert [name for name, _ in first.request().headers if b"portkey" in name.lower()] == []


# --- with the real SDKs ---


def test_portkeys_sdk_falls_back_by_its_config(
    gateway: RunningGateway, first: WireUpstream, second: WireUpstream, trace: str
) -> None:
    first.answers(BUSY)
    client = portkey_ai.Portkey(
        base_url=gateway.base_url, api_key="PK", trace_id=trace,
        config={
            "strategy": {"mode": "fallback", "on_status_codes": [429, 503]},
            "targets": [{"provider": "@first"}, {"provider": "@second", "override_params": {"model": "m2"}}],
        },
    )  # fmt: skip
    answer: Any = client.chat.completions.create(model="gpt-4o", messages=CHAT["messages"])  # type: ignore[arg-type]

    assert answer.choices[0].message.content == "hi"
    headers = answer.get_headers()
    assert headers["last-used-option-index"] == "config.targets[1]"
    assert headers["retry-attempt-count"] == "0"
    assert headers["cache-status"] == "DISABLED"
    assert headers["provider"] == "openai"
    assert json.loads(second.request().body)["model"] == "m2"
    assert gateway.rows.the_exchange(trace)["target"] == "second/m2"


def test_portkeys_sdk_names_a_config_and_a_timeout(gateway: RunningGateway, first: WireUpstream) -> None:
    first.answers(SILENCE)
    client = portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK", config="spare", request_timeout=150)
    answer: Any = client.chat.completions.create(model="gpt-4o", messages=CHAT["messages"])  # type: ignore[arg-type]
    assert answer.get_headers()["last-used-option-index"] == "config.targets[1]"


def test_openais_sdk_with_portkeys_headers(gateway: RunningGateway, second: WireUpstream) -> None:
    client = openai.OpenAI(
        base_url=gateway.base_url,
        api_key="unused",
        default_headers=portkey_ai.createHeaders(api_key="PK", provider="@second", request_timeout=5000),
    )
    client.chat.completions.create(model="gpt-4o", messages=CHAT["messages"])  # type: ignore[arg-type]
    assert key_of(second) == f"Bearer {SECOND_KEY}"


# --- the translation by itself ---

SETTINGS = Settings.model_validate(
    {
        "upstreams": {
            "first": {"base_url": "https://first.example/v1", "api_key": FIRST_KEY},
            "claude": {"base_url": "https://claude.example/v1", "provider": "anthropic"},
            "eu": {"preset": "azure", "base_url": "https://eu.openai.azure.com/openai/v1"},
        },
        "routes": [{"models": ["*"], "target": {"upstream": "first"}}],
        "custom_hosts": {"allow": ["*.example.com", "api.groq.com"]},
    }
)
ROUTES = RouteTable(SETTINGS.routes, SETTINGS.upstreams)
CONFIGS = {name: compile_plan(plan) for name, plan in SETTINGS.configs.items()}


def plan_of(config: Any = None, model: str | None = "m", **headers: str) -> Plan:
    found = {
        f"x-portkey-{name.replace('_', '-')}".encode(): value.encode() for name, value in headers.items()
    }
    if config is not None:
        found[b"x-portkey-config"] = json.dumps(config).encode()
    return RequestedPlans(SETTINGS, CONFIGS).plan(found, ROUTES.choose, model)


def test_every_routing_header_is_read_from_the_request() -> None:
    assert ROUTING_HEADERS <= ASKING


def test_other_headers_leave_the_plan_as_it_is() -> None:
    found = {b"x-portkey-cache": b"simple", b"x-portkey-config": b" "}
    assert RequestedPlans(SETTINGS, CONFIGS).plan(found, ROUTES.choose, "m") is ROUTES.choose("m")


@pytest.mark.parametrize(
    ("provider", "upstream"),
    [
        ("first", "first"),
        ("@claude", "claude"),
        ("anthropic", "claude"),
        ("azure-openai", "eu"),
        ("openai", "first"),
    ],
)
def test_a_provider_is_a_name_or_the_one_upstream_of_that_vendor(provider: str, upstream: str) -> None:
    assert [leaf.upstream for leaf in plan_of({"provider": provider}).leaves] == [upstream]


def test_a_vendor_without_an_upstream_is_a_custom_host_if_it_is_allowed() -> None:
    (leaf,) = plan_of({"provider": "groq", "api_key": "gsk"}).leaves
    assert (leaf.base_url, leaf.api_key) == ("https://api.groq.com/openai/v1", "gsk")
    with pytest.raises(InvalidHeader, match="there are first, claude, eu"):
        plan_of({"provider": "mistral-ai", "api_key": "k"})


def test_the_levels_above_hand_down_what_portkeys_do() -> None:
    config = {
        "strategy": {"mode": "loadbalance"},
        "retry": {"attempts": 4},
        "request_timeout": 2000,
        "override_params": {"temperature": 0, "stop": ["a"]},
        "targets": [
            {"provider": "first", "weight": 3},
            {
                "strategy": {"mode": "fallback"},
                "request_timeout": 5000,
                "override_params": {"stop": ["b"]},
                "targets": [{"provider": "first", "retry": {"attempts": 0}}, {"provider": "claude"}],
            },
        ],
    }
    plan = plan_of(config)
    assert isinstance(plan.root, LoadBalance)
    assert plan.root.weights == (3.0, 1.0)
    one, two, three = plan.leaves
    assert [leaf.index for leaf in plan.leaves] == [
        "config.targets[0]", "config.targets[1].targets[0]", "config.targets[1].targets[1]",
    ]  # fmt: skip
    assert [leaf.retry.attempts for leaf in plan.leaves] == [5, 1, 5]
    assert [leaf.first_byte_timeout_s for leaf in plan.leaves] == [2.0, 5.0, 5.0]
    assert one.override_params == {"temperature": 0, "stop": ["a"]}
    assert two.override_params == three.override_params == {"temperature": 0, "stop": ["b"]}


def test_defaults_are_portkeys() -> None:
    plan = plan_of(
        {
            "strategy": {"mode": "fallback"},
            "retry": {"attempts": 1},
            "cache": {"mode": "semantic"},
            "targets": [{"provider": "first"}, {"provider": "claude"}],
        }
    )
    assert isinstance(plan.root, Fallback)
    assert plan.root.on == frozenset(NOT_OK)
    assert frozenset(plan.leaves[0].retry.on) == {*RETRIED, "connection"}
    assert plan.cache is not None
    assert plan.cache.max_age_s == 7 * 86_400


@pytest.mark.parametrize(
    ("codes", "failures"),
    [([429], {429}), ([408], {408, "timeout"}), ([500, 503], {500, 503, "connection"}), ([246, 446], set())],
)
def test_what_portkey_answers_itself_is_told_apart(codes: list[int], failures: set[Any]) -> None:
    config = {
        "strategy": {"mode": "fallback", "on_status_codes": codes},
        "targets": [{"provider": "first"}] * 2,
    }
    root = plan_of(config).root
    assert isinstance(root, Fallback)
    assert root.on - {446} == failures


def test_single_takes_the_first_of_several() -> None:
    config = {"strategy": {"mode": "single"}, "targets": [{"provider": "claude"}, {"provider": "first"}]}
    plan = plan_of(config)
    assert plan.only is not None
    assert (plan.only.upstream, plan.only.index) == ("claude", "config.targets[0]")


def test_both_spellings_mean_the_same() -> None:
    def inner(word: Any) -> dict[str, Any]:
        return {
            word("on_status_codes"): [429],
            "mode": "fallback",
        }

    def camel(key: str) -> str:
        head, *rest = key.split("_")
        return head + "".join(part.capitalize() for part in rest)

    plans = [
        plan_of(
            {
                "strategy": inner(word),
                word("request_timeout"): 700,
                "targets": [
                    {
                        word("virtual_key"): "first",
                        word("api_key"): "k",
                        word("override_params"): {"max_tokens": 5},
                        "retry": {"attempts": 1, word("on_status_codes"): [500]},
                        word("strict_open_ai_compliance"): False,
                        word("forward_headers"): ["x-a"],
                        word("openai_organization"): "org-1",
                    }
                ],
            }
        )
        for word in (str, camel)
    ]
    one, two = (plan.leaves[0] for plan in plans)
    assert all(
        getattr(one, name) == getattr(two, name)
        for name in (
            "label",
            "upstream",
            "override_params",
            "headers",
            "first_byte_timeout_s",
            "retry",
            "api_key",
        )
    )
    assert one.headers == [(b"openai-organization", b"org-1")]
    with pytest.raises(InvalidHeader, match="there twice"):
        plan_of({"provider": "first", "api_key": "a", "apiKey": "b"})


def test_a_conditional_is_ours() -> None:
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [
                {"query": {"$or": [{"params.model": {"$regex": "^gpt"}}, {"metadata.a": "b"}]}, "then": "x"}
            ],
            "default": "y",
        },
        "targets": [{"name": "x", "provider": "first"}, {"name": "y", "provider": "claude"}],
    }
    plan = plan_of(config)
    assert isinstance(plan.root, Conditional)


def test_nesting_and_number_of_targets_are_bounded() -> None:
    config: dict[str, Any] = {"provider": "first"}
    for _ in range(8):
        config = {"strategy": {"mode": "single"}, "targets": [config]}
    with pytest.raises(InvalidHeader, match="deeper than 8 levels"):
        plan_of(config)
    with pytest.raises(InvalidHeader, match="up to 64"):
        plan_of({"strategy": {"mode": "loadbalance"}, "targets": [{"provider": "first"}] * 64})


def test_a_config_may_have_few_patterns_since_each_takes_its_time_to_compile() -> None:
    def conditional(patterns: int) -> dict[str, Any]:
        queries = [{"metadata.x": {"$regex": f"^{number}$"}} for number in range(patterns)]
        return {
            "strategy": {"mode": "conditional", "conditions": [{"query": {"$or": queries}, "then": "a"}]},
            "targets": [{"name": "a", "provider": "first"}],
        }

    plan_of(conditional(MAX_PATTERNS))
    with pytest.raises(InvalidHeader, match=r"up to 16 \$regex; use fewer"):
        plan_of(conditional(MAX_PATTERNS + 1))


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize("levels", [90, 300, 990, 1100])
def test_however_deep_a_config_is_nested_it_is_refused_or_followed(
    opened: str, closed: str, levels: int
) -> None:
    nested = opened * levels + "1" + closed * levels
    for part in ("override_params", "retry", "cache", "request_timeout", "strategy", "weight", "name", "x"):
        config = f'{{"provider":"first","{part}":{nested}}}'.encode()
        try:
            plan = RequestedPlans(SETTINGS, CONFIGS).plan({b"x-portkey-config": config}, ROUTES.choose, "m")
        except InvalidHeader:
            continue
        assert plan.only is not None
        assert merged({}, "m", plan.only.override_params)


def test_a_model_cannot_be_mistaken_for_a_header() -> None:
    """Else a model could be made up so that its plan is remembered as that of somebody else's headers."""
    plans = RequestedPlans(SETTINGS, CONFIGS)
    disguised = "25:x-portkey-request-timeout4:1000m"
    plan = plans.plan({b"x-portkey-provider": b"first"}, ROUTES.choose, disguised)
    asked = {b"x-portkey-provider": b"first", b"x-portkey-request-timeout": b"1000"}
    assert plans.plan(asked, ROUTES.choose, "m") is not plan
    assert plans.plan(asked, ROUTES.choose, "") is not plans.plan(asked, ROUTES.choose, None)


def test_what_large_plans_take_is_bounded_and_not_what_their_headers_do() -> None:
    plans = RequestedPlans(SETTINGS, CONFIGS)
    targets = [{"name": f"t{number}", "provider": "first"} for number in range(60)]
    query = {"$and": [{"metadata.x": {"$regex": "a.{100}"}}] * 2}
    strategy = {"mode": "conditional", "conditions": [{"query": query, "then": "t0"}], "default": "t1"}
    for number in range(20):
        config = json.dumps({"strategy": strategy, "targets": targets, "id": number}).encode()
        plans.plan({b"x-portkey-config": config}, ROUTES.choose, "m")
    assert plans.remembered < 10


async def test_models_that_requests_made_up_do_not_take_the_place_of_others() -> None:
    upstream = upstream_of("first", SETTINGS.upstreams["first"])
    failing = upstream.state("failing")
    failing.answered(503, 1.0)
    for number in range(3_000):
        upstream.state(f"made-up-{number}")
    assert len(upstream.states) <= 1_000
    assert upstream.state("failing") is failing
    assert upstream.state("new") is not upstream.plain
    assert upstream.state(None) is upstream.plain


def test_plans_are_remembered_within_bounds() -> None:
    plans = RequestedPlans(SETTINGS, CONFIGS)

    def ask(number: int) -> Plan:
        config = json.dumps({"provider": "first", "name": f"n{number}"}).encode()
        return plans.plan({b"x-portkey-config": config}, ROUTES.choose, "m")

    kept = ask(0)
    assert ask(0) is kept
    for number in range(1, MAX_REMEMBERED + 1):
        ask(number)
    assert ask(MAX_REMEMBERED) is ask(MAX_REMEMBERED)
    assert ask(0) is not kept
    large = {"provider": "first", "override_params": {"x": "y" * 60_000}}
    for number in range(150):
        plans.plan(
            {b"x-portkey-config": json.dumps({**large, "weight": number}).encode()}, ROUTES.choose, "m"
        )
    assert plans.remembered_bytes <= MAX_REMEMBERED_BYTES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "strategy", "targets", "provider", "virtual_key", "api_key", "custom_host", "override_params",
        "retry", "cache", "request_timeout", "weight", "name", "requestTimeout", "openai_beta",
        "on_status_codes",
    ]
)  # fmt: skip
odd_configs = st.recursive(
    st.dictionaries(KEYS, json_values, max_size=4),
    lambda inner: st.builds(
        lambda config, targets, mode: {**config, "targets": targets, "strategy": {"mode": mode}},
        st.dictionaries(KEYS, json_values, max_size=2),
        st.lists(inner, max_size=3),
        st.sampled_from(["single", "fallback", "loadbalance", "conditional", "x"]),
    ),
    max_leaves=5,
)


def plan_or_refusal(config: Any, model: str | None) -> Plan | ClientError:
    try:
        return plan_of(config, model)
    except ClientError as error:
        return error


@given(odd_configs | json_values, st.none() | st.text(max_size=8))
def test_whatever_is_sent_there_is_a_plan_or_a_refusal(config: Any, model: str | None) -> None:
    made = plan_or_refusal(config, model)
    if isinstance(made, ClientError):
        assert made.status in (400, 404)
        return
    assert made.leaves
    for leaf in made.leaves:
        assert leaf.upstream in SETTINGS.upstreams or leaf.base_url is not None


@given(odd_configs)
def test_a_key_of_the_gateway_is_in_no_plan_that_a_request_makes(config: Any) -> None:
    made = plan_or_refusal(config, "m")
    seen = made.message if isinstance(made, ClientError) else "".join(map(_all_of, made.leaves))
    assert not any(secret in seen for secret in SECRETS)


def _all_of(leaf: Leaf) -> str:
    return f"{leaf!r} {leaf.api_key}"


# --- the answers by themselves ---


def attempt(target: str, status: int | None, error_kind: str | None = None) -> Attempt:
    return Attempt(target, target, None, status, error_kind, 0.0, 1.0)


@pytest.mark.parametrize(
    ("attempts", "index", "retries"),
    [
        ([("first", 200)], "config.targets[0]", "0"),
        ([("first", 503), ("first", 200)], "config.targets[0]", "1"),
        ([("first", 503), ("first", 503), ("claude", 200)], "config.targets[1]", "0"),
        ([("first", 503), ("claude", 503), ("claude", 429), ("claude", 400)], "config.targets[1]", "2"),
        ([("first", 503), ("claude", 503), ("claude", 503)], "config.targets[1]", "-1"),
    ],
)
def test_the_answer_tells_the_last_target_and_its_retries(
    attempts: list[tuple[str, int]], index: str, retries: str
) -> None:
    plan = plan_of(
        {
            "strategy": {"mode": "fallback"},
            "retry": {"attempts": 5},
            "targets": [{"provider": "first"}, {"provider": "claude"}],
        }
    )
    headers = dict(answer_headers(plan, [attempt(*each) for each in attempts], None, "anthropic"))
    assert headers == {
        b"x-portkey-last-used-option-index": index.encode(),
        b"x-portkey-retry-attempt-count": retries.encode(),
        b"x-portkey-cache-status": b"DISABLED",
        b"x-portkey-provider": b"anthropic",
    }


@pytest.mark.parametrize(
    ("status", "word"),
    [("hit", "HIT"), ("shared", "HIT"), ("miss", "MISS"), ("refresh", "REFRESH"), (None, "DISABLED")],
)
def test_the_cache_is_told_in_portkeys_words(status: str | None, word: str) -> None:
    headers = dict(answer_headers(plan_of({"provider": "first"}), [], status, None))
    assert headers[b"x-portkey-cache-status"] == word.encode()
    assert headers[b"x-portkey-retry-attempt-count"] == b"0"
    assert b"x-portkey-provider" not in headers
