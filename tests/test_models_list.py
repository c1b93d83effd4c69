"""GET /v1/models: what routes offer, merged with what the upstreams say of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from gateway.providers.models import entries_of, listed, merged
from tests.harness import CLOSE, SILENCE, RawClient, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "key-of-the-gateway"


def ok(value: Any, status: str = "200 OK") -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "them", **more}


@pytest.fixture(scope="module")
def wires() -> Iterator[dict[str, WireUpstream]]:
    with WireUpstream() as first, WireUpstream() as second, WireUpstream() as third:
        yield {"first": first, "second": second, "third": third}


@pytest.fixture(autouse=True)
def _fresh(wires: dict[str, WireUpstream]) -> None:
    for wire in wires.values():
        wire.reset()


def upstreams(wires: dict[str, WireUpstream]) -> dict[str, Any]:
    """`first` has our key, `second` is Anthropic, `third` gets the client's credentials."""
    return {
        "first": {"base_url": wires["first"].base_url, "api_key": KEY},
        "second": {"base_url": wires["second"].base_url, "api_key": KEY, "provider": "anthropic"},
        "third": {"base_url": wires["third"].base_url},
    }


ROUTES = [
    {"models": ["fast"], "target": {"upstream": "first", "model": "gpt-4o-mini"}},
    {"models": ["gpt-4o", "gpt-5*"], "target": {"upstream": "first"}},
    {"models": ["claude-*"], "target": {"upstream": "second"}},
    {
        "models": ["llama-*"],
        "strategy": "fallback",
        "targets": [{"upstream": "third"}, {"upstream": "first"}],
    },
]


@pytest.fixture
def gateway(wires: dict[str, WireUpstream]) -> Iterator[RunningGateway]:
    """One a test, since lists are remembered for a while."""
    with run_gateway({"upstreams": upstreams(wires), "routes": ROUTES}) as running:
        yield running


def ask(client: RawClient, *headers: str, path: str = "/v1/models") -> tuple[list[str], str | None]:
    """The ids that are listed, and the header with the upstreams that are missing."""
    client.get(path, *headers)
    answer = client.read_answer()
    assert answer.status == 200, answer.body
    assert answer.json()["object"] == "list"
    return [entry["id"] for entry in answer.json()["data"]], answer.header("x-gateway-models-missing")


def test_lists_what_routes_name_and_what_they_lead_to(
    wires: dict[str, WireUpstream], client: RawClient
) -> None:
    wires["first"].always_answers(
        ok({"data": [model("gpt-4o"), model("gpt-5"), model("o9"), model("llama-1"), model("claude-9")]})
    )
    wires["second"].always_answers(ok({"data": [{"id": "claude-1", "type": "model"}], "has_more": False}))
    wires["third"].always_answers(ok([model("llama-1"), model("llama-2"), model("gpt-4o")]))

    names, missing = ask(client)

    # What routes name comes first; o9 has no route, and the others are listed by whom no route asks for them.
    assert names == ["fast", "gpt-4o", "gpt-5", "llama-1", "claude-1", "llama-2"]
    assert missing is None


def test_entries_keep_their_fields_and_names_of_routes_belong_to_the_gateway(
    wires: dict[str, WireUpstream], client: RawClient
) -> None:
    strange = model("gpt-4o", pricing={"prompt": "0.1"}, context_window=128_000)
    wires["first"].always_answers(ok({"object": "list", "data": [strange]}))
    dated = {"type": "model", "id": "claude-1", "display_name": "C", "created_at": "2026-02-04T00:00:00Z"}
    wires["second"].always_answers(ok({"data": [dated]}))
    wires["third"].always_answers(ok([]))

    client.get("/v1/models")
    entries = {entry["id"]: entry for entry in client.read_answer().json()["data"]}

    assert entries["gpt-4o"] == strange
    assert entries["fast"] == {"id": "fast", "object": "model", "created": 0, "owned_by": "gateway"}
    assert entries["claude-1"] == {
        **dated, "object": "model", "created": 1_770_163_200, "owned_by": "second",
    }  # fmt: skip


def test_each_upstream_is_asked_with_the_credentials_that_are_its_own(
    wires: dict[str, WireUpstream], client: RawClient
) -> None:
    for wire in wires.values():
        wire.always_answers(ok([]))

    ask(client, "authorization: Bearer sk-of-the-client", "openai-organization: org-1", "cookie: a=b")

    first, second, third = (wires[name].request() for name in wires)
    assert (first.target, first.all("authorization")) == (b"/v1/models", [f"Bearer {KEY}"])
    assert (second.target, second.all("x-api-key")) == (b"/v1/models?limit=1000", [KEY])
    assert (second.all("authorization"), second.all("anthropic-version")) == ([], ["2023-06-01"])
    assert third.all("authorization") == ["Bearer sk-of-the-client"]
    for request in (first, second, third):
        assert request.all("openai-organization") == request.all("cookie") == []
    assert b"sk-of-the-client" not in first.raw_head + second.raw_head


def test_a_list_is_remembered_for_those_with_the_same_credentials(
    wires: dict[str, WireUpstream], client: RawClient
) -> None:
    for wire in wires.values():
        wire.always_answers(ok([]))

    for who in ("a", "a", "b", "a"):
        ask(client, f"authorization: Bearer {who}")

    assert [len(wires[name].requests) for name in wires] == [1, 1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        (CLOSE,),
        (ok({"error": {}}, "401 Unauthorized"),),
        (ok(b"<html>"),),
        (ok({"data": {}}),),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", CLOSE),
    ],
    ids=["gone", "401", "no json", "no list", "half"],
)
def test_an_upstream_that_fails_leaves_its_models_out_and_is_named(
    gateway: RunningGateway, wires: dict[str, WireUpstream], client: RawClient, answer: Any
) -> None:
    wires["first"].always_answers(*answer)
    wires["second"].always_answers(ok([{"id": "claude-1"}]))
    wires["third"].always_answers(ok([]))

    assert ask(client) == (["fast", "gpt-4o", "claude-1"], "first")
    assert "upstream first: no list of models: " in gateway.log


def test_a_silent_upstream_is_waited_for_once_and_for_a_few_seconds(
    wires: dict[str, WireUpstream], client: RawClient
) -> None:
    wires["first"].always_answers(SILENCE)
    wires["second"].always_answers(ok([]))
    wires["third"].always_answers(ok([]))

    assert ask(client)[1] == "first"
    wires["first"].always_answers(ok([]))
    assert ask(client)[1] == "first"  # at once: it is not asked again for a while
    assert len(wires["first"].requests) == 1


def test_it_is_an_exchange_like_any_other(
    gateway: RunningGateway, wires: dict[str, WireUpstream], client: RawClient, trace: str
) -> None:
    for wire in wires.values():
        wire.always_answers(ok([]))

    client.get("/v1/models", f"x-trace-id: {trace}", 'x-metadata: {"_user": "ana"}')
    answer = client.read_answer()

    assert answer.header("x-trace-id") == trace
    row = gateway.rows.the_exchange(trace)
    assert row["id"] == answer.header("x-request-id")
    assert (row["method"], row["path"], row["status"], row["upstream"]) == ("GET", "/v1/models", 200, None)
    assert row["response_head"] == answer.body
    assert row["meta_user"] == "ana"


def test_a_head_that_cannot_be_used_is_refused_and_recorded(
    gateway: RunningGateway, client: RawClient, trace: str
) -> None:
    client.get("/v1/models", f"x-trace-id: {trace}", "x-metadata: {")

    answer = client.read_answer()
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_metadata")
    assert gateway.rows.the_exchange(trace)["error_kind"] == "invalid_metadata"


def test_the_openai_sdk_reads_it(gateway: RunningGateway, wires: dict[str, WireUpstream]) -> None:
    wires["first"].always_answers(ok([model("gpt-5")]))
    wires["second"].always_answers(ok([{"id": "claude-1"}]))
    wires["third"].always_answers(ok([]))
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk", max_retries=0) as sdk:
        found = {entry.id: entry.owned_by for entry in sdk.models.list()}
        assert found == {"fast": "gateway", "gpt-4o": "gateway", "gpt-5": "them", "claude-1": "second"}
        assert sdk.models.retrieve("fast").owned_by == "gateway"


# --- one model ---


def test_a_models_object_is_its_upstreams(wires: dict[str, WireUpstream], client: RawClient) -> None:
    wires["second"].always_answers(ok(b'{ "id": "claude-1" }'))

    client.get("/v1/models/claude-1")

    assert client.read_answer().body == b'{ "id": "claude-1" }'
    assert wires["second"].request().target == b"/v1/models/claude-1"
    assert wires["second"].request().all("x-api-key") == [KEY]


def test_a_name_that_only_routes_know_has_an_object_of_ours(
    gateway: RunningGateway, wires: dict[str, WireUpstream], client: RawClient, trace: str
) -> None:
    client.get("/v1/models/fast", f"x-trace-id: {trace}")

    assert client.read_answer().json() == {
        "id": "fast",
        "object": "model",
        "created": 0,
        "owned_by": "gateway",
    }
    assert gateway.rows.the_exchange(trace)["path"] == "/v1/models/fast"
    assert [wire.requests for wire in wires.values()] == [[], [], []]


def test_a_model_without_a_route_is_not_found(client: RawClient) -> None:
    client.get("/v1/models/unheard-of")
    answer = client.read_answer()
    assert (answer.status, answer.json()["error"]["code"]) == (404, "no_route")


# --- where there is nothing to merge ---


def test_one_upstream_without_routes_answers_itself_byte_for_byte(wires: dict[str, WireUpstream]) -> None:
    body = b'{ "object":"list",  "data": [], "odd": 1.0 }'
    wires["first"].always_answers(ok(body))
    with (
        run_gateway({"upstreams": {"first": upstreams(wires)["first"]}}) as running,
        RawClient(running.port) as client,
    ):
        client.get("/v1/models?limit=2", "x-odd: header")
        answer = client.read_answer()

    assert (answer.status, answer.body) == (200, body)
    assert answer.header("x-gateway-models-missing") is None
    assert wires["first"].request().target == b"/v1/models?limit=2"
    assert wires["first"].request().all("x-odd") == ["header"]


def test_with_keys_a_list_needs_one_and_it_goes_nowhere(wires: dict[str, WireUpstream]) -> None:
    for wire in wires.values():
        wire.always_answers(ok([]))
    config = {
        "upstreams": upstreams(wires), "routes": ROUTES, "keys": {"team": {"key": "virtual-key-of-team"}},
    }  # fmt: skip
    with run_gateway(config) as running, RawClient(running.port) as client:
        client.get("/v1/models")
        assert client.read_answer().status == 401
        ask(client, "authorization: Bearer virtual-key-of-team")

    for wire in wires.values():
        assert b"virtual-key-of-team" not in wire.request().raw_head


def test_azure_is_not_asked_since_it_lists_what_could_be_deployed(wires: dict[str, WireUpstream]) -> None:
    azure = {
        "preset": "azure",
        "base_url": f"http://127.0.0.1:{wires['first'].port}/openai/v1",
        "api_key": KEY,
    }
    config = {
        "upstreams": {"azure": azure},
        "routes": [{"models": ["my-deployment", "gpt-*"], "target": {"upstream": "azure"}}],
    }
    with run_gateway(config) as running, RawClient(running.port) as client:
        assert ask(client) == (["my-deployment"], None)
        client.get("/v1/models/my-deployment")
        assert client.read_answer().json()["owned_by"] == "gateway"
    assert wires["first"].requests == []


# --- the rules ---


def test_a_list_is_read_in_each_shape_that_vendors_send() -> None:
    assert entries_of(b'{"data": [{"id": "a"}, {"id": 1}, "x"]}') == [{"id": "a"}]
    assert entries_of(b'[{"id": "a"}]') == [{"id": "a"}]
    for answer in (b"", b"3", b'{"models": []}', b'{"data": null}'):
        with pytest.raises(ValueError):  # noqa: PT011 - any will do
            entries_of(answer)


def test_geminis_names_lose_their_prefix_where_routes_know_them_without() -> None:
    entries = [{"id": "models/gemini-9"}, {"id": "models/other"}]
    short = listed("g", "gemini", entries, lambda name, _: name.startswith("gemini-"))
    assert [entry["id"] for entry in short] == ["gemini-9"]
    whole = listed("g", "gemini", entries, lambda name, _: name.startswith("models/"))
    assert [entry["id"] for entry in whole] == ["models/gemini-9", "models/other"]
    assert listed("g", "openai", entries, lambda name, _: name.startswith("gemini-")) == []


def test_each_model_is_there_once_by_the_first_that_knows_it() -> None:
    found = merged(["b", "z"], [[{"id": "a", "from": 1}, {"id": "b", "from": 1}], [{"id": "a", "from": 2}]])
    assert [(entry["id"], entry.get("from")) for entry in found] == [("b", 1), ("z", None), ("a", 1)]
