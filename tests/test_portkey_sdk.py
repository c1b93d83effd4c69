"""The real `portkey-ai` package against a gateway process, and its recorded requests sent again."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import portkey_ai
import pytest
from portkey_ai.api_resources.exceptions import BadRequestError, InternalServerError, NotFoundError

from tests.harness import run_gateway
from tests.harness.lock import lock_held
from tests.harness.recorded import Recorded, recorded

if TYPE_CHECKING:
    from tests.harness import Process, RunningGateway

HELLO: Any = [{"role": "user", "content": "hello"}]
PYTHON = [request for request in recorded("portkey") if "npm" not in request.sdk]


@pytest.fixture
def portkey(gateway: RunningGateway) -> portkey_ai.Portkey:
    return portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK")


def test_a_chat_under_a_trace_id_is_recorded_and_tells_it_back(gateway: RunningGateway, trace: str) -> None:
    client = portkey_ai.Portkey(
        base_url=gateway.base_url, api_key="PK", trace_id=trace,
        metadata={"_user": "ana", "_environment": "production", "team": "blue"},
    )  # fmt: skip
    answer: Any = client.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert answer.choices[0].message.content == "Hello! What can I do for you today?"
    assert answer.get_headers()["trace-id"] == trace
    row = gateway.rows.the_exchange(trace)
    assert (row["meta_user"], row["meta_environment"]) == ("ana", "production")
    assert json.loads(row["metadata"])["team"] == "blue"


def test_a_streamed_chat_is_recorded(gateway: RunningGateway, trace: str) -> None:
    client = portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK", trace_id=trace)
    stream: Any = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert text == "Hello! What can I do for you today?"
    assert gateway.rows.the_exchange(trace)["streamed"] == 1


def test_a_piece_of_feedback_is_created(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    metadata = {
        "text": "good",
        "_user": "u1",
        "_organisation": "o1",
        "_prompt": "p1",
        "_environment": "prod",
        "n": 3,
    }
    answer: Any = portkey.feedback.create(trace_id=trace, value=5, weight=0.5, metadata=metadata)

    assert answer.status == "success"
    row = one(gateway.rows.feedback(trace))
    assert answer.feedback_ids == [row["id"]]
    assert uuid.UUID(row["id"])
    assert (json.loads(row["value"]), row["weight"], json.loads(row["metadata"])) == (5, 0.5, metadata)
    special = [row[f"meta_{name}"] for name in ("user", "organisation", "prompt", "environment")]
    assert special == ["u1", "o1", "p1", "prod"]


def test_zero_is_a_value_and_the_weight_is_one(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    portkey.feedback.create(trace_id=trace, value=0)

    row = one(gateway.rows.feedback(trace))
    assert (json.loads(row["value"]), row["weight"], row["metadata"]) == (0, 1.0, None)


def test_many_pieces_are_created_in_one_call_and_in_order(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    feedbacks = [{"trace_id": trace, "value": value, "weight": 0.1} for value in range(-10, 11)]
    answer: Any = portkey.feedback.bulk_create(feedbacks=feedbacks)

    rows = gateway.rows.feedback(trace)
    assert [row["id"] for row in rows] == answer.feedback_ids
    assert [json.loads(row["value"]) for row in rows] == list(range(-10, 11))


def test_a_bad_item_keeps_the_whole_batch_out(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    with pytest.raises(BadRequestError) as raised:
        portkey.feedback.bulk_create(
            feedbacks=[{"trace_id": trace, "value": 1}, {"trace_id": trace, "value": 11}]
        )

    assert "item 1" in raised.value.message
    assert "value" in raised.value.message
    assert error_of(raised)["param"] == "[1].value"
    assert gateway.rows.feedback(trace) == []


def test_an_update_changes_what_it_names_and_nothing_else(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    created: Any = portkey.feedback.create(trace_id=trace, value=5, weight=0.5, metadata={"text": "first"})
    before = one(gateway.rows.feedback(trace))
    answer: Any = portkey.feedback.update(feedback_id=created.feedback_ids[0], value=-7)

    assert (answer.status, answer.feedback_ids) == ("success", created.feedback_ids)
    row = one(gateway.rows.feedback(trace))
    assert (json.loads(row["value"]), row["weight"], json.loads(row["metadata"])) == (
        -7,
        0.5,
        {"text": "first"},
    )
    assert row["created_at_ms"] == before["created_at_ms"]
    assert before["updated_at_ms"] is None
    assert row["updated_at_ms"] >= row["created_at_ms"]


def test_an_update_of_everything_replaces_weight_and_metadata(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    created: Any = portkey.feedback.create(trace_id=trace, value=5, weight=0.5, metadata={"text": "first"})
    portkey.feedback.update(
        feedback_id=created.feedback_ids[0], value=1, weight=0.0, metadata={"_user": "u2"}
    )

    row = one(gateway.rows.feedback(trace))
    assert (json.loads(row["value"]), row["weight"], row["meta_user"]) == (1, 0.0, "u2")
    assert json.loads(row["metadata"]) == {"_user": "u2"}


REFUSED = {
    "no trace id": ({"value": 1}, "032"),
    "an empty trace id": ({"trace_id": "", "value": 1}, "032"),
    "no value": ({"trace_id": "t"}, "032"),
    "a value over 10": ({"trace_id": "t", "value": 11}, "033"),
    "a value under -10": ({"trace_id": "t", "value": -11}, "033"),
    "half a value": ({"trace_id": "t", "value": 4.5}, "033"),
    "a true value": ({"trace_id": "t", "value": True}, "033"),
    "a word for a value": ({"trace_id": "t", "value": "abc"}, "033"),
    "a weight over 1": ({"trace_id": "t", "value": 1, "weight": 1.1}, "034"),
    "a negative weight": ({"trace_id": "t", "value": 1, "weight": -0.1}, "034"),
    "a true weight": ({"trace_id": "t", "value": 1, "weight": True}, "034"),
    "a list for metadata": ({"trace_id": "t", "value": 1, "metadata": [1]}, "035"),
    "too much metadata": ({"trace_id": "t", "value": 1, "metadata": {"long": "x" * 17_000}}, "035"),
}


@pytest.mark.parametrize(("arguments", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_raises_bad_request_with_the_vendors_code(
    portkey: portkey_ai.Portkey, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(BadRequestError) as raised:
        portkey.feedback.create(**arguments)

    error = error_of(raised)
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert raised.value.message.endswith(f"Error code: {code}")


def test_an_empty_batch_raises_bad_request(portkey: portkey_ai.Portkey) -> None:
    with pytest.raises(BadRequestError) as raised:
        portkey.feedback.bulk_create(feedbacks=[])
    assert error_of(raised)["code"] == "032"


@pytest.mark.parametrize(
    "feedback_id", ["7e2cca8f-f629-4920-bd86-6e5008306aac", "no-uuid", "a/b", "NOT_GIVEN"]
)
def test_an_update_of_what_does_not_exist_raises_not_found(
    portkey: portkey_ai.Portkey, feedback_id: str
) -> None:
    with pytest.raises(NotFoundError):
        portkey.feedback.update(feedback_id=feedback_id, value=1)


def test_an_update_without_a_value_raises_bad_request(portkey: portkey_ai.Portkey, trace: str) -> None:
    created: Any = portkey.feedback.create(trace_id=trace, value=5)
    with pytest.raises(BadRequestError) as raised:
        portkey.feedback.update(feedback_id=created.feedback_ids[0], weight=0.5)
    assert error_of(raised)["code"] == "032"


def test_the_clients_own_trace_id_is_not_the_feedbacks(gateway: RunningGateway, trace: str) -> None:
    client = portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK", trace_id=f"{trace}-of-the-client")
    client.feedback.create(trace_id=trace, value=1)

    assert len(gateway.rows.feedback(trace)) == 1
    assert gateway.rows.feedback(f"{trace}-of-the-client") == []


def test_feedback_may_come_before_its_request(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    portkey.feedback.create(trace_id=trace, value=9, weight=0.5)
    before = httpx.get(f"{gateway.base_url}/traces/{trace}").json()
    portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK", trace_id=trace).chat.completions.create(
        model="gpt-4o", messages=HELLO
    )
    after = httpx.get(f"{gateway.base_url}/traces/{trace}").json()

    assert (before["exchange_count"], after["exchange_count"]) == (0, 1)
    for summary in (before, after):
        assert summary["feedback"]["count"] == 1
        assert summary["feedback"]["pairs"] == [{"value": 9, "weight": 0.5, "count": 1}]


def test_the_summary_follows_creates_updates_and_deletes(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    first: Any = portkey.feedback.create(trace_id=trace, value=10, weight=0.5)
    second: Any = portkey.feedback.create(trace_id=trace, value=-10)
    portkey.feedback.create(trace_id=trace, value=0, weight=0.0)
    portkey.feedback.update(feedback_id=first.feedback_ids[0], value=4)
    deleted = httpx.delete(f"{gateway.base_url}/feedback/{second.feedback_ids[0]}")
    summary = httpx.get(f"{gateway.base_url}/traces/{trace}").json()["feedback"]

    assert deleted.status_code == 200
    assert summary == {
        "count": 2,
        "score_count": 2,
        "pairs": [{"value": 0, "weight": 0.0, "count": 1}, {"value": 4, "weight": 0.5, "count": 1}],
        "sum_weight": 0.5,
        "weighted_mean": 4.0,
        "mean_weighted_value": 1.0,
    }


async def test_the_async_client_works_too(gateway: RunningGateway, trace: str) -> None:
    client = portkey_ai.AsyncPortkey(base_url=gateway.base_url, api_key="PK", trace_id=trace)
    await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    created: Any = await client.feedback.create(trace_id=trace, value=3)
    await client.feedback.update(feedback_id=created.feedback_ids[0], value=4)

    assert json.loads(one(gateway.rows.feedback(trace))["value"]) == 4
    assert gateway.rows.the_exchange(trace)["status"] == 200


@pytest.mark.parametrize("path", ["/v1", "/v1/", "", "/"])
def test_every_spelling_of_the_base_url_works(gateway: RunningGateway, trace: str, path: str) -> None:
    client = portkey_ai.Portkey(base_url=f"{gateway.url}{path}", api_key="PK")
    created: Any = client.feedback.create(trace_id=trace, value=1)
    client.feedback.update(feedback_id=created.feedback_ids[0], value=2)

    assert json.loads(one(gateway.rows.feedback(trace))["value"]) == 2


def test_the_environment_alone_points_it_here(
    gateway: RunningGateway, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTKEY_PROXY", gateway.base_url)
    monkeypatch.setenv("PORTKEY_API_KEY", "PK")
    portkey_ai.Portkey().feedback.create(trace_id=trace, value=1)

    assert len(gateway.rows.feedback(trace)) == 1


def test_what_the_package_leaves_out_counts_as_left_out(
    gateway: RunningGateway, portkey: portkey_ai.Portkey, trace: str
) -> None:
    portkey.feedback.create(trace_id=trace, value=0, metadata={"empty": "", "null": None})

    assert json.loads(one(gateway.rows.feedback(trace))["metadata"]) == {"null": None}


def test_an_idempotency_key_stores_a_repeat_once(gateway: RunningGateway, trace: str) -> None:
    headers = {"Idempotency-Key": f"key-{trace}"}
    with httpx.Client(base_url=gateway.base_url, headers=headers) as http_client:
        client = portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK", http_client=http_client)
        first: Any = client.feedback.create(trace_id=trace, value=1)
        second: Any = client.feedback.create(trace_id=trace, value=1)

    assert first.feedback_ids == second.feedback_ids == [one(gateway.rows.feedback(trace))["id"]]


def test_a_failure_inside_is_sent_once(fake_openai: Process, trace: str) -> None:
    impatient = {"store": {"busy_timeout_s": 0.2, "retry_s": 0.2}}
    sent: list[httpx.Request] = []
    with (
        run_gateway(impatient, upstream=f"{fake_openai.url}/v1") as gateway,
        httpx.Client(base_url=gateway.base_url, event_hooks={"request": [sent.append]}) as http_client,
    ):
        assert gateway.database is not None
        client = portkey_ai.Portkey(base_url=gateway.base_url, api_key="PK", http_client=http_client)
        with lock_held(gateway.database), pytest.raises(InternalServerError) as raised:
            client.feedback.create(trace_id=trace, value=1)

        assert "Something went wrong" in raised.value.message
        assert len(sent) == 1  # the package sends again after any 5xx without a header of ours
        assert gateway.rows.feedback(trace) == []


@pytest.mark.parametrize("request_", PYTHON, ids=str)
@pytest.mark.parametrize("slash", [False, True], ids=["plain", "with a slash"])
def test_a_recorded_request_is_answered_as_its_sdk_needs_it(
    gateway: RunningGateway, request_: Recorded, slash: bool
) -> None:
    if "chat" in request_.path and slash:
        pytest.skip("a slash after a chat path is the upstream's matter")
    answer = request_.replay(gateway.port, path=request_.with_slash() if slash else None)

    assert answer.status == request_.status, answer.body
    assert (answer.header("content-type") or "").startswith("application/json")
    if request_.status == 200 and "feedback" in request_.path:
        assert answer.json()["status"] == "success"
        assert all(uuid.UUID(feedback_id) for feedback_id in answer.json()["feedback_ids"])
    elif "chat" in request_.path:  # names a host of its own, which is off unless allowed
        assert answer.json()["error"]["param"] == "x-portkey-custom-host"
    elif request_.status != 200:
        body = answer.json()
        assert (body["status"], body["message"]) == ("failure", body["error"]["message"])


def one(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1, rows
    return rows[0]


def error_of(raised: pytest.ExceptionInfo[Any]) -> dict[str, Any]:
    error: dict[str, Any] = raised.value.response.json()["error"]
    return error
