"""deepeval's two calls at the wire: its recorded requests, every field its clients read, every error.

Source of the rules: the vendor's clients 2.9.7, 3.3.9 and 4.3.1.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.compat import deepeval
from gateway.errors import (
    GatewayError,
    IdempotencyConflict,
    MethodNotAllowed,
    PayloadTooLarge,
    StoreUnavailable,
)
from tests.harness.recorded import Recorded, recorded

if TYPE_CHECKING:
    from tests.harness import Answer, RunningGateway

FEEDBACK, ANNOTATIONS = "/v1/feedback", "/v1/annotations"
OLD = {"CONFIDENT_API_KEY": "K"}
"""The key header of clients to 3.7.0, with underscores."""
NEW = {"CONFIDENT-API-KEY": "K"}


def post(http: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    key = OLD if path.startswith(FEEDBACK) else NEW
    return http.post(path, json=body, headers={**key, **headers})


def given(http: httpx.Client, target_id: str) -> dict[str, Any]:
    """The one piece of feedback under an id, as our own list shows it."""
    listed = http.get("/v1/feedback", params={"trace_id": target_id}).json()["data"]
    assert len(listed) == 1, listed
    found: dict[str, Any] = listed[0]
    return found


def nothing_given(http: httpx.Client, target_id: str) -> bool:
    listed = http.get("/v1/feedback", params={"trace_id": target_id}).json()["data"]
    return listed == []


def assert_error(response: httpx.Response | Answer, status: int) -> str:
    """What the clients need of an error; the words of it."""
    code = response.status_code if isinstance(response, httpx.Response) else response.status
    body = response.json()
    assert code == status, body
    assert isinstance(body, dict)
    assert body.keys() == {"success", "error"}
    assert body["success"] is False  # a client from 3.4.0 takes anything else for success
    assert isinstance(body["error"], str)
    assert body["error"]  # an empty one becomes "Request failed"
    return str(body["error"])


def assert_saved(body: Any) -> str:
    assert body.keys() == {"success", "data"}  # neither `deprecated` nor `link`: clients log a warning
    assert body["success"] is True
    assert body["data"].keys() == {"id"}
    assert str(uuid.UUID(body["data"]["id"])) == body["data"]["id"]
    return str(body["data"]["id"])


# --- its clients' requests, sent again ---


@pytest.mark.parametrize("request_", recorded("deepeval"), ids=str)
@pytest.mark.parametrize("slash", [False, True], ids=["plain", "with a slash"])
def test_a_recorded_request_is_answered_as_its_client_needs_it(
    gateway: RunningGateway, request_: Recorded, slash: bool
) -> None:
    answer = request_.replay(gateway.port, path=request_.with_slash() if slash else None)

    assert (answer.header("content-type") or "").startswith("application/json")
    if request_.status == 200:
        assert answer.status == 200, answer.body  # exactly: a client takes 201 for an error
        assert_saved(answer.json())
    else:
        assert_error(answer, request_.status)


def test_the_recorded_requests_are_stored_with_what_they_say(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    for request_ in recorded("deepeval"):
        if request_.status != 200:
            continue
        sent = json.loads(request_.body)
        id_name = next(name for name in sent if name.endswith(("Id", "Uuid")) and name != "userId")
        target_id = f"{trace}-{uuid.uuid4().hex}"
        aimed = Recorded(
            request_.sdk, request_.method, request_.path, request_.headers,
            json.dumps({**sent, id_name: target_id}),
        )  # fmt: skip
        feedback_id = assert_saved(aimed.replay(gateway.port).json())

        stored = given(http, target_id)
        expected = sent.get("expectedResponse") or sent.get("expectedOutput") or sent.get("expectedOutcome")
        assert stored["id"] == feedback_id
        assert (stored["value"], stored["comment"]) == (sent["rating"], sent.get("explanation"))
        assert stored["correction"] == expected
        assert stored["source"] == {"type": "HUMAN", "id": sent.get("userId")}


# --- what becomes of the fields ---


def test_every_field_of_feedback_lands_in_the_record(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    response = post(
        http, FEEDBACK,
        {"traceUuid": trace, "rating": 4, "expectedResponse": "ideal", "explanation": "ok", "provider": "x"},
    )  # fmt: skip

    stored = given(http, trace)
    assert response.status_code == 200
    assert stored["id"] == response.json()["data"]["id"]
    assert (stored["name"], stored["kind"], stored["value"], stored["weight"]) == ("rating", "number", 4, 1.0)
    assert (stored["comment"], stored["correction"]) == ("ok", "ideal")
    assert stored["source"] == {"type": "HUMAN", "id": None}
    assert (stored["metadata"], stored["task"], stored["overrides"]) == (None, None, None)
    assert stored["retracted_at"] is None
    assert "provider" not in json.dumps(gateway.rows.feedback(trace))


def test_every_field_of_an_annotation_lands_in_the_record(http: httpx.Client, trace: str) -> None:
    body = {
        "traceUuid": trace, "rating": 1, "type": "THUMBS_RATING", "expectedOutput": "ideal",
        "explanation": "ok", "userId": "u1",
    }  # fmt: skip
    response = post(http, ANNOTATIONS, body)

    stored = given(http, trace)
    assert stored["id"] == response.json()["data"]["id"]
    assert (stored["name"], stored["kind"], stored["value"]) == ("thumbs_rating", "number", 1)
    assert (stored["comment"], stored["correction"], stored["weight"]) == ("ok", "ideal", 1.0)
    assert stored["source"] == {"type": "HUMAN", "id": "u1"}
    assert (stored["metadata"], stored["task"], stored["overrides"]) == (None, None, None)


def test_two_scales_have_two_names(http: httpx.Client, trace: str) -> None:
    post(http, ANNOTATIONS, {"traceUuid": f"{trace}-thumb", "rating": 0})
    post(http, ANNOTATIONS, {"traceUuid": f"{trace}-stars", "rating": 5, "type": "FIVE_STAR_RATING"})

    assert given(http, f"{trace}-thumb")["name"] == "thumbs_rating"
    assert given(http, f"{trace}-stars")["name"] == "five_star_rating"


def test_a_thread_has_an_expected_outcome(http: httpx.Client, trace: str) -> None:
    thread = f"{trace} and its user's words"
    response = post(
        http, ANNOTATIONS,
        {"threadId": thread, "rating": 4, "type": "FIVE_STAR_RATING", "expectedOutcome": "solved"},
    )  # fmt: skip

    assert response.status_code == 200, response.text
    assert given(http, thread)["correction"] == "solved"


def test_left_out_arguments_are_nothing(http: httpx.Client, trace: str) -> None:
    body = {"traceUuid": trace, "rating": 0, "expectedResponse": None, "explanation": None, "eventId": None}
    assert post(http, FEEDBACK, body).status_code == 200

    stored = given(http, trace)
    assert (stored["value"], stored["comment"], stored["correction"]) == (0, None, None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (FEEDBACK, {"eventId": "ID", "rating": 1}),
        (FEEDBACK, {"eventId": "ID", "rating": 5}),
        (FEEDBACK, {"traceUuid": "ID", "rating": 0}),
        (FEEDBACK, {"spanUuid": "ID", "rating": 0}),
        (FEEDBACK, {"threadSuppliedId": "ID", "rating": 5}),
        (FEEDBACK, {"eventId": "ID", "rating": 4.0}),
        (FEEDBACK, {"eventId": "ID", "rating": "4"}),
        (ANNOTATIONS, {"traceUuid": "ID", "rating": 0}),
        (ANNOTATIONS, {"spanUuid": "ID", "rating": 1, "type": "THUMBS_RATING"}),
        (ANNOTATIONS, {"threadId": "ID", "rating": 1, "type": "FIVE_STAR_RATING"}),
        (ANNOTATIONS, {"threadId": "ID", "rating": "5", "type": "FIVE_STAR_RATING"}),
    ],
    ids=str,
)
def test_each_id_takes_the_whole_of_its_scale(
    http: httpx.Client, trace: str, path: str, body: dict[str, Any]
) -> None:
    sent = {name: trace if value == "ID" else value for name, value in body.items()}
    assert_saved(post(http, path, sent).json())

    assert given(http, trace)["value"] == int(float(body["rating"]))
    assert isinstance(given(http, trace)["value"], int)


# --- whom it is about ---


@pytest.mark.parametrize(
    ("path", "id_name"),
    [
        *((FEEDBACK, name) for name in ("eventId", "traceUuid", "spanUuid", "threadSuppliedId")),
        *((ANNOTATIONS, name) for name in ("traceUuid", "spanUuid", "threadId")),
    ],
)
def test_any_of_its_ids_may_be_an_exchanges_or_a_traces(
    http: httpx.Client, trace: str, exchange_id: str, path: str, id_name: str
) -> None:
    of_exchange = post(http, path, {id_name: exchange_id, "rating": 1}).json()["data"]["id"]
    of_trace = post(http, path, {id_name: trace, "rating": 1}).json()["data"]["id"]

    def targets(feedback_id: str) -> Any:
        return http.get(f"/v1/feedback/{feedback_id}").json()["targets"]

    assert targets(of_exchange) == [{"trace_id": trace, "request_id": exchange_id, "matched": True}]
    assert targets(of_trace) == [{"trace_id": trace, "request_id": None, "matched": True}]


# --- errors ---

NO_ID = "exactly one of eventId, traceUuid, spanUuid, threadSuppliedId is required"
NO_ANNOTATED_ID = "exactly one of traceUuid, spanUuid, threadId is required"
ONE_TO_FIVE = "rating must be an integer from 1 to 5"
ZERO_TO_FIVE = "rating must be an integer from 0 to 5"
REFUSED: dict[str, tuple[str, Any, str]] = {
    "no id": (FEEDBACK, {"rating": 4}, NO_ID),
    "two ids": (FEEDBACK, {"eventId": "ID", "traceUuid": "ID", "rating": 4}, NO_ID),
    "an empty id": (FEEDBACK, {"eventId": "", "rating": 4}, NO_ID),
    "an empty id and another": (FEEDBACK, {"eventId": "", "traceUuid": "ID", "rating": 4}, NO_ID),
    "an id that is null": (FEEDBACK, {"eventId": None, "rating": 4}, NO_ID),
    "an id that is a number": (FEEDBACK, {"eventId": 5, "rating": 4}, "eventId must be a string"),
    "no rating": (FEEDBACK, {"eventId": "ID"}, ONE_TO_FIVE),
    "a rating that is null": (FEEDBACK, {"eventId": "ID", "rating": None}, ONE_TO_FIVE),
    "no stars for an event": (FEEDBACK, {"eventId": "ID", "rating": 0}, ONE_TO_FIVE),
    "six stars": (FEEDBACK, {"traceUuid": "ID", "rating": 6}, ZERO_TO_FIVE),
    "minus one": (FEEDBACK, {"traceUuid": "ID", "rating": -1}, ZERO_TO_FIVE),
    "half a star": (FEEDBACK, {"eventId": "ID", "rating": 4.5}, ONE_TO_FIVE),
    "a true rating": (FEEDBACK, {"eventId": "ID", "rating": True}, ONE_TO_FIVE),
    "a word for a rating": (FEEDBACK, {"eventId": "ID", "rating": "good"}, ONE_TO_FIVE),
    "a list for a rating": (FEEDBACK, {"eventId": "ID", "rating": [4]}, ONE_TO_FIVE),
    "an answer that is no text": (
        FEEDBACK, {"eventId": "ID", "rating": 4, "expectedResponse": 5}, "expectedResponse must be a string",
    ),
    "an explanation that is no text": (
        FEEDBACK, {"eventId": "ID", "rating": 4, "explanation": {}}, "explanation must be a string",
    ),
    "no annotated id": (ANNOTATIONS, {"rating": 1}, NO_ANNOTATED_ID),
    "two annotated ids": (ANNOTATIONS, {"traceUuid": "ID", "spanUuid": "ID", "rating": 1}, NO_ANNOTATED_ID),
    "an empty annotated id": (ANNOTATIONS, {"threadId": "", "rating": 1}, NO_ANNOTATED_ID),
    "another endpoint's id": (ANNOTATIONS, {"eventId": "ID", "rating": 1}, NO_ANNOTATED_ID),
    "two thumbs": (ANNOTATIONS, {"traceUuid": "ID", "rating": 2}, "rating must be an integer from 0 to 1"),
    "a missing thumb": (ANNOTATIONS, {"traceUuid": "ID"}, "rating must be an integer from 0 to 1"),
    "no annotated stars": (
        ANNOTATIONS,
        {"traceUuid": "ID", "rating": 0, "type": "FIVE_STAR_RATING"},
        ONE_TO_FIVE,
    ),
    "an unknown type": (ANNOTATIONS, {"traceUuid": "ID", "rating": 1, "type": "TEN_STARS"}, "type"),
    "a type that is no text": (ANNOTATIONS, {"traceUuid": "ID", "rating": 1, "type": 5}, "type"),
    "an outcome of a trace": (
        ANNOTATIONS, {"traceUuid": "ID", "rating": 1, "expectedOutcome": "x"}, "expectedOutcome",
    ),
    "an output of a thread": (
        ANNOTATIONS, {"threadId": "ID", "rating": 1, "expectedOutput": "x"}, "expectedOutput",
    ),
    "a user that is no text": (ANNOTATIONS, {"threadId": "ID", "rating": 1, "userId": 7}, "userId"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_a_400_that_names_the_field_and_stores_nothing(
    http: httpx.Client, trace: str, path: str, body: dict[str, Any], words: str
) -> None:
    sent = {name: trace if value == "ID" else value for name, value in body.items()}
    assert words in assert_error(post(http, path, sent), 400)
    assert nothing_given(http, trace)


@pytest.mark.parametrize("path", [FEEDBACK, ANNOTATIONS])
@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'[{"eventId": "e", "rating": 4}]', b'"x"', b"{", b"\xff",
     b'{"rating": NaN, "eventId": "e"}', b'{"eventId": "e", "rating": 1e999}'],
    ids=str,
)  # fmt: skip
def test_what_is_no_json_object_says_so(http: httpx.Client, path: str, body: bytes) -> None:
    key = OLD if path == FEEDBACK else NEW
    answer = http.post(path, content=body, headers=key)

    assert assert_error(answer, 400) == "request body must be a JSON object"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_another_method_is_a_405_with_the_methods_there_are(
    http: httpx.Client, method: str, slash: str
) -> None:
    answer = http.request(method, ANNOTATIONS + slash, headers=NEW)

    assert assert_error(answer, 405) == "Method not allowed"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", [FEEDBACK, ANNOTATIONS])
def test_too_large_a_body_is_a_413(http: httpx.Client, path: str) -> None:
    key = OLD if path == FEEDBACK else NEW
    body = json.dumps({"traceUuid": "t", "rating": 1, "explanation": "x" * 17 * 1024 * 1024})
    answer = http.post(path, content=body, headers=key)

    assert assert_error(answer, 413) == "Request body too large"


class _NoKey(GatewayError):
    status = 401


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (_NoKey("this key is unknown"), 401, "Invalid API key"),
        (MethodNotAllowed("no", allow=("POST",)), 405, "Method not allowed"),
        (PayloadTooLarge("17 MiB"), 413, "Request body too large"),
        (StoreUnavailable("the disk is full"), 500, "Internal error"),
        (GatewayError("Something went wrong"), 500, "Internal error"),
        (IdempotencyConflict("sent before with another body"), 422, "sent before with another body"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, Exception) else "",
)
def test_every_failure_has_the_vendors_status_and_words(error: GatewayError, status: int, words: str) -> None:
    refusal = deepeval.render_error(error, "POST")

    assert refusal.status == status
    assert json.loads(refusal.body) == {"success": False, "error": words}


# --- repeats ---


@pytest.mark.parametrize("path", [FEEDBACK, ANNOTATIONS])
def test_a_repeat_with_the_same_idempotency_key_is_stored_once(
    http: httpx.Client, trace: str, path: str
) -> None:
    key = {"Idempotency-Key": f"key-{trace}"}
    first = post(http, path, {"traceUuid": trace, "rating": 1}, **key)
    again = post(http, path + "/", {"traceUuid": trace, "rating": 1}, **key)
    other = post(http, path, {"traceUuid": trace, "rating": 0}, **key)

    assert first.content == again.content
    assert given(http, trace)["id"] == first.json()["data"]["id"]
    assert_error(other, 422)  # never 409: a client to 3.3.9 then waits for an answer on standard input
