"""For any bytes, cut anywhere: what goes in comes out. Both transports, hypothesis at both their ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import RawClient, RunningGateway, WireUpstream, chunk, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
LAST_CHUNK = b"0\r\n\r\n"

thorough = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
separators = st.tuples(st.sampled_from([",", " ,", ",\n\t", ", "]), st.sampled_from([":", " : ", ":\r\n"]))
header_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~", min_size=1, max_size=20).map(
    "x-t-".__add__
)
header_values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60)
headers = st.lists(st.tuples(header_names, header_values), max_size=6)
path_characters = "abcXYZ019-_~!$&'()*+,;=:@"
paths = st.lists(
    st.text(path_characters, min_size=1, max_size=12) | st.sampled_from(["%20", "%2F", "%c3%A9"]), max_size=5
)
queries = st.text(path_characters + "/?%", max_size=40).map(lambda text: text.replace("%", "%25"))


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    upstream = {"base_url": wire.base_url, "transport": request.param}
    with run_gateway({"upstreams": {"wire": upstream}}) as running:
        yield running


@pytest.fixture
def client(gateway: RunningGateway, wire: WireUpstream) -> Iterator[RawClient]:
    wire.reset()
    with RawClient(gateway.port) as connection:
        yield connection


@st.composite
def cut(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> list[bytes]:
    """Bytes in pieces, none of them empty."""
    whole = draw(data)
    places = draw(st.lists(st.integers(0, len(whole)), max_size=6).map(sorted))
    ends = [*places, len(whole)]
    pieces = [whole[start:end] for start, end in zip([0, *places], ends, strict=True)]
    return [piece for piece in pieces if piece]


@thorough
@given(value=st.dictionaries(st.text(), json_values, max_size=5), marks=separators, ascii_only=st.booleans())
def test_any_json_object_goes_up_as_it_was_written(
    client: RawClient, wire: WireUpstream, value: dict[str, Any], marks: tuple[str, str], ascii_only: bool
) -> None:
    body = json.dumps(value, separators=marks, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    client.post(CHAT, body, "content-type: application/json")

    assert client.read_answer().status == 200
    assert wire.request().body == body


@thorough
@given(pieces=cut(st.binary(max_size=3000)), counted=st.booleans())
def test_any_bytes_go_up_however_they_are_cut(
    client: RawClient, wire: WireUpstream, pieces: list[bytes], counted: bool
) -> None:
    body = b"".join(pieces)
    framing = b"content-length: %d" % len(body) if counted else b"transfer-encoding: chunked"
    client.send(b"POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: application/octet-stream\r\n" + framing)
    client.send(b"\r\n\r\n")
    for piece in pieces:
        client.send(piece if counted else chunk(piece))
    if not counted:
        client.send(LAST_CHUNK)

    assert client.read_answer().status == 200
    assert wire.request().body == body


@thorough
@given(
    pieces=cut(st.binary(max_size=3000)),
    counted=st.booleans(),
    content_type=st.sampled_from(["application/json", "text/event-stream", "audio/mpeg"]),
    status=st.sampled_from([200, 201, 400, 429, 500]),
)
def test_any_bytes_come_down_however_they_are_cut(
    client: RawClient, wire: WireUpstream, pieces: list[bytes], counted: bool, content_type: str, status: int
) -> None:
    body = b"".join(pieces)
    framing = f"content-length: {len(body)}" if counted else "transfer-encoding: chunked"
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n".encode()
    wire.answers(
        head, *(piece if counted else chunk(piece) for piece in pieces), b"" if counted else LAST_CHUNK
    )
    client.post(CHAT, b"{}", "content-type: application/json")

    answer = client.read_answer()
    assert (answer.status, answer.body, answer.clean) == (status, body, True)
    assert answer.header("content-type") == content_type


@thorough
@given(pieces=cut(st.binary(max_size=600)), place=st.integers(0, 700))
def test_any_stretch_of_the_wire_may_come_late(
    client: RawClient, wire: WireUpstream, pieces: list[bytes], place: int
) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    answer += b"".join(chunk(piece) for piece in pieces) + LAST_CHUNK
    wire.answers(answer[:place], 0.003, answer[place:])
    client.post(CHAT, b'{"stream": true}', "content-type: application/json")

    received = client.read_answer()
    assert (received.status, received.body, received.clean) == (200, b"".join(pieces), True)


@thorough
@given(fields=headers)
def test_any_header_goes_up_and_comes_down(
    client: RawClient, wire: WireUpstream, fields: list[tuple[str, str]]
) -> None:
    lines = [f"{name}: {value}" for name, value in fields]
    wire.answers("\r\n".join(["HTTP/1.1 200 OK", "content-length: 2", *lines]).encode() + b"\r\n\r\n{}")
    client.get("/v1/models", *lines)

    answer = client.read_answer()
    came_down = [(name, value) for name, value in answer.headers if name.startswith("x-t-")]
    went_up = [
        (name.decode().lower(), value.decode())
        for name, value in wire.request().headers
        if name.lower().startswith(b"x-t-")
    ]
    assert came_down == fields
    assert went_up == fields


@thorough
@given(segments=paths, query=queries)
def test_any_path_and_query_go_up_as_they_were_written(
    client: RawClient, wire: WireUpstream, segments: list[str], query: str
) -> None:
    target = "/v1/any" + "".join(f"/{segment}" for segment in segments) + (f"?{query}" if query else "")
    client.get(target)

    assert client.read_answer().status == 200
    assert wire.request().target.decode() == target
