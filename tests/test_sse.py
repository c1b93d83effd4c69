"""Server-sent events: the machine gives the same events however its bytes are split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture import sse
from gateway.capture.sse import Event, EventParser, LastEvent, error_event

LINES = st.sampled_from(
    [
        b'data: {"a":1}', b"data:x", b"data: ", b"data", b"event: ping", b"event:", b": comment", b"id: 3",
        b"retry: 10", b"nonsense", b"", b"", b"data: [DONE]", "data: ü€𝄞".encode(), b"\xef\xbb\xbfdata: bom",
    ]
)  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BODIES = st.lists(st.tuples(LINES, ENDS), max_size=24).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


def split_at(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@given(BODIES, st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_gives_the_same_events(body: bytes, cuts: list[int]) -> None:
    parser = EventParser()
    events = [event for chunk in split_at(body, cuts) for event in parser.feed(chunk)] + parser.flush()
    assert events == sse.parse(body)


@given(BODIES, st.lists(st.integers(0, 10_000), max_size=12))
def test_an_event_is_known_as_soon_as_its_blank_line_is(body: bytes, cuts: list[int]) -> None:
    whole = EventParser()
    complete = whole.feed(body)
    parser = EventParser()
    assert [event for chunk in split_at(body, cuts) for event in parser.feed(chunk)] == complete


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [Event(b"", b"a")]),
        (b"data: a\ndata: b\n\n", [Event(b"", b"a\nb")]),
        (b"event: error\r\ndata: x\r\n\r\n", [Event(b"error", b"x")]),
        (b"data:a\r\rdata:b\r\r", [Event(b"", b"a"), Event(b"", b"b")]),
        (b": keep-alive\n\ndata: a\n\n", [Event(b"", b"a")]),
        (b"event: ping\n\ndata: a\n\n", [Event(b"", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"", b"a")]),
        (b"data: cut off", [Event(b"", b"cut off")]),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(body: bytes, events: list[Event]) -> None:
    assert sse.parse(body) == events


LAST_EVENTS = [
    b"data: [DONE]\n\n",
    b"data:[DONE]\r\n\r\n",
    b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n',
    b'event: response.incomplete\ndata: {"type":"response.incomplete"}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


@pytest.mark.parametrize("last", LAST_EVENTS)
def test_the_last_event_is_recognised_at_the_byte_that_completes_it(last: bytes) -> None:
    body = b'data: {"choices":[]}\n\n' * 3 + last
    watcher = LastEvent()
    found = [index for index in range(len(body)) if watcher.feed(body[index : index + 1])]
    assert found[:1] == [len(body) - 1] or body[found[0] :] in (b"\n", b"\r\n")


@given(st.sampled_from(LAST_EVENTS), st.lists(st.integers(0, 10_000), max_size=6))
def test_the_last_event_is_recognised_in_any_split(last: bytes, cuts: list[int]) -> None:
    watcher = LastEvent()
    recognised = [watcher.feed(chunk) for chunk in split_at(b'data: {"a":1}\n\n' + last, cuts)]
    assert any(recognised)


STREAM_PIECES = st.sampled_from(
    [
        b'data: {"a":1}\n\n', b"data: [DONE]\n\n", b"data: [DO", b"NE]\n\n", b"\n", b"\r\n", b"data: ",
        b"[DONE]", b": c\n\n", b"event: message_stop\n", b"event: ping\n", b"data: {}\n\n", b"x", b"ev",
        b"ent: response.completed\r\n", b"\r\r", b'data: {"a":1}', b"\r", b'data:{"a":1}\n\n',
        b"event: response.created\n",
    ]
)  # fmt: skip


@given(st.lists(STREAM_PIECES, max_size=14), st.lists(st.integers(0, 10_000), max_size=10))
def test_the_quick_look_finds_what_a_search_of_everything_finds(pieces: list[bytes], cuts: list[int]) -> None:
    chunks = [chunk for chunk in split_at(b"".join(pieces), cuts) if chunk]
    watcher = LastEvent()
    seen = b"\n"
    for chunk in chunks:
        seen += chunk
        mark = sse._LAST_EVENT.search(seen)
        is_over = mark is not None and sse._BLANK_LINE.search(seen, mark.end() - 1) is not None
        assert watcher.feed(chunk) == is_over
        if is_over:
            break


@pytest.mark.parametrize("last", LAST_EVENTS)
@pytest.mark.parametrize("more", [b": ping", b"\r\n", b'data: {"a":'])
def test_the_last_event_is_recognised_with_more_behind_it(last: bytes, more: bytes) -> None:
    assert LastEvent().feed(b'data: {"a":1}\n\n' + last + more)


@pytest.mark.parametrize(
    "text",
    [
        rb'data: {"content":"data: [DONE]"}' + b"\n\n",
        rb'data: {"content":"\n\ndata: [DONE]\n\n"}' + b"\n\n",
        b'data: {"content":"event: message_stop"}\n\n',
        b'event: response.created\ndata: {"type":"response.completed"}\n\n',
    ],
)
def test_a_model_that_writes_about_last_events_ends_nothing(text: bytes) -> None:
    assert not LastEvent().feed(text)


@pytest.mark.parametrize("tail", [b"", b'{"a":1}\n\n', b'data: {"half', b"data: x\n"])
def test_an_error_event_is_an_event_of_its_own_after_any_bytes(tail: bytes) -> None:
    body = b"data: first\n\n" + tail
    events = sse.parse(body + error_event(b'{"error":{}}', body[-4:]))
    assert events[-1] == Event(b"error", b'{"error":{}}')
