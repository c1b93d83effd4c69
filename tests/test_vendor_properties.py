"""What holds for every body sent to any vendor's endpoint, and for every piece of feedback that one takes."""

from __future__ import annotations

import asyncio
import itertools
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jsonio import dumps
from tests.own_api import OwnAPI, lasting_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

EXAMPLES = itertools.count()


@pytest.fixture(scope="module")
def api(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnAPI]:
    """One database for all examples: each keeps to ids of its own."""
    with lasting_api(runner, tmp_path_factory.mktemp("vendors")) as opened:
        yield opened


# --- what each vendor's client can read ---


def assert_portkey(response: httpx.Response) -> None:
    body = response.json()
    if response.status_code == 200:
        assert body.keys() == {"status", "message", "feedback_ids"}
        return
    assert body.keys() == {"status", "message", "error"}
    assert body["error"].keys() == {"message", "type", "code", "param"}
    assert body["message"] == body["error"]["message"]


def assert_humanloop_v4(response: httpx.Response) -> None:
    body = response.json()
    if response.status_code != 200:
        assert_details(response)
        return
    for item in body if isinstance(body, list) else [body]:
        assert {"type", "value", "data_id", "id"} <= item.keys() <= {
            "type", "value", "data_id", "user", "created_at", "id",
        }  # fmt: skip
        assert re.fullmatch("ann_[0-9a-f]{32}", item["id"])


def assert_humanloop_v5(response: httpx.Response) -> None:
    if response.status_code != 200:
        assert_details(response)
        return
    body = response.json()
    assert body.keys() == {"id", "parent_id", "version_id"}
    assert all(isinstance(text, str) for text in body.values())


def assert_details(response: httpx.Response) -> None:
    body = response.json()
    assert body.keys() == {"detail"}
    if response.status_code != 422:
        assert isinstance(body["detail"], str)
        return
    for detail in body["detail"]:
        assert detail.keys() == {"loc", "msg", "type"}
        assert all(type(step) in (str, int) for step in detail["loc"])
        assert type(detail["msg"]) is type(detail["type"]) is str


def assert_deepeval(response: httpx.Response) -> None:
    body = response.json()
    if response.status_code == 200:
        assert body.keys() == {"success", "data"}
        assert body["success"] is True
        assert uuid.UUID(body["data"]["id"])
        return
    assert body.keys() == {"success", "error"}
    assert body["success"] is False
    assert isinstance(body["error"], str)
    assert body["error"]


def assert_mlflow(response: httpx.Response) -> None:
    body = response.json()
    if response.status_code == 200:
        assert body.keys() <= {"assessment"}
        return
    assert body.keys() == {"error_code", "message"}
    assert body["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")


def assert_log10(response: httpx.Response) -> None:
    body = response.json()
    if response.status_code == 200:
        assert {"id", "organization_id"} <= body.keys()
        return
    assert body.keys() == {"error"}
    assert isinstance(body["error"], str)


def assert_never_fatal(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    assert response.status_code != 409  # deepeval's old client would ask its server's standard input
    assert response.headers["content-type"] == "application/json"


# --- any body ---

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
IDS = st.sampled_from(("fuzz", "fuzz-2")) | SCALARS
TEXTS = st.sampled_from(("", "x", "rating", "correction", "comment")) | st.text() | ANY_JSON


def nearly(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that might do: some of the fields, and some of those right."""
    return st.fixed_dictionaries({}, optional=fields)


PORTKEY = nearly(
    trace_id=IDS, traceID=IDS, value=st.integers(-11, 11) | ANY_JSON, weight=st.floats(-1, 2) | ANY_JSON,
    metadata=st.dictionaries(st.text(), ANY_JSON) | ANY_JSON, feedback_id=SCALARS, name=TEXTS, comment=TEXTS,
    kind=st.sampled_from(("score", "text", "none")) | SCALARS, request_id=IDS, tags=ANY_JSON,
)  # fmt: skip
TIMES = st.datetimes().map(lambda moment: moment.isoformat()) | ANY_JSON
HUMANLOOP_V4 = nearly(
    type=TEXTS, value=TEXTS, data_id=IDS, user=IDS, created_at=TIMES, unset=st.booleans() | ANY_JSON,
    provider_api_keys=ANY_JSON,
)  # fmt: skip
HUMANLOOP_V5 = nearly(
    path=TEXTS, id=TEXTS, parent_id=IDS, judgment=TEXTS, user=IDS, created_at=TIMES, metadata=ANY_JSON,
    save=st.booleans() | SCALARS, spec=ANY_JSON | nearly(evaluator_type=TEXTS),
)  # fmt: skip
DEEPEVAL = nearly(
    eventId=IDS, traceUuid=IDS, spanUuid=IDS, threadSuppliedId=IDS, threadId=IDS,
    rating=st.integers(-1, 6) | st.sampled_from(("4", 4.0, "1e0", "")) | ANY_JSON, explanation=TEXTS,
    expectedResponse=TEXTS, expectedOutput=TEXTS, expectedOutcome=TEXTS, userId=IDS,
    type=st.sampled_from(("THUMBS_RATING", "FIVE_STAR_RATING")) | SCALARS,
)  # fmt: skip
MLFLOW = nearly(
    assessment=nearly(
        assessment_name=TEXTS, trace_id=IDS, feedback=nearly(value=ANY_JSON, error=ANY_JSON) | ANY_JSON,
        expectation=nearly(value=ANY_JSON, serialized_value=ANY_JSON) | ANY_JSON, rationale=TEXTS,
        source=nearly(source_type=st.sampled_from(("HUMAN", "CODE")) | SCALARS, source_id=IDS) | ANY_JSON,
        metadata=ANY_JSON, span_id=IDS, overrides=IDS, valid=SCALARS,
    ) | ANY_JSON,
    update_mask=st.sampled_from(("feedback", "rationale,metadata", "assessmentName")) | TEXTS,
)  # fmt: skip
TASK = nearly(
    name=TEXTS, json_schema=st.sampled_from(({}, {"type": "object"}, {"type": 5}, {"$ref": "x"})) | ANY_JSON,
    instruction=TEXTS, completion_tags_selector=st.lists(st.text()) | ANY_JSON, organization_id=SCALARS,
)  # fmt: skip
LOG10 = nearly(
    task_id=IDS, json_values=ANY_JSON, completion_tags_selector=st.lists(st.text()) | ANY_JSON,
    completion_ids=st.lists(st.text()) | ANY_JSON, comment=TEXTS, max_matched_completions=SCALARS,
    allow_unmatched_feedback=SCALARS, organization_id=SCALARS,
)  # fmt: skip

ASSESSMENTS = "/api/3.0/mlflow/traces/fuzz/assessments"
ENDPOINTS: dict[str, tuple[Callable[[httpx.Response], None], Any]] = {
    "PUT /v1/feedback/x": (assert_portkey, PORTKEY),
    "PUT /feedback/undefined": (assert_portkey, PORTKEY),
    "POST /v4/feedback": (assert_humanloop_v4, HUMANLOOP_V4),
    "POST /v5/evaluators/log": (assert_humanloop_v5, HUMANLOOP_V5),
    "POST /v1/annotations": (assert_deepeval, DEEPEVAL),
    f"POST {ASSESSMENTS}": (assert_mlflow, MLFLOW),
    f"PATCH {ASSESSMENTS}/a-1": (assert_mlflow, MLFLOW),
    f"DELETE {ASSESSMENTS}/a-1": (assert_mlflow, MLFLOW),
    "POST /api/v1/feedback_task": (assert_log10, TASK),
    "POST /api/v1/feedback": (assert_log10, LOG10),
}


def bodies(items: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    batches = st.lists(items, max_size=3) | st.dictionaries(
        st.integers(0, 10**30).map(str), items, max_size=3
    )
    return (ANY_JSON | items | items | batches).map(dumps) | st.binary()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_body_is_answered_in_the_vendors_shape(
    runner: asyncio.Runner, api: OwnAPI, endpoint: str, data: st.DataObject
) -> None:
    assert_shape, items = ENDPOINTS[endpoint]
    method, path = endpoint.split(" ")
    response = runner.run(api.client.request(method, path, content=data.draw(bodies(items))))

    assert_never_fatal(response)
    assert_shape(response)


SHAPES = {"portkey": assert_portkey, "deepeval": assert_deepeval, "humanloop": assert_humanloop_v4}
HEADERS: dict[str, tuple[str, str]] = {
    # whose header it is, and its value: an empty one counts as absent
    "CONFIDENT_API_KEY": ("deepeval", "K"), "CONFIDENT-API-KEY": ("deepeval", "K"),
    "X-API-KEY": ("humanloop", "K"),
    "x-portkey-api-key": ("portkey", "K"), "X-Api-Key": ("portkey", ""),
}  # fmt: skip


def expected_vendor(body: Any, header: str) -> str:
    """The dispatch rules, the shortest way. `body` is None for what is no JSON."""
    probe: Any = body
    if isinstance(body, dict) and body and all(re.fullmatch("[0-9]+", key) for key in body):
        probe = [body[key] for key in sorted(body, key=int)]
    if isinstance(probe, list):
        probe = next((member for member in probe if isinstance(member, dict)), {})
    if not isinstance(probe, dict):
        probe = {}
    if probe.keys() & {"trace_id", "traceID", "traceId"}:
        return "portkey"
    if probe is body and body.keys() & {"eventId", "traceUuid", "spanUuid", "threadSuppliedId"}:
        return "deepeval"
    if "type" in probe and probe.keys() & {"data_id", "value", "unset"}:
        return "humanloop"
    if probe.keys() & {"request_id", "tags", "selector", "overrides"}:
        return "portkey"
    return HEADERS[header][0]


@settings(max_examples=200, deadline=None)
@given(
    body=st.one_of(
        *(
            items
            | st.lists(items, max_size=2)
            | st.dictionaries(st.integers(0, 99).map(str), items, max_size=2)
            for items in (PORTKEY, HUMANLOOP_V4, DEEPEVAL, PORTKEY | HUMANLOOP_V4 | DEEPEVAL)
        ),
        ANY_JSON,
    ),
    header=st.sampled_from(tuple(HEADERS)),
    path=st.sampled_from(("/v1/feedback", "/feedback/")),
)
def test_a_shared_path_answers_in_the_shape_of_whose_body_it_is(
    runner: asyncio.Runner, api: OwnAPI, body: Any, header: str, path: str
) -> None:
    _, key = HEADERS[header]
    response = runner.run(api.client.post(path, content=dumps(body), headers={header: key}))

    assert_never_fatal(response)
    SHAPES[expected_vendor(body, header)](response)


# --- what was given is what is listed ---


@dataclass(frozen=True)
class Sent:
    """A create as a vendor's client would send it, and what our list must show of it.

    `target` is the id it is given to.
    """

    path: str
    body: Any
    target: str
    shown: dict[str, Any]


WORDS = st.text(min_size=1, max_size=60)
MAYBE_WORDS = st.none() | WORDS
LABELS = st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LABELS |= st.text(max_size=300) | st.lists(st.text(max_size=20), max_size=4)
METADATA = st.dictionaries(
    st.text(max_size=20), SCALARS.filter(lambda it: it not in (float("inf"), -float("inf")))
)
KINDS = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
NOTHING = {
    "comment": None,
    "correction": None,
    "metadata": None,
    "weight": 1.0,
    "task": None,
    "overrides": None,
}


def without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@st.composite
def targets(draw: st.DrawFn, text: st.SearchStrategy[str] = WORDS) -> str:
    """An id that no other example has, of whatever characters."""
    return f"{draw(text)}-{next(EXAMPLES)}"


VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
IN_A_PATH = st.text(
    st.characters(exclude_categories=("C",), exclude_characters="/?#%"), min_size=1, max_size=60
)
"""MLflow's client puts ids into paths as they are."""


@st.composite
def portkey(draw: st.DrawFn) -> Sent:
    target, value = draw(targets(VISIBLE)), draw(st.integers(-10, 10))
    weight, metadata = draw(st.none() | st.floats(0, 1)), draw(st.none() | METADATA)
    spelling = draw(st.sampled_from(("trace_id", "traceID", "traceId")))
    spelled = draw(st.sampled_from((value, float(value), str(value))))
    item = {spelling: target, **without_none(value=spelled, weight=weight, metadata=metadata)}
    user = (metadata or {}).get("_user")
    shown = {
        **NOTHING, "name": "feedback", "kind": "score", "value": value, "metadata": metadata,
        "weight": 1.0 if weight is None else weight,
        "source": {"type": "API", "id": user if isinstance(user, str) else None},
    }  # fmt: skip
    body = draw(st.sampled_from((item, [item], {"7": item})))
    return Sent(draw(st.sampled_from(("/v1/feedback", "/feedback"))), body, target, shown)


@st.composite
def humanloop_v4(draw: st.DrawFn) -> Sent:
    target, user = draw(targets()), draw(st.none() | st.text(max_size=40))
    name = draw(WORDS | st.sampled_from(("rating", "correction", "comment")))
    value = draw(WORDS if name in ("correction", "comment") else LABELS)
    item = {"type": name, "value": value, "data_id": target, **without_none(user=user)}
    shown = {**NOTHING, "name": name, "kind": KINDS[type(value)], "value": value}
    if name in ("correction", "comment"):
        shown |= {"kind": "none", "value": None, name: value}
    shown["source"] = {"type": "HUMAN", "id": user}
    path = draw(st.sampled_from(("/v4/feedback", "/v1/feedback", "/feedback")))
    return Sent(path, draw(st.sampled_from((item, [item]))), target, shown)


@st.composite
def humanloop_v5(draw: st.DrawFn) -> Sent:
    target, user, metadata = draw(targets()), draw(MAYBE_WORDS), draw(st.none() | METADATA)
    name, evaluator_id = draw(MAYBE_WORDS | st.just("correction")), draw(WORDS)
    value = draw(WORDS if name == "correction" else LABELS)
    judge = draw(st.sampled_from((None, "human", "llm", "python", "external")))
    sources = {"llm": "LLM_JUDGE", "python": "CODE", "external": "API"}
    body = {
        "parent_id": target, "id": evaluator_id, "judgment": value,
        **without_none(path=name, user=user, metadata=metadata, spec=judge and {"evaluator_type": judge}),
    }  # fmt: skip
    shown = {**NOTHING, "name": name or evaluator_id, "kind": KINDS[type(value)], "value": value}
    if name == "correction":
        shown |= {"kind": "none", "value": None, "correction": value}
    shown |= {"metadata": metadata, "source": {"type": sources.get(judge or "", "HUMAN"), "id": user}}
    return Sent("/v5/evaluators/log", body, target, shown)


@st.composite
def deepeval(draw: st.DrawFn) -> Sent:
    target, explanation, expected = draw(targets()), draw(MAYBE_WORDS), draw(MAYBE_WORDS)
    shown = {**NOTHING, "kind": "number", "comment": explanation, "correction": expected}
    if draw(st.booleans()):
        id_name = draw(st.sampled_from(("eventId", "traceUuid", "spanUuid", "threadSuppliedId")))
        rating = draw(st.integers(1 if id_name == "eventId" else 0, 5))
        body = {id_name: target, **without_none(explanation=explanation, expectedResponse=expected)}
        shown |= {"name": "rating", "source": {"type": "HUMAN", "id": None}}
        path = draw(st.sampled_from(("/v1/feedback", "/feedback")))
    else:
        id_name, user = draw(st.sampled_from(("traceUuid", "spanUuid", "threadId"))), draw(MAYBE_WORDS)
        stars = draw(st.booleans())
        rating = draw(st.integers(1, 5) if stars else st.integers(0, 1))
        body = {id_name: target, **without_none(explanation=explanation, userId=user)}
        body |= {"type": "FIVE_STAR_RATING"} if stars else {}
        if expected is not None:
            body["expectedOutcome" if id_name == "threadId" else "expectedOutput"] = expected
        shown |= {"name": "five_star_rating" if stars else "thumbs_rating"}
        shown |= {"source": {"type": "HUMAN", "id": user}}
        path = "/v1/annotations"
    spelled = draw(st.sampled_from((rating, float(rating), str(rating))))
    return Sent(path, {**body, "rating": spelled}, target, {**shown, "value": rating})


@st.composite
def mlflow(draw: st.DrawFn) -> Sent:
    target, name, rationale = draw(targets(IN_A_PATH)), draw(WORDS), draw(MAYBE_WORDS)
    metadata = draw(
        st.none() | st.dictionaries(WORDS.filter(lambda it: not it.startswith("_")), WORDS, min_size=1)
    )
    value = draw(LABELS.filter(lambda it: not isinstance(it, float)))
    source_type, source_id = draw(st.sampled_from(("HUMAN", "LLM_JUDGE", "CODE"))), draw(WORDS)
    assessment = {
        "assessment_name": name, "source": {"source_type": source_type, "source_id": source_id},
        **without_none(rationale=rationale, metadata=metadata),
    }  # fmt: skip
    shown = {**NOTHING, "name": name, "comment": rationale, "metadata": metadata}
    shown |= {"source": {"type": source_type, "id": source_id}}
    if draw(st.booleans()):
        assessment["feedback"] = {"value": value}
        shown |= {"kind": KINDS[type(value)], "value": value}
    elif isinstance(value, list):
        serialized = {"serialization_format": "JSON_FORMAT", "value": dumps(value).decode()}
        assessment["expectation"] = {"serialized_value": serialized}
        shown |= {"kind": "none", "value": None, "correction": value}
    else:
        assessment["expectation"] = {"value": value}
        shown |= {"kind": "none", "value": None, "correction": value}
    path = f"/api/3.0/mlflow/traces/{quote(target, safe='')}/assessments"
    return Sent(path, {"assessment": assessment}, target, shown)


async def listed(api: OwnAPI, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get("/v1/feedback", **params))["data"]
    return found


@pytest.mark.parametrize(
    "creates", [portkey, humanloop_v4, humanloop_v5, deepeval, mlflow], ids=lambda it: it.__name__
)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_a_vendors_client_gives_is_listed_with_its_meaning(
    runner: asyncio.Runner, api: OwnAPI, creates: Any, data: st.DataObject
) -> None:
    sent: Sent = data.draw(creates())

    async def run() -> None:
        response = await api.client.post(sent.path, content=dumps(sent.body))
        assert response.status_code == 200, response.text
        [item] = await listed(api, trace_id=sent.target)
        assert {name: item[name] for name in sent.shown} == sent.shown
        assert type(item["value"]) is type(sent.shown["value"])
        assert item["targets"] == [{"trace_id": sent.target, "request_id": None, "matched": False}]
        assert item["id"] in {uuid_in(text) for text in ids_in(response.json())}

    runner.run(run())


@settings(max_examples=25, deadline=None)
@given(
    name=WORDS.map(str.strip).filter(bool), comment=MAYBE_WORDS, tags=st.none() | st.just(["the-tag"]),
    values=st.dictionaries(st.text(max_size=20), LABELS, max_size=4),
)  # fmt: skip
def test_what_a_log10_client_gives_is_listed_with_its_meaning(
    runner: asyncio.Runner, api: OwnAPI, name: str, comment: str | None, tags: Any, values: dict[str, Any]
) -> None:
    trace_id = f"log10-{next(EXAMPLES)}"

    async def run() -> None:
        exchange_id = await api.exchange(trace_id)
        created = await api.client.post(
            "/api/v1/feedback_task", content=dumps({"name": name, "json_schema": {}})
        )
        assert created.status_code == 200, created.text
        aim = {"completion_ids": [exchange_id]} if tags is None else {"completion_tags_selector": [trace_id]}
        body = {"task_id": created.json()["id"], "json_values": values, "comment": comment, **aim}
        response = await api.client.post("/api/v1/feedback", content=dumps(body))
        assert response.status_code == 200, response.text

        [item] = await listed(api, task_id=created.json()["id"])
        assert (item["name"], item["kind"], item["value"]) == (name, "object", values)
        assert (item["comment"], item["correction"], item["weight"]) == (comment, None, 1.0)
        assert item["source"] == {"type": "HUMAN", "id": None}
        assert item["task"] == {"id": created.json()["id"], "version": 1}
        assert item["metadata"] == (None if tags is None else {"_tags": [trace_id]})
        assert item["targets"] == [{"trace_id": trace_id, "request_id": exchange_id, "matched": True}]

    runner.run(run())


def ids_in(answer: Any) -> Iterator[str]:
    """Every text in an answer that spells a feedback id."""
    if isinstance(answer, str) and re.fullmatch(r"(ann_|a-)?[0-9a-f-]{32,36}", answer):
        yield answer
    for member in answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ():
        yield from ids_in(member)


def uuid_in(text: str) -> str:
    return str(uuid.UUID(text.removeprefix("ann_").removeprefix("a-")))
