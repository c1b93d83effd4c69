"""POST /v1/feedback and /feedback, which three vendors share: whose body it is, and whose error.

And what all vendors' endpoints have in common: spellings of their paths, ids in the answer, no redirects.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness import RunningGateway, run_gateway
from tests.harness.lock import lock_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Process, RawClient

SHARED = ("/v1/feedback", "/feedback")
DEEPEVAL_OLD, DEEPEVAL_NEW = {"CONFIDENT_API_KEY": "K"}, {"CONFIDENT-API-KEY": "K"}
HUMANLOOP = {"X-API-KEY": "K"}
PORTKEY = {"x-portkey-api-key": "K"}


def vendor_of(answer: httpx.Response) -> str:
    """Whose answer it is, success or failure, by its shape alone."""
    body = answer.json()
    if isinstance(body, list) or "detail" in body or str(body.get("id", "")).startswith("ann_"):
        return "humanloop"
    if body.get("status") in ("success", "failure"):
        return "portkey"
    assert body.keys() in ({"success", "data"}, {"success", "error"}), body
    return "deepeval"


def post(http: httpx.Client, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    first, second = (http.post(path, content=content, headers=headers) for path in SHARED)
    assert first.status_code == second.status_code
    assert vendor_of(first) == vendor_of(second)
    assert first.headers["content-type"] == second.headers["content-type"] == "application/json"
    return first


# --- whose body it is ---

SCORE = {"trace_id": "ID", "value": 1}
RATING = {"eventId": "ID", "rating": 4}
LABEL = {"type": "rating", "value": "good", "data_id": "ID"}
CLAIMED: dict[str, tuple[Any, str, int]] = {
    "a trace_id": (SCORE, "portkey", 200),
    "a traceID": ({"traceID": "ID", "value": 1}, "portkey", 200),
    "a traceId": ({"traceId": "ID", "value": 1}, "portkey", 200),
    "a trace_id and everything else": (
        {**SCORE, "eventId": "x", "rating": 4, "type": "x", "data_id": "x"}, "portkey", 200,
    ),
    "a trace_id that is null": ({**RATING, **LABEL, "trace_id": None}, "portkey", 400),
    "a trace_id in an array": ([SCORE, SCORE], "portkey", 200),
    "a trace_id under a number": ({"0": SCORE, "1": SCORE}, "portkey", 200),
    "a trace_id under the lowest of the numbers": ({"11": LABEL, "2": SCORE}, "portkey", 400),
    "a trace_id after something that is no object": ([5, SCORE], "portkey", 400),
    "an eventId": (RATING, "deepeval", 200),
    "a traceUuid": ({"traceUuid": "ID", "rating": 4}, "deepeval", 200),
    "a spanUuid": ({"spanUuid": "ID", "rating": 4}, "deepeval", 200),
    "a threadSuppliedId": ({"threadSuppliedId": "ID", "rating": 4}, "deepeval", 200),
    "an eventId and a label": ({**LABEL, **RATING}, "deepeval", 200),
    "an eventId that is null": ({"eventId": None, "rating": 4}, "deepeval", 400),
    "a type and a value": ({"type": "rating", "value": "good"}, "humanloop", 422),
    "a type and a data_id": ({"type": "rating", "data_id": "ID"}, "humanloop", 422),
    "a type and unset": ({"type": "rating", "unset": True}, "humanloop", 422),
    "a whole label": (LABEL, "humanloop", 200),
    "a label in an array": ([LABEL, LABEL], "humanloop", 200),
    "a label after something that is no object": ([None, LABEL], "humanloop", 422),
    "a label under a number": ({"0": LABEL}, "humanloop", 422),
    "a label and then a score": ([LABEL, SCORE], "humanloop", 422),
    "a score and then a label": ([SCORE, LABEL], "portkey", 400),
}  # fmt: skip


@pytest.mark.parametrize(("body", "vendor", "status"), CLAIMED.values(), ids=CLAIMED.keys())
@pytest.mark.parametrize("headers", [{}, PORTKEY, HUMANLOOP, DEEPEVAL_OLD], ids=str)
def test_the_first_rule_that_fits_decides_whatever_the_headers_say(
    http: httpx.Client, trace: str, body: Any, vendor: str, status: int, headers: dict[str, str]
) -> None:
    aimed = json.loads(json.dumps(body).replace('"ID"', json.dumps(trace)))
    answer = post(http, aimed, headers)

    assert (vendor_of(answer), answer.status_code) == (vendor, status), answer.text
    stored = http.get("/v1/feedback", params={"trace_id": trace}).json()["data"]
    assert bool(stored) == (status == 200)


# --- whose error it is ---

UNCLAIMED: list[Any] = [
    {}, [], [{}], {"0": {}}, {"rating": 4}, {"type": "rating"}, {"value": 1}, {"0": RATING}, [RATING], 5, "x",
    None, b"", b"{", b'{"trace_id": NaN}', b"\xff",
]  # fmt: skip
CALLERS: dict[str, tuple[dict[str, str], str]] = {
    "nobody's header": ({}, "portkey"),
    "Portkey's": (PORTKEY, "portkey"),
    "a provider's key": ({"authorization": "Bearer sk"}, "portkey"),
    "deepeval's old": (DEEPEVAL_OLD, "deepeval"),
    "deepeval's new": (DEEPEVAL_NEW, "deepeval"),
    "Humanloop's": (HUMANLOOP, "humanloop"),
    "deepeval's and Humanloop's": ({**HUMANLOOP, **DEEPEVAL_NEW}, "deepeval"),
    "deepeval's and Portkey's": ({**PORTKEY, **DEEPEVAL_OLD}, "deepeval"),
}


@pytest.mark.parametrize("body", UNCLAIMED, ids=str)
@pytest.mark.parametrize(("headers", "vendor"), CALLERS.values(), ids=CALLERS.keys())
def test_a_body_of_nobody_is_refused_in_the_callers_shape(
    http: httpx.Client, body: Any, headers: dict[str, str], vendor: str
) -> None:
    answer = post(http, body, headers)

    assert vendor_of(answer) == vendor
    assert answer.status_code == (422 if vendor == "humanloop" else 400)
    if vendor == "portkey":
        is_json = not isinstance(body, bytes) and isinstance(body, dict | list)
        assert answer.json()["error"]["code"] == ("032" if is_json else "03")


@pytest.mark.parametrize(("headers", "vendor"), CALLERS.values(), ids=CALLERS.keys())
def test_another_method_is_refused_in_the_callers_shape(
    http: httpx.Client, headers: dict[str, str], vendor: str
) -> None:
    for path in SHARED:
        answer = http.patch(path, headers=headers)
        assert (answer.status_code, vendor_of(answer)) == (405, vendor)
        assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(("headers", "vendor"), CALLERS.values(), ids=CALLERS.keys())
def test_too_large_a_body_is_refused_in_the_callers_shape(
    http: httpx.Client, headers: dict[str, str], vendor: str
) -> None:
    answer = http.post("/v1/feedback", content=b" " * 17 * 1024 * 1024, headers=headers)

    assert (answer.status_code, vendor_of(answer)) == (413, vendor)


# --- a store that fails ---

IMPATIENT = {"store": {"busy_timeout_s": 0.2, "retry_s": 0.2}}


@pytest.fixture(scope="module")
def locked(fake_openai: Process) -> Iterator[RunningGateway]:
    """A gateway whose database another process has locked."""
    with run_gateway(IMPATIENT, upstream=f"{fake_openai.url}/v1") as running:
        assert running.database is not None
        with lock_held(running.database):
            yield running


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/feedback", SCORE, None),
        ("/v1/feedback", RATING, {"success": False, "error": "Internal error"}),
        ("/v1/feedback", LABEL, {"detail": "Internal error"}),
        ("/v4/feedback", LABEL, {"detail": "Internal error"}),
        ("/v5/evaluators/log", {"path": "x", "judgment": 1, "parent_id": "ID"}, {"detail": "Internal error"}),
        ("/v1/annotations", {"traceUuid": "ID", "rating": 1}, {"success": False, "error": "Internal error"}),
    ],
    ids=str,
)
def test_a_failure_inside_is_a_500_in_the_vendors_shape_that_no_sdk_repeats(
    locked: RunningGateway, path: str, body: Any, expected: Any
) -> None:
    answer = httpx.post(locked.url + path, json=body, timeout=20)

    assert answer.status_code == 500
    assert answer.headers["x-portkey-request-id"]  # without it Portkey's SDKs send the item again
    if expected is None:
        assert answer.json()["message"] == "Something went wrong"
    else:
        assert answer.json() == expected


# --- every vendor's paths ---

PATHS: dict[str, Any] = {
    "/v1/feedback": SCORE,
    "/feedback": SCORE,
    "/v4/feedback": LABEL,
    "/v5/evaluators/log": {"path": "rating", "judgment": "good", "parent_id": "ID"},
    "/v1/annotations": {"traceUuid": "ID", "rating": 1},
    "/api/3.0/mlflow/traces/ID/assessments": {
        "assessment": {
            "assessment_name": "x",
            "feedback": {"value": True},
            "source": {"source_type": "HUMAN"},
        }
    },
    "/api/v1/feedback_task": {"name": "x", "json_schema": {}},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "spelling",
    [
        lambda path: path,
        lambda path: f"{path}/",
        lambda path: f"/{path}",
        lambda path: path.replace("/", "//"),
        lambda path: f"{path}//",
    ],
    ids=["plain", "a slash at the end", "a doubled slash first", "every slash doubled", "two at the end"],
)
def test_every_spelling_of_a_path_is_served_directly(
    client: RawClient, trace: str, path: str, spelling: Any
) -> None:
    body = json.dumps(PATHS[path]).replace("ID", trace).encode()
    client.post(spelling(path.replace("ID", trace)), body, "content-type: application/json")
    answer = client.read_answer()

    assert answer.status == 200, answer.body  # no redirect: Portkey's SDK raises on a 307
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("is_good", [True, False])
def test_every_answer_carries_its_ids(http: httpx.Client, trace: str, path: str, is_good: bool) -> None:
    body = json.dumps(PATHS[path]).replace("ID", trace) if is_good else "{"
    answer = http.post(
        path.replace("ID", trace), content=body, headers={"x-portkey-trace-id": "client-trace"}
    )

    assert (answer.status_code == 200) == is_good
    assert answer.headers["x-request-id"]
    assert answer.headers["x-portkey-trace-id"] == answer.headers["x-trace-id"] == "client-trace"


@pytest.mark.parametrize("path", PATHS)
def test_a_get_with_a_query_never_fails_inside(http: httpx.Client, path: str) -> None:
    answer = http.get(path, params={"trace_id": "😀 ü", "x": "\x00"})

    assert answer.status_code < 500
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v4/feedback", "/v1/feedback"])
def test_one_record_answers_to_every_spelling_of_its_id(http: httpx.Client, trace: str, path: str) -> None:
    label = {"type": "rating", "value": "good", "data_id": trace}
    annotation = http.post(path, json=label).json()["id"]
    digits = annotation.removeprefix("ann_")

    found = [
        http.get(f"/v1/feedback/{spelling}").json()["id"]
        for spelling in (annotation, f"a-{digits}", digits, annotation.upper().replace("ANN", "ann"))
    ]
    assert len(set(found)) == 1
    assert found[0].replace("-", "") == digits
