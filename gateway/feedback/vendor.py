"""The seam between vendors' payloads and HTTP: what `compat` implements and `api` serves.

A vendor is plain data and functions over bytes, so that it knows no web framework. What a vendor's fields
mean is in `gateway/compat/`; how requests are read, keyed, limited and answered is in `gateway/api/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import GatewayError
from gateway.records import IdempotencyKey


@dataclass(slots=True, frozen=True)
class Call:
    """One request to a vendor's endpoint, read in full.

    `query` keeps order and repeats. `key_id` owns what is read and stored. `once` is set when a POST came
    with an Idempotency-Key.
    """

    method: str
    path: str
    path_params: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    body: bytes
    key_id: str
    once: IdempotencyKey | None = None


@dataclass(slots=True, frozen=True)
class Refusal:
    """An error in a vendor's shape: status and JSON body. Headers (Allow, ids) are the API's to add."""

    status: int
    body: bytes


Handler = Callable[[Call], Awaitable[bytes]]
"""From a request to the JSON body of its 200. Raises GatewayError."""

RenderError = Callable[[GatewayError, str], Refusal]
"""An error and the request's method, in the vendor's shape. Must take every GatewayError, 401, 405, 413 and
5xx among them."""


@dataclass(slots=True, frozen=True)
class Endpoint:
    """One path (`/v4/feedback`, `/api/v1/feedback/{id}`) and its methods. A trailing slash is served too."""

    path: str
    handlers: Mapping[str, Handler]


@dataclass(slots=True, frozen=True)
class Shared:
    """A vendor's part in the paths that several vendors post to, `/v1/feedback` and `/feedback`.

    `claims` is whether a request is this vendor's, from the probe (the body, or a batch's first object) and
    the whole parsed body; `also_claims` is asked after every vendor's `claims` said no. `headers` are
    lower-case names of the key headers that give its client away when no body does.
    """

    claims: Callable[[Mapping[str, Any], Any], bool]
    create: Handler
    headers: tuple[str, ...] = ()
    also_claims: Callable[[Mapping[str, Any]], bool] | None = None


@dataclass(slots=True, frozen=True)
class Vendor:
    """Everything the API serves for a vendor. `prefix` is where its shape also answers unknown paths."""

    name: str
    render_error: RenderError
    endpoints: tuple[Endpoint, ...] = ()
    shared: Shared | None = None
    prefix: str | None = field(default=None)
