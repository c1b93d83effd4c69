"""Vendors' endpoints over HTTP: read, keyed, answered, and the dispatch where several post to one path.

What a request means is in `gateway/compat/`; a vendor is handed in as plain data. Native endpoints of
feedback share paths with them and are handed in, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.errors import error_headers
from gateway.api.idempotency import idempotency_key
from gateway.api.params import pairs
from gateway.api.resource import Handler, RenderError, Resource, answer, read_body, request_id
from gateway.api.services import Services
from gateway.errors import GatewayError, NotFound, UnknownPath
from gateway.feedback import vendor as seam
from gateway.feedback.body import as_index, is_index
from gateway.jsonio import loads

PATH = "/v1/feedback"
SHARED_PATHS = (PATH, "/feedback")
"""One path in two spellings, which several vendors post to."""

_ANY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE")
_READS = ("GET", "HEAD")

Methods = Mapping[str, Handler]
_Sharing = tuple[seam.Vendor, seam.Shared]


def routes(
    services: Services, vendors: Sequence[seam.Vendor], native: Mapping[str, Methods]
) -> list[BaseRoute]:
    """Routes of every vendor's endpoints and of the `native` paths, whose errors have the first vendor's
    shape."""
    default = _in_shape_of(vendors[0])
    paths: dict[str, _Path] = {}
    for path, methods in native.items():
        _add(paths, path, methods, default)
    for vendor in vendors:
        for endpoint in vendor.endpoints:
            methods = {method: _handler(services, handle) for method, handle in endpoint.handlers.items()}
            _add(paths, endpoint.path, methods, _in_shape_of(vendor))
    shared = SharedFeedback(services, vendors)
    for path in SHARED_PATHS:
        _add(paths, path, {"POST": shared.create}, shared.render_error)
        paths[path].render_error = shared.render_error
    below = {path: Resource(dict.fromkeys(_ANY_METHOD, _not_feedback), default) for path in SHARED_PATHS}
    below |= {
        vendor.prefix: Resource(dict.fromkeys(_ANY_METHOD, _unknown), _in_shape_of(vendor))
        for vendor in vendors
        if vendor.prefix is not None
    }
    return [
        *(
            Route(f"{path}{slash}", Resource(known.methods, known.render_error))
            for path, known in paths.items()
            for slash in ("", "/")
        ),
        *(Route(f"{prefix}/{{rest:path}}", resource) for prefix, resource in below.items()),
    ]


@dataclass(slots=True)
class _Path:
    render_error: RenderError
    methods: dict[str, Handler] = field(default_factory=dict)


def _add(paths: dict[str, _Path], path: str, methods: Methods, render_error: RenderError) -> None:
    known = paths.setdefault(path, _Path(render_error))
    twice = known.methods.keys() & methods.keys()
    if twice:
        raise ValueError(f"{path}: {' and '.join(sorted(twice))} would be served twice")
    known.methods |= methods


def _in_shape_of(vendor: seam.Vendor) -> RenderError:
    def render(error: GatewayError, request: Request) -> Response:
        refusal = vendor.render_error(error, request.method)
        headers = error_headers(error, request_id(request))
        return answer(refusal.body, refusal.status, headers)

    return render


def _handler(services: Services, handle: seam.Handler) -> Handler:
    async def respond(request: Request) -> Response:
        return answer(await handle(await _call(services, request)))

    return respond


async def _call(services: Services, request: Request) -> seam.Call:
    """The request as a vendor's function wants it: whose it is known, then its body read."""
    key_id = services.key_id(request.headers)
    body = b""
    if request.method not in _READS:
        body = await read_body(request, max_bytes=services.max_body_bytes, timeout_s=services.body_timeout_s)
    path = request.scope["path"].rstrip("/")
    is_create = request.method == "POST"
    once = idempotency_key(request, PATH if path in SHARED_PATHS else path, body) if is_create else None
    return seam.Call(
        method=request.method,
        path=path,
        path_params=request.path_params,
        query=tuple(pairs(request.scope["query_string"])),
        body=body,
        key_id=key_id,
        once=once,
    )


async def _not_feedback(request: Request) -> Response:
    path = request.scope["path"]
    raise NotFound(f"{path!r} is not a path of ours; feedback has {PATH} and {PATH}/{{id}}")


async def _unknown(request: Request) -> Response:
    path = request.scope["path"]
    raise UnknownPath(f"{path!r} is not a path of the gateway; GET /openapi.json lists its own")


class SharedFeedback:
    """POST on the shared paths: finds the vendor whose body it is, and after that answers in its shape.

    Source: docs/wire/README.md, "Dispatch on POST /v1/feedback and /feedback".
    """

    def __init__(self, services: Services, vendors: Sequence[seam.Vendor]) -> None:
        self._services = services
        self._sharing = [(vendor, vendor.shared) for vendor in vendors if vendor.shared is not None]

    async def create(self, request: Request) -> Response:
        call = await _call(self._services, request)
        vendor, shared = self._owner(call.body) or self._by_header(request.headers)
        request.state.vendor = vendor
        return answer(await shared.create(call))

    def render_error(self, error: GatewayError, request: Request) -> Response:
        vendor: seam.Vendor | None = getattr(request.state, "vendor", None)
        if vendor is None:
            is_native = request.method in _READS
            vendor, _ = self._sharing[0] if is_native else self._by_header(request.headers)
        return _in_shape_of(vendor)(error, request)

    def _owner(self, body: bytes) -> _Sharing | None:
        """The vendor that claims the body. None for a body that nobody claims or that is not JSON."""
        try:
            parsed = loads(body)
        except ValueError:
            return None
        probe = probe_of(parsed)
        for vendor, shared in self._sharing:
            if shared.claims(probe, parsed):
                return vendor, shared
        for vendor, shared in self._sharing:
            if shared.also_claims is not None and shared.also_claims(probe):
                return vendor, shared
        return None

    def _by_header(self, headers: Mapping[str, str]) -> _Sharing:
        """The vendor whose key header was sent, else the first."""
        for vendor, shared in self._sharing:
            if any(headers.get(name) for name in shared.headers):
                return vendor, shared
        return self._sharing[0]


def probe_of(parsed: Any) -> Mapping[str, Any]:
    """What tells whose body it is: the object, or the first object of a batch; empty when there is none."""
    members: Iterable[Any]
    if isinstance(parsed, dict):
        if not parsed or not all(is_index(key) for key in parsed):
            return parsed
        members = (parsed[key] for key in sorted(parsed, key=as_index))
    else:
        members = parsed if isinstance(parsed, list) else ()
    return next((member for member in members if isinstance(member, dict)), {})
