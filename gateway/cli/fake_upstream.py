"""A fake OpenAI upstream on HTTP, so that `gateway demo` and the tests need no key and no network.

It serves chat, completions, embeddings, responses, moderations, files, transcriptions and models, streamed
where OpenAI streams. What it says is `gateway.cli.fake_answers`; nothing here is for production.

The models `broken-model` and `busy-model` fail with 500 and 429, unknown ones with 404; the key `sk-wrong`
fails with 401.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway import jsonio
from gateway.cli import fake_answers
from gateway.cli.fake_answers import Body, Refused

Endpoint = Callable[[Request], Awaitable[Response]]
Whole = Callable[[Body, int], Body]
Events = Callable[[Body, int], Iterator[Body]]


def create_app(*, pause_s: float = 0.004) -> Starlette:
    """The application. `pause_s` is the time between two events of a stream."""
    posts = {
        "/v1/chat/completions": _generate(fake_answers.chat, fake_answers.chat_events, pause_s),
        "/v1/completions": _generate(fake_answers.completion, fake_answers.completion_events, pause_s),
        "/v1/responses": _respond(pause_s),
        "/v1/embeddings": _once(fake_answers.embeddings),
        "/v1/moderations": _once(fake_answers.moderation),
        "/v1/audio/transcriptions": _transcribe,
        "/v1/files": _keep_file,
    }
    return Starlette(
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
            Route("/v1/models", _models),
            Route("/v1/models/{name:path}", _model),
        ],
        exception_handlers={Refused: _refuse, 404: _no_such_url, 405: _no_such_url},
    )


def _generate(whole: Whole, events: Events, pause_s: float) -> Endpoint:
    """An endpoint whose streams are unnamed events with [DONE] at the end."""

    async def endpoint(request: Request) -> Response:
        body, now_s = await _json_body(request), int(time.time_ns() // 1_000_000_000)
        if not body.get("stream"):
            return _json(whole(body, now_s))
        lines = [b"data: " + jsonio.dumps(event) + b"\n\n" for event in events(body, now_s)]
        return _event_stream([*lines, b"data: [DONE]\n\n"], pause_s)

    return endpoint


def _respond(pause_s: float) -> Endpoint:
    """The Responses API, whose events carry their type as the event's name."""

    async def endpoint(request: Request) -> Response:
        body, now_s = await _json_body(request), int(time.time_ns() // 1_000_000_000)
        if not body.get("stream"):
            return _json(fake_answers.response(body, now_s))
        events = fake_answers.response_events(body, now_s)
        lines = [
            b"event: %b\ndata: %b\n\n" % (event["type"].encode(), jsonio.dumps(event)) for event in events
        ]
        return _event_stream(lines, pause_s)

    return endpoint


def _once(answer: Callable[[Body], Body]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _json(answer(await _json_body(request)))

    return endpoint


async def _models(request: Request) -> Response:
    _check_key(request)
    return _json({"object": "list", "data": [fake_answers.model_card(name) for name in fake_answers.MODELS]})


async def _model(request: Request) -> Response:
    _check_key(request)
    return _json(fake_answers.model_card(request.path_params["name"]))


async def _transcribe(request: Request) -> Response:
    fields = await _form(request)
    fake_answers.check_model({"model": fields.get("model", b"").decode()})
    size = len(fields.get("file", b""))
    return _json({"text": f"I heard {size} bytes of audio, and every one of them was music."})


async def _keep_file(request: Request) -> Response:
    fields = await _form(request)
    content = fields.get("file", b"")
    return _json(
        {
            "id": f"file-{hashlib.sha256(content).hexdigest()[:24]}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time_ns() // 1_000_000_000),
            "filename": fields.get("filename", b"upload").decode(),
            "purpose": fields.get("purpose", b"").decode(),
            "status": "processed",
        }
    )


async def _json_body(request: Request) -> Body:
    _check_key(request)
    try:
        body = jsonio.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        message = "We could not parse the JSON body of your request."
        raise Refused(400, message, "invalid_request_error")
    return body


async def _form(request: Request) -> dict[str, bytes]:
    """The fields of a multipart body; the file's name under `filename`."""
    _check_key(request)
    content_type = request.headers.get("content-type", "").encode("latin-1")
    whole = BytesParser(policy=HTTP).parsebytes(
        b"content-type: " + content_type + b"\r\n\r\n" + await request.body()
    )
    if not whole.is_multipart():
        raise Refused(400, "We expected multipart/form-data.", "invalid_request_error")
    fields: dict[str, bytes] = {}
    for part in whole.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        fields[str(name)] = content if isinstance(content, bytes) else b""
        if part.get_filename():
            fields["filename"] = str(part.get_filename()).encode()
    return fields


def _check_key(request: Request) -> None:
    if request.headers.get("authorization") == "Bearer sk-wrong":
        raise Refused(
            401, "Incorrect API key provided: sk-wrong.", "invalid_request_error", "invalid_api_key"
        )


def _json(value: Any, status: int = 200) -> Response:
    """JSON as OpenAI sends it: the id of the request and how long it took in the headers."""
    data = jsonio.dumps(value)
    headers = {
        "x-request-id": f"req_{hashlib.sha256(data).hexdigest()[:32]}",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "12",
    }
    return Response(data, status, headers, "application/json")


def _event_stream(lines: list[bytes], pause_s: float) -> Response:
    async def paced() -> AsyncIterator[bytes]:
        for line in lines:
            yield line
            await asyncio.sleep(pause_s)

    return StreamingResponse(paced(), 200, {"cache-control": "no-cache"}, "text/event-stream; charset=utf-8")


async def _refuse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    response = _json(error.body, error.status)
    if error.status == 429:
        response.headers["retry-after"] = "20"
    return response


async def _no_such_url(request: Request, _error: Exception) -> Response:
    message = f"Invalid URL ({request.method} {request.url.path})"
    return _json(Refused(404, message, "invalid_request_error").body, 404)


def server(port: int, *, pause_s: float = 0.004) -> uvicorn.Server:
    """A server for 127.0.0.1:`port` that is not running yet, quiet but for its errors."""
    app = create_app(pause_s=pause_s)
    return uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))


@click.command()
@click.option("--port", type=int, default=9001, show_default=True, help="Port on 127.0.0.1.")
@click.option(
    "--pause", "pause_s", type=float, default=0.004, show_default=True, help="Seconds between events."
)
def main(port: int, pause_s: float) -> None:
    """Serve the fake OpenAI upstream until interrupted."""
    server(port, pause_s=pause_s).run()


if __name__ == "__main__":
    main()
