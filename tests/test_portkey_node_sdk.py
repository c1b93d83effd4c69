"""The real `portkey-ai` npm package against a gateway process, and its recorded requests sent again."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import run_gateway
from tests.harness.lock import lock_held
from tests.harness.node import NodePackage
from tests.harness.recorded import Recorded, recorded

if TYPE_CHECKING:
    from tests.harness import Process, RunningGateway

PACKAGE = "portkey-ai@3.1.0"
NODE = [request for request in recorded("portkey") if "npm" in request.sdk]

OPEN = """
    const { Portkey } = require("portkey-ai");
    const [base, trace] = process.argv.slice(1);
    const failed = (e) => show({ error: e.constructor.name, status: e.status ?? null, message: e.message });
    const portkey = new Portkey({ baseURL: base + "/v1", apiKey: "PK" });
"""


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest) -> NodePackage:
    return NodePackage(PACKAGE, request.config.cache.mkdir(PACKAGE))


def run(package: NodePackage, gateway: RunningGateway, trace: str, script: str, **environment: str) -> Any:
    return package.run(OPEN + script, gateway.url, trace, environment=environment)


def the_feedback(gateway: RunningGateway, trace: str) -> list[tuple[int, float]]:
    return [(json.loads(row["value"]), row["weight"]) for row in gateway.rows.feedback(trace)]


def test_a_piece_of_feedback_is_created_and_updated(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    created, updated = run(
        package, gateway, trace,
        """
        const made = await portkey.feedback.create(
            { traceID: trace, value: 5, weight: 0.5, metadata: { text: "good", _user: "u1" } });
        show(made);
        show(await portkey.feedback.update({ feedbackID: made.feedback_ids[0], value: -7 }));
        """,
    )  # fmt: skip

    [row] = gateway.rows.feedback(trace)
    assert created == {
        "status": "success", "message": "Feedback successfully saved", "feedback_ids": [row["id"]],
    }  # fmt: skip
    assert updated["feedback_ids"] == [row["id"]]
    assert uuid.UUID(row["id"])
    assert the_feedback(gateway, trace) == [(-7, 0.5)]
    assert json.loads(row["metadata"]) == {"text": "good", "_user": "u1"}


def test_an_array_arrives_with_numbers_for_keys_and_is_saved_in_order(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    [answer] = run(
        package, gateway, trace,
        """
        const items = Array.from({ length: 12 }, (_, n) => ({ traceID: trace, value: n - 6, weight: 0.25 }));
        show(await portkey.feedback.create(items));
        """,
    )  # fmt: skip

    assert answer["feedback_ids"] == [row["id"] for row in gateway.rows.feedback(trace)]
    assert the_feedback(gateway, trace) == [(number - 6, 0.25) for number in range(12)]


def test_errors_show_the_vendors_message_and_code(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    empty, wrong, nan, unknown = run(
        package, gateway, trace,
        """
        await portkey.feedback.create([]).catch(failed);
        const items = [{ traceID: trace, value: 1 }, { traceID: trace, value: 99 }];
        await portkey.feedback.create(items).catch(failed);
        await portkey.feedback.create({ traceID: trace, value: NaN }).catch(failed);
        await portkey.feedback.update({ feedbackID: "nowhere", value: 1 }).catch(failed);
        """,
    )  # fmt: skip

    assert [error["error"] for error in (empty, wrong, nan)] == ["BadRequestError"] * 3
    assert (unknown["error"], unknown["status"]) == ("NotFoundError", 404)
    assert "Error code: 032" in empty["message"]
    assert "item 1: value must be an integer from -10 to 10. Error code: 033" in wrong["message"]
    assert "Error code: 032" in nan["message"]
    assert "Invalid Feedback Id passed. Nothing to update" in unknown["message"]
    assert gateway.rows.feedback(trace) == []


def test_the_misspelt_argument_of_a_published_sample_still_updates(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    run(
        package, gateway, trace,
        """
        const made = await portkey.feedback.create({ traceID: trace, value: 5 });
        show(await portkey.feedback.update({ feedbackId: made.feedback_ids[0], value: 2 }));
        """,
    )  # fmt: skip

    assert the_feedback(gateway, trace) == [(2, 1.0)]


def test_an_idempotency_key_stores_a_repeat_once(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    first, second = run(
        package, gateway, trace,
        """
        const once = { extraHeaders: { "Idempotency-Key": "key-" + trace } };
        show(await portkey.feedback.create({ traceID: trace, value: 3 }, undefined, once));
        show(await portkey.feedback.create({ traceID: trace, value: 3 }, undefined, once));
        """,
    )  # fmt: skip

    assert first == second
    assert len(gateway.rows.feedback(trace)) == 1


def test_a_base_url_with_a_slash_and_one_without_v1_work(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    run(
        package, gateway, trace,
        """
        for (const baseURL of [base + "/v1/", base]) {
            const client = new Portkey({ baseURL, apiKey: "PK" });
            show(await client.feedback.create({ traceID: trace, value: 4 }));
        }
        """,
    )  # fmt: skip

    assert the_feedback(gateway, trace) == [(4, 1.0), (4, 1.0)]


def test_the_environment_alone_points_it_here(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    run(
        package, gateway, trace, 'show(await new Portkey({}).feedback.create({ traceID: trace, value: 1 }));',
        PORTKEY_BASE_URL=gateway.base_url, PORTKEY_API_KEY="PK",
    )  # fmt: skip

    assert the_feedback(gateway, trace) == [(1, 1.0)]


def test_a_chat_tells_its_trace_id_back_and_the_clients_own_is_not_the_feedbacks(
    package: NodePackage, gateway: RunningGateway, trace: str
) -> None:
    answered, headers, _ = run(
        package, gateway, trace,
        """
        const metadata = { _user: "ana" };
        const client = new Portkey({ baseURL: base + "/v1", apiKey: "PK", traceID: trace, metadata });
        const chat = await client.chat.completions.create(
            { model: "gpt-4o", messages: [{ role: "user", content: "hello" }] });
        show(chat.choices[0].message.content);
        show(chat.getHeaders());
        show(await client.feedback.create({ traceID: trace + "-other", value: 1 }));
        """,
    )  # fmt: skip

    assert answered == "Hello! What can I do for you today?"
    assert headers["trace-id"] == trace
    assert gateway.rows.the_exchange(trace)["meta_user"] == "ana"
    assert gateway.rows.feedback(trace) == []
    assert the_feedback(gateway, f"{trace}-other") == [(1, 1.0)]


def test_a_failure_inside_is_sent_once(package: NodePackage, fake_openai: Process, trace: str) -> None:
    impatient = {"store": {"busy_timeout_s": 0.2, "retry_s": 0.2}}
    with run_gateway(impatient, upstream=f"{fake_openai.url}/v1") as gateway:
        assert gateway.database is not None
        with lock_held(gateway.database):
            count_calls = """
                let calls = 0;
                const fetch = globalThis.fetch;
                globalThis.fetch = (...call) => { calls += 1; return fetch(...call); };
            """
            create = "await portkey.feedback.create({ traceID: trace, value: 1 }).catch(failed); show(calls);"
            error, calls = package.run(count_calls + OPEN + create, gateway.url, trace)

        assert (error["error"], error["status"]) == ("InternalServerError", 500)
        assert "Something went wrong" in error["message"]
        assert calls == 1  # the package sends again after any 5xx without a header of ours
        assert gateway.rows.feedback(trace) == []


@pytest.mark.parametrize("request_", NODE, ids=str)
@pytest.mark.parametrize("slash", [False, True], ids=["plain", "with a slash"])
def test_a_recorded_request_is_answered_as_its_sdk_needs_it(
    gateway: RunningGateway, request_: Recorded, slash: bool
) -> None:
    answer = request_.replay(gateway.port, path=request_.with_slash() if slash else None)

    body = answer.json()
    assert answer.status == request_.status, body
    assert answer.header("content-type") == "application/json"
    if request_.status == 200:
        assert body["status"] == "success"
        assert [str(uuid.UUID(feedback_id)) for feedback_id in body["feedback_ids"]] == body["feedback_ids"]
    else:
        assert (body["status"], body["message"]) == ("failure", body["error"]["message"])
