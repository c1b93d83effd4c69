"""The cache between a request and its upstream: real store, real clocks, an upstream that the test plays."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import schema
from gateway.errors import StoreUnavailable, UpstreamAborted, UpstreamUnreachable
from gateway.proxy.cache import Lookup, ResponseCache
from gateway.routing.cacheuse import Use
from gateway.store.cache import KeptAnswers
from gateway.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.proxy.upstream.base import Take
    from gateway.records import Headers, KeptAnswer

JSON = [(b"content-type", b"application/json"), (b"set-cookie", b"session=secret"), (b"x-request-id", b"r1")]
SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
BODY = b'{"id":"c1","choices":[{"message":{"content":"hi"}}]}'
STREAM = [b'data: {"choices":[{"delta":{"content":"h"}}]}\n\n', b"data: {}\n\n", b"data: [DONE]\n\n"]
HOUR = Use(3_600_000, 3_600_000, None, refresh=False, share_in_flight=False)
SHARED = HOUR._replace(share_in_flight=True)
REFRESH = HOUR._replace(refresh=True)


class Answer:
    """An upstream's answer that comes in `pieces`; an exception among them is raised."""

    def __init__(self, pieces: list[Any], headers: Headers = JSON, status: int = 200) -> None:
        self.status, self.headers = status, headers
        self.closed = 0
        self.read_on = asyncio.Event()
        self.read_on.set()
        self._pieces = list(pieces)

    @property
    def ready(self) -> bool:
        return self.read_on.is_set()

    @property
    def ended(self) -> bool:
        return not self._pieces

    async def read(self) -> bytes:
        await self.read_on.wait()
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def pass_on(self, take: Take, _lane: object = None) -> bytes:
        while True:
            piece = await self.read()
            if self.ended or not take(piece):
                return piece

    async def close(self) -> None:
        self.closed += 1


class Upstream:
    """Counts its calls. `answers` makes each one, or raises."""

    def __init__(self, answers: Callable[[], Answer] = lambda: Answer([BODY])) -> None:
        self.answers = answers
        self.calls: list[Answer] = []
        self.asked = 0

    async def __call__(self) -> Answer:
        self.asked += 1
        await asyncio.sleep(0)
        self.calls.append(self.answers())
        return self.calls[-1]


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database() -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(schema.Store(url="memory:", busy_timeout_s=0.2))
    yield opened
    await opened.close()


@asynccontextmanager
async def caching(database: SqliteDatabase, clock: Clock, **settings: Any) -> AsyncIterator[ResponseCache]:
    said = schema.Cache(**settings)
    answers = KeptAnswers(database, said, clock)
    answers.start()
    yield ResponseCache(answers, said, clock)
    await answers.close(5)


@pytest.fixture
async def cache(database: SqliteDatabase, clock: Clock) -> AsyncIterator[ResponseCache]:
    async with caching(database, clock) as opened:
        yield opened


def lookup(use: Use = HOUR, key: bytes = b"k" * 32, wait_s: float = 5, *, keeps: bool = True) -> Lookup:
    return Lookup(key, use, wait_s, lambda: keeps)


async def ask(cache: ResponseCache, upstream: Upstream, *wanted: Any, **more: Any) -> tuple[bytes, str]:
    """The answer's body as a client gets it, and what came of the cache."""
    answer, status = await cache.open(lookup(*wanted, **more), upstream)
    taken: list[bytes] = []

    def take(chunk: bytes, framed: bytes | None = None) -> bool:
        taken.append(chunk)
        return len(chunk) != 1  # declines single bytes, as the relay declines the last event

    try:
        taken.append(await answer.read())
        while not answer.ended:
            chunk = await answer.pass_on(take)
            if len(chunk) == 1:
                taken.pop()
            taken.append(chunk)
    finally:
        await answer.close()
    return b"".join(taken), status


# --- hit, miss, refresh, expiry ---


async def test_the_second_request_is_answered_without_the_upstream(cache: ResponseCache) -> None:
    upstream = Upstream()
    assert await ask(cache, upstream) == (BODY, "miss")
    assert await ask(cache, upstream) == (BODY, "hit")
    assert upstream.asked == 1
    assert (cache.stats.misses, cache.stats.hits) == (1, 1)


async def test_another_key_is_another_answer(cache: ResponseCache) -> None:
    upstream = Upstream()
    await ask(cache, upstream)
    assert await ask(cache, upstream, key=b"o" * 32) == (BODY, "miss")


async def test_an_answer_is_given_until_it_is_too_old_for_who_asks(
    cache: ResponseCache, clock: Clock
) -> None:
    upstream = Upstream()
    await ask(cache, upstream)
    clock.now_ms += 3_599_000
    assert (await ask(cache, upstream))[1] == "hit"
    clock.now_ms += 1_000
    assert (await ask(cache, upstream))[1] == "miss"
    clock.now_ms += 60_001
    assert (await ask(cache, upstream, HOUR._replace(max_age_ms=60_000)))[1] == "miss"


async def test_who_wants_a_young_answer_does_not_shorten_its_life_for_others(
    cache: ResponseCache, clock: Clock
) -> None:
    await ask(cache, Upstream(), HOUR._replace(max_age_ms=0, refresh=True))
    clock.now_ms += 3_599_999
    assert (await ask(cache, Upstream()))[1] == "hit"


async def test_a_refresh_asks_again_and_replaces_what_was_kept(cache: ResponseCache) -> None:
    await ask(cache, Upstream())
    newer = BODY.replace(b"hi", b"ho")
    assert await ask(cache, Upstream(lambda: Answer([newer])), REFRESH) == (newer, "refresh")
    assert await ask(cache, Upstream()) == (newer, "hit")


async def test_a_hit_says_how_old_it_is_and_nothing_of_the_first_exchange(
    cache: ResponseCache, clock: Clock
) -> None:
    await ask(cache, Upstream())
    clock.now_ms += 61_500
    answer, _ = await cache.open(lookup(), Upstream())
    assert dict(answer.headers) == {
        b"content-type": b"application/json", b"content-length": b"%d" % len(BODY), b"age": b"61",
    }  # fmt: skip
    assert answer.status == 200
    assert answer.ready
    assert not answer.ended


async def test_a_stream_is_repeated_byte_for_byte_however_it_came(cache: ResponseCache) -> None:
    whole = b"".join(STREAM)
    pieces = [whole[:5], whole[5:60], whole[60:-1], whole[-1:]]
    upstream = Upstream(lambda: Answer([*pieces, b""], SSE))
    assert await ask(cache, upstream) == (whole, "miss")
    assert await ask(cache, upstream) == (whole, "hit")
    answer, _ = await cache.open(lookup(), upstream)
    assert b"content-length" not in dict(answer.headers)
    assert (await answer.read(), answer.ended) == (whole, True)


async def test_a_compressed_answer_stays_compressed(cache: ResponseCache) -> None:
    packed = gzip.compress(BODY)
    upstream = Upstream(lambda: Answer([packed], [*JSON, (b"content-encoding", b"gzip")]))
    await ask(cache, upstream)
    answer, status = await cache.open(lookup(), upstream)
    assert (await answer.read(), status) == (packed, "hit")
    assert dict(answer.headers)[b"content-encoding"] == b"gzip"


# --- what is not kept ---

BAD = b'{"error":{"message":"overloaded"}}'

NOT_KEPT = {
    "an error": lambda: Answer([BAD], status=429),
    "another good status": lambda: Answer([BODY], status=201),
    "an error with status 200": lambda: Answer([BAD]),
    "half an answer": lambda: Answer([BODY[:20]]),
    "an answer that is still being made": lambda: Answer([b'{"status":"queued","error":null}']),
    "a page": lambda: Answer([b"<html>"], [(b"content-type", b"text/html")]),
    "an answer of no kind": lambda: Answer([BODY], []),
    "an empty answer": lambda: Answer([b""]),
    "a stream without its last event": lambda: Answer(STREAM[:2], SSE),
    "a stream with an error in it": lambda: Answer([b"data: " + BAD + b"\n\n", STREAM[2]], SSE),
    "a stream with an error event": lambda: Answer([b"event: error\ndata: x\n\n", STREAM[2]], SSE),
    "a response that failed": lambda: Answer(
        [b'event: response.failed\ndata: {"response":{"status":"failed"}}\n\n'], SSE
    ),
    "an answer that is too large": lambda: Answer([BODY, b" " * 1000, BODY, b" " * 1000]),
    "a stream that is too large": lambda: Answer([STREAM[0]] * 40 + STREAM, SSE),
    "a compressed answer that was cut": lambda: Answer(
        [gzip.compress(BODY, mtime=0)[:-9]], [*JSON, (b"content-encoding", b"gzip")]
    ),
    "an answer packed in a way we do not know": lambda: Answer([BODY], [*JSON, (b"content-encoding", b"xz")]),
}


@pytest.mark.parametrize("answer", NOT_KEPT.values(), ids=NOT_KEPT.keys())
async def test_passes_unchanged_and_is_not_kept(
    database: SqliteDatabase, clock: Clock, answer: Callable[[], Answer]
) -> None:
    async with caching(database, clock, max_entry_bytes=1000) as cache:
        upstream = Upstream(answer)
        passed = b"".join(answer()._pieces)
        assert await ask(cache, upstream) == (passed, "miss")
        assert await ask(cache, upstream) == (passed, "miss")
    assert [call.closed for call in upstream.calls] == [1, 1]


async def test_an_answer_that_unpacks_beyond_measure_is_not_kept(cache: ResponseCache) -> None:
    bomb = gzip.compress(b'{"x":"' + b" " * 50_000_000 + b'"}')
    upstream = Upstream(lambda: Answer([bomb], [*JSON, (b"content-encoding", b"gzip")]))
    assert [status for _, status in [await ask(cache, upstream) for _ in range(2)]] == ["miss", "miss"]


async def test_an_answer_that_breaks_off_is_not_kept(cache: ResponseCache) -> None:
    upstream = Upstream(lambda: Answer([STREAM[0], UpstreamAborted("gone"), b"x"], SSE))
    with pytest.raises(UpstreamAborted):
        await ask(cache, upstream)
    assert await ask(cache, Upstream()) == (BODY, "miss")


async def test_an_answer_whose_client_left_is_not_kept(cache: ResponseCache) -> None:
    for pieces, headers in (([BODY, b" "], JSON), (STREAM, SSE)):
        answer, _ = await cache.open(lookup(), Upstream(lambda: Answer(pieces, headers)))  # noqa: B023
        await answer.read()
        await answer.close()
    assert (await ask(cache, Upstream()))[1] == "miss"


async def test_a_stream_is_whole_with_its_last_event(cache: ResponseCache) -> None:
    pieces = [*STREAM, b": what comes after it\n\n", UpstreamAborted("reset after the end"), b""]
    answer, _ = await cache.open(lookup(SHARED), Upstream(lambda: Answer(pieces, SSE)))
    for _ in STREAM:
        await answer.read()
    assert await ask(cache, Upstream(), SHARED) == (b"".join(STREAM), "hit")
    assert (await answer.read())[:1] == b":"
    with pytest.raises(UpstreamAborted):
        await answer.read()
    await answer.close()
    assert await ask(cache, Upstream(), SHARED) == (b"".join(STREAM), "hit")


async def test_the_answer_of_a_second_choice_is_given_but_not_kept(cache: ResponseCache) -> None:
    assert await ask(cache, Upstream(), keeps=False) == (BODY, "miss")
    assert await ask(cache, Upstream()) == (BODY, "miss")


# --- a store that fails ---


class Failing:
    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    async def find(self, key: bytes, max_age_ms: int) -> KeptAnswer | None:
        if self._error is not None:
            raise self._error
        await asyncio.sleep(60)
        return None

    def keep(self, key: bytes, answer: KeptAnswer) -> None:
        pass


@pytest.mark.parametrize("error", [StoreUnavailable("locked"), None], ids=["fails", "hangs"])
@pytest.mark.parametrize("use", [HOUR, SHARED], ids=["alone", "shared"])
async def test_a_store_that_fails_is_a_miss(clock: Clock, error: Any, use: Use) -> None:
    cache = ResponseCache(Failing(error), schema.Cache(lookup_timeout_s=0.05), clock)
    assert await ask(cache, Upstream(), use) == (BODY, "miss")
    assert cache.stats.failures == 1
    assert cache.in_flight == 0


# --- identical requests in flight ---


@pytest.mark.parametrize(("pieces", "headers"), [([BODY], JSON), (STREAM, SSE)], ids=["plain", "stream"])
async def test_twenty_clients_at_once_are_one_upstream_call(
    cache: ResponseCache, pieces: list[bytes], headers: Headers
) -> None:
    upstream = Upstream(lambda: Answer(pieces, headers))
    answers = await asyncio.gather(*(ask(cache, upstream, SHARED) for _ in range(20)))
    assert upstream.asked == 1
    assert {body for body, _ in answers} == {b"".join(pieces)}
    assert sorted(status for _, status in answers) == ["miss"] + ["shared"] * 19
    assert cache.stats.shared == 19
    assert cache.in_flight == 0


async def test_without_sharing_every_client_asks_for_itself(cache: ResponseCache) -> None:
    upstream = Upstream()
    await asyncio.gather(*(ask(cache, upstream) for _ in range(5)))
    assert upstream.asked == 5


async def test_those_who_wait_for_a_hit_have_a_hit(cache: ResponseCache) -> None:
    await ask(cache, Upstream())
    answers = await asyncio.gather(*(ask(cache, Upstream(), SHARED) for _ in range(5)))
    assert {status for _, status in answers} == {"hit"}


async def test_there_is_no_gap_between_in_flight_and_kept(cache: ResponseCache) -> None:
    upstream = Upstream()
    for _ in range(50):
        await ask(cache, upstream, SHARED)
    assert upstream.asked == 1


NOT_SHARED = {
    name: NOT_KEPT[name] for name in ("an error", "an error with status 200", "an answer that is too large")
}


@pytest.mark.parametrize("answer", NOT_SHARED.values(), ids=NOT_SHARED.keys())
async def test_an_answer_that_cannot_be_shared_lets_all_others_ask_at_once(
    database: SqliteDatabase, clock: Clock, answer: Callable[[], Answer]
) -> None:
    async with caching(database, clock, max_entry_bytes=1000) as cache:
        upstream = Upstream(answer)
        answers = await asyncio.gather(*(ask(cache, upstream, SHARED) for _ in range(8)))
    assert {status for _, status in answers} == {"miss"}
    assert upstream.asked == 8
    assert cache.in_flight == 0


async def test_an_outage_does_not_make_them_queue_up(cache: ResponseCache) -> None:
    calls = 0

    async def refused() -> Answer:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.1)
        raise UpstreamUnreachable("refused")

    began = asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(cache.open(lookup(SHARED), refused) for _ in range(10)), return_exceptions=True
    )
    assert all(isinstance(result, UpstreamUnreachable) for result in results)
    assert calls == 10
    assert asyncio.get_running_loop().time() - began < 0.5
    assert cache.in_flight == 0


async def test_when_the_leaders_client_goes_away_the_next_one_leads(cache: ResponseCache) -> None:
    slow = Answer([STREAM[0], *STREAM[1:]], SSE)
    answers = [slow, Answer(STREAM, SSE)]
    upstream = Upstream(lambda: answers.pop(0))
    leading, _ = await cache.open(lookup(SHARED), upstream)
    await leading.read()
    others = [asyncio.create_task(ask(cache, upstream, SHARED)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert not any(other.done() for other in others)
    await leading.close()
    statuses = [status for _, status in await asyncio.gather(*others)]
    assert sorted(statuses) == ["miss"] + ["shared"] * 4
    assert upstream.asked == 2
    assert slow.closed == 1


async def test_when_the_leader_is_cancelled_before_its_answer_the_next_one_leads(
    cache: ResponseCache,
) -> None:
    upstream = Upstream()
    never = asyncio.Event()

    async def silent() -> Answer:
        await never.wait()
        raise AssertionError

    leader = asyncio.create_task(cache.open(lookup(SHARED), silent))
    await asyncio.sleep(0.05)
    others = [asyncio.create_task(ask(cache, upstream, SHARED)) for _ in range(5)]
    await asyncio.sleep(0.05)
    leader.cancel()
    statuses = [status for _, status in await asyncio.gather(*others)]
    assert sorted(statuses) == ["miss"] + ["shared"] * 4
    assert upstream.asked == 1
    assert cache.in_flight == 0


async def test_one_of_those_who_wait_may_go_away(cache: ResponseCache) -> None:
    slow = Answer([BODY])
    slow.read_on.clear()
    upstream = Upstream(lambda: slow)
    clients = [asyncio.create_task(ask(cache, upstream, SHARED)) for _ in range(3)]
    await asyncio.sleep(0.05)
    clients[1].cancel()
    await asyncio.sleep(0)
    slow.read_on.set()
    assert (await clients[0])[1] == "miss"
    assert (await clients[2])[1] == "shared"


async def test_nobody_waits_for_another_longer_than_its_limit(cache: ResponseCache) -> None:
    slow = Answer([BODY])
    slow.read_on.clear()
    leading, _ = await cache.open(lookup(SHARED), Upstream(lambda: slow))
    assert await ask(cache, Upstream(), SHARED, wait_s=0.05) == (BODY, "miss")
    slow.read_on.set()
    assert await leading.read() == BODY


async def test_who_wants_a_younger_answer_is_not_given_what_the_leader_found(
    cache: ResponseCache, clock: Clock
) -> None:
    await ask(cache, Upstream())
    clock.now_ms += 60_000
    young = SHARED._replace(max_age_ms=1_000)
    answers = await asyncio.gather(ask(cache, Upstream(), SHARED), ask(cache, Upstream(), young))
    assert [status for _, status in answers] == ["hit", "miss"]


async def test_the_answer_of_a_second_choice_is_shared_though_not_kept(cache: ResponseCache) -> None:
    upstream = Upstream()
    answers = await asyncio.gather(*(ask(cache, upstream, SHARED, keeps=False) for _ in range(5)))
    assert sorted(status for _, status in answers) == ["miss"] + ["shared"] * 4
    assert (await ask(cache, upstream))[1] == "miss"
