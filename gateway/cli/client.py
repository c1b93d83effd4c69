"""The HTTP client of a running gateway that the commands share, and the options that reach it.

One request, one answer, as plain data; what the data mean is the commands' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import Any
from urllib.parse import quote, urlsplit

import click
import httpx

from gateway import __version__, jsonio
from gateway.cli.failures import Failure

DEFAULT_URL = "http://127.0.0.1:8787"
TIMEOUT_S = 30.0

_STREAM_TIMEOUT = httpx.Timeout(30.0, read=300.0)
"""Between two pieces: a gateway may search long for the next line."""

Command = Callable[..., None]
Query = list[tuple[str, str]]

_FILES = ("application/x-ndjson", "text/csv")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class BrokenOff(Exception):
    """An answer that ended too early; the message says why."""


class Client:
    """Talks to the gateway at `url`, with or without `/v1` at its end. Every failure is a Failure."""

    def __init__(self, url: str, key: str | None = None) -> None:
        whole = url if "://" in url else f"http://{url}"
        self.url = whole.rstrip("/").removesuffix("/v1")
        self._http = _http(self.url, key)

    def get(self, path: str, kind: str, query: Iterable[tuple[str, str]] = ()) -> Any:
        """The JSON object at `path`, e.g. `/v1/traces`; `kind` is what its member `object` says."""
        answer = self.send("GET", path, query=query)
        if not isinstance(answer, dict) or answer.get("object") != kind:
            raise not_a_gateway(self.url)
        return answer

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The answer's JSON, None for an empty one. Raises Failure for any other answer and for none."""
        try:
            response = self._http.request(
                method,
                self.url + path,
                params=list(query),
                content=None if body is None else jsonio.dumps(body),
                headers={**({} if body is None else {"content-type": "application/json"}), **(headers or {})},
            )
        except httpx.TimeoutException:
            raise Failure(f"{self.url} gave no answer within {TIMEOUT_S:g} s; is it under load?") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _unreachable(self.url, error) from None
        return _answer(response, self.url)

    @contextmanager
    def stream(self, path: str, query: Iterable[tuple[str, str]] = ()) -> Iterator[Iterator[bytes]]:
        """The answer's bytes as they come. Raises Failure; they raise BrokenOff where they end too early."""
        request = self._http.build_request(
            "GET", self.url + path, params=list(query), timeout=_STREAM_TIMEOUT
        )
        try:
            response = self._http.send(request, stream=True)
        except (httpx.HTTPError, ValueError) as error:
            raise _unreachable(self.url, error) from None
        with closing(response):
            if not response.is_success:
                response.read()
                _answer(response, self.url)
            if not response.headers.get("content-type", "").startswith(_FILES):
                raise not_a_gateway(self.url)
            yield _pieces(response)


def segment(value: str) -> str:
    """An id as one segment of a path, whatever characters it has."""
    encoded = quote(value, safe="")
    if encoded in (".", ".."):  # plain they would be steps in the path, which httpx takes
        return encoded.replace(".", "%2e")
    return encoded


def reaches_gateway(command: Command) -> Command:
    """Adds `--url` and `--key`, which arrive as a `client`, and `--json`, which arrives as `as_json`."""
    return reaches_gateway_only(
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)
    )


def reaches_gateway_only(command: Command) -> Command:
    """The same for commands that print no JSON, or nothing else."""

    @click.option(
        "--url", envvar="GATEWAY_URL", default=DEFAULT_URL, show_default=True, show_envvar=True,
        help="The running gateway.",
    )  # fmt: skip
    @click.option(
        "--key", envvar="GATEWAY_KEY", show_envvar=True, help="A key of the gateway, where it has keys."
    )
    @wraps(command)
    def with_client(url: str, key: str | None, **arguments: Any) -> None:
        command(client=Client(url, key), **arguments)

    return with_client


def not_a_gateway(url: str) -> Failure:
    return Failure(f"{url} answered, but not as a gateway does; check --url")


def _unreachable(url: str, error: Exception) -> Failure:
    return Failure(
        f"cannot reach a gateway at {url} ({error}); start one with `gateway serve`, "
        "or name another with --url"
    )


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes()
    except httpx.TimeoutException:
        raise BrokenOff(f"nothing came for {_STREAM_TIMEOUT.read:g} s") from None
    except httpx.HTTPError:
        raise BrokenOff("the connection broke") from None


def _http(url: str, key: str | None) -> httpx.Client:
    try:
        # A proxy named in the environment is no way to this machine.
        direct = urlsplit(url).hostname in _LOOPBACK
        headers = {"user-agent": f"gateway-cli/{__version__}"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        return httpx.Client(timeout=TIMEOUT_S, trust_env=not direct, headers=headers, follow_redirects=False)
    except ValueError as error:
        raise Failure(f"--url {url}: {error}; it looks like {DEFAULT_URL}") from None


def _answer(response: httpx.Response, url: str) -> Any:
    if response.status_code == httpx.codes.NO_CONTENT or (response.is_success and not response.content):
        return None
    try:
        data = jsonio.loads(response.content)
    except ValueError:
        raise Failure(
            f"{url} answered {response.status_code} without JSON, as no gateway does; check --url"
        ) from None
    if response.is_success:
        return data
    raise Failure(f"{_message(data)} (HTTP {response.status_code})")


def _message(data: Any) -> str:
    error = data.get("error") if isinstance(data, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else "the gateway refused without a reason"
