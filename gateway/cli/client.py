"""The HTTP client of a running gateway that the commands share, and the options that reach it.

One request, one answer, as plain data; what the data mean is the commands' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import click
import httpx

from gateway import __version__, jsonio
from gateway.cli.failures import Failure

DEFAULT_URL = "http://127.0.0.1:8787"
TIMEOUT_S = 30.0

Command = Callable[..., None]
Query = list[tuple[str, str]]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Client:
    """Talks to the gateway at `url`, with or without `/v1` at its end. Every failure is a Failure."""

    def __init__(self, url: str) -> None:
        whole = url if "://" in url else f"http://{url}"
        self.url = whole.rstrip("/").removesuffix("/v1")
        self._http = _http(self.url)

    def get(self, path: str, kind: str, query: Iterable[tuple[str, str]] = ()) -> Any:
        """The JSON object at `path`, e.g. `/v1/traces`; `kind` is what its member `object` says."""
        answer = self.send("GET", path, query=query)
        if not isinstance(answer, dict) or answer.get("object") != kind:
            raise Failure(f"{self.url} answered, but not as a gateway does; check --url")
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
            raise Failure(
                f"cannot reach a gateway at {self.url} ({error}); start one with `gateway serve`, "
                "or name another with --url"
            ) from None
        return _answer(response, self.url)


def segment(value: str) -> str:
    """An id as one segment of a path, whatever characters it has."""
    return quote(value, safe="")


def reaches_gateway(command: Command) -> Command:
    """Adds `--url` and `--json`, which arrive as `url` and `as_json`."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    url = click.option(
        "--url", envvar="GATEWAY_URL", default=DEFAULT_URL, show_default=True, show_envvar=True,
        help="The running gateway.",
    )  # fmt: skip
    return url(as_json(command))


def _http(url: str) -> httpx.Client:
    try:
        # A proxy named in the environment is no way to this machine.
        direct = urlsplit(url).hostname in _LOOPBACK
        agent = {"user-agent": f"gateway-cli/{__version__}"}
        return httpx.Client(timeout=TIMEOUT_S, trust_env=not direct, headers=agent, follow_redirects=False)
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
