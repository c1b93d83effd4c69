"""Reading a request's body: how much of it, what it asks for, and what of it is kept for the record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

from gateway.capture.body import BodyBuffer
from gateway.config import schema
from gateway.proxy.downstream import Downstream, check_size
from gateway.proxy.incoming import JSON_PATHS, NOTHING_ASKED, Asked, Head, form_model, read_json
from gateway.proxy.recording import Recording, payload


class Upload:
    """A body on its way through, in pieces; it can be read once. `begun` says whether that has started."""

    def __init__(self, start: bytes, rest: AsyncIterator[bytes], buffer: BodyBuffer) -> None:
        self.begun = False
        self._start = start
        self._rest = rest
        self._buffer = buffer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        self._buffer.add(self._start)
        yield self._start
        async for piece in self._rest:
            self._buffer.add(piece)
            yield piece


Body = bytes | Upload | None


class BodyReader:
    """`read` a request's body: JSON as a whole, anything else as a whole only while it is small."""

    def __init__(self, server: schema.Server, capture_bytes: int) -> None:
        self._server = server
        self._capture_bytes = capture_bytes

    def read(self, head: Head, recording: Recording, downstream: Downstream) -> Awaitable[tuple[Body, Asked]]:
        """Raises InvalidJSON, PayloadTooLarge, SlowClient and ClientGone."""
        how = self._json if head.is_json else self._other
        return how(head, recording, downstream)

    async def _other(self, head: Head, recording: Recording, downstream: Downstream) -> tuple[Body, Asked]:
        if not head.has_body:
            return None, NOTHING_ASKED
        limit, setting = self._server.max_upload_bytes, "server.max_upload_bytes"
        check_size(head.body_bytes or 0, limit, setting)
        start, more = await downstream.start_of_body(self._server.collect_upload_bytes)
        check_size(len(start), limit, setting)
        asked = Asked(model=form_model(start))
        if not more:
            recording.request = payload(start, self._capture_bytes)
            return start, asked
        recording.request_buffer = buffer = BodyBuffer(self._capture_bytes)
        return Upload(start, downstream.rest_of_body(len(start), limit, setting), buffer), asked

    async def _json(self, head: Head, recording: Recording, downstream: Downstream) -> tuple[Body, Asked]:
        limit, setting = self._server.max_json_body_bytes, "server.max_json_body_bytes"
        check_size(head.body_bytes or 0, limit, setting)
        body = downstream.body_that_came() if head.has_body else b""
        if body is None:
            body = await downstream.body(limit, setting)
        return body, self.read_whole(head, recording, body)

    def read_whole(self, head: Head, recording: Recording, body: bytes) -> Asked:
        """What a body of JSON that is there as a whole asks for. Raises InvalidJSON, PayloadTooLarge."""
        check_size(len(body), self._server.max_json_body_bytes, "server.max_json_body_bytes")
        recording.request = payload(body, self._capture_bytes)
        if head.is_encoded:
            return NOTHING_ASKED
        required = recording.method == "POST" and recording.path in JSON_PATHS
        return read_json(body, required=required)
