"""SSE keep-alive: comments to a client that waits for a stream's first event, while the upstream thinks.

The client has its status 200 from the first comment on, so what fails afterwards comes as an `error` event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

from gateway.errors import GatewayError
from gateway.proxy.downstream import Downstream
from gateway.proxy.headers import is_event_stream
from gateway.proxy.relay import is_encoded
from gateway.proxy.upstream.base import UpstreamResponse
from gateway.records import Headers

COMMENT = b": keep-alive\n\n"
EVENT_STREAM: Headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]

_MAX_ERROR_BYTES = 64 * 1024


def wants_stream(params: Mapping[str, Any] | None) -> bool:
    """Whether a request's JSON body asks for a stream of events."""
    return params is not None and params.get("stream") is True


def plain_text_only(headers: Headers) -> Headers:
    """The request's header fields, asking for an answer that can follow the comments: not compressed."""
    return [field for field in headers if field[0] != b"accept-encoding"] + [
        (b"accept-encoding", b"identity")
    ]


def is_stream(response: UpstreamResponse) -> bool:
    """Whether its events can follow the comments."""
    headers = response.headers
    return response.status == 200 and is_event_stream(headers) and not is_encoded(headers)


async def comments_until(
    opening: Coroutine[Any, Any, UpstreamResponse], every_s: float, downstream: Downstream, own: Headers
) -> UpstreamResponse:
    """What `opening` gives, with a comment sent to the client every `every_s` seconds until then.

    Raises what `opening` raises. `own` are the header fields every response of ours has.
    """
    task = asyncio.get_running_loop().create_task(opening)
    try:
        while not (await asyncio.wait({task}, timeout=every_s))[0]:
            if downstream.started:
                await downstream.send(COMMENT, more=True)
            else:
                await downstream.begin(200, EVENT_STREAM + own, COMMENT)
    except BaseException:
        task.cancel()
        with suppress(asyncio.CancelledError, GatewayError):
            await (await task).close()
        raise
    return task.result()


async def error_text(response: UpstreamResponse) -> bytes:
    """The start of an answer that is no stream, on one line, for an `error` event."""
    body = b""
    while not response.ended and len(body) < _MAX_ERROR_BYTES:
        body += await response.read()
    return b" ".join(body[:_MAX_ERROR_BYTES].splitlines())
