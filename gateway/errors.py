"""The error tree: every failure the gateway can name, with its HTTP status and machine-readable code.

An error is raised where it is known whose fault it is (client, upstream, us) and turned into JSON in
one place, `gateway.api.errors`. No rendering and no logging here.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of the tree.

    `status` is the HTTP status a downstream sees, `code` the stable word for programs (it is also the
    `error_kind` of the exchange's row), `type` OpenAI's coarse class of error, `param` the field path the
    message is about, `item` the place (from 0) of the item it is about where a request has several,
    `headers` what the answer carries besides those of every error.
    """

    status = 500
    code = "internal"
    type = "server_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.item: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []


class ClientError(GatewayError):
    """The downstream sent something we cannot use."""

    status = 400
    code = "bad_request"
    type = "invalid_request_error"


class InvalidTraceId(ClientError):
    code = "invalid_trace_id"


class InvalidMetadata(ClientError):
    code = "invalid_metadata"


class InvalidHeader(ClientError):
    code = "invalid_header"


class InvalidPath(ClientError):
    code = "invalid_path"


class ForbiddenHost(ClientError):
    """A host that the request named leads to an address that requests may not reach."""

    code = "forbidden_host"


class InvalidJSON(ClientError):
    code = "invalid_json"


class InvalidField(ClientError):
    code = "invalid_field"


class UnknownTransferCoding(ClientError):
    """A body in a transfer coding other than chunks: passed on it would be taken for the content."""

    status = 501
    code = "unsupported_transfer_coding"


class UnknownPath(ClientError):
    status = 404
    code = "unknown_path"


class InvalidKey(ClientError):
    """No key, or none that we know, where the configuration has `keys`."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class NotFound(ClientError):
    status = 404
    code = "not_found"


class NoRoute(ClientError):
    status = 404
    code = "no_route"


class MethodNotAllowed(ClientError):
    """`allow` lists the methods the path does take; it becomes the `Allow` header."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allow = allow


class SlowClient(ClientError):
    status = 408
    code = "request_timeout"


class PayloadTooLarge(ClientError):
    status = 413
    code = "too_large"


class UnsupportedEncoding(ClientError):
    """A body for our own endpoints that is compressed."""

    status = 415
    code = "unsupported_encoding"


class IdempotencyConflict(ClientError):
    status = 422
    code = "idempotency_conflict"


class ClientGone(GatewayError):
    """The downstream closed its connection; nobody is left to answer. 499 is nginx's word for it."""

    status = 499
    code = "client_closed"


class UpstreamError(GatewayError):
    """The upstream failed us before it began to answer."""

    status = 502
    code = "upstream_error"
    type = "upstream_error"


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"


class UpstreamBroken(UpstreamError):
    """What came back was not HTTP, or the connection ended before an answer began."""

    code = "upstream_broken"


class UpstreamTimeout(UpstreamError):
    """A limit passed: `code` is `upstream_{limit}_timeout`.

    `limit` is connect, first_byte, idle, total, or deadline for the request's own.
    """

    status = 504

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.code = f"upstream_{limit}_timeout"


class UpstreamBusy(UpstreamError):
    """Every connection to the upstream stayed in use for the whole connect limit."""

    status = 503
    code = "upstream_busy"


class UpstreamAborted(UpstreamError):
    """The answer had begun and then broke off."""

    code = "upstream_aborted"


class Overloaded(GatewayError):
    """More requests at once than the gateway is set to serve; this one was not begun."""

    status = 503
    code = "overloaded"


class ShuttingDown(GatewayError):
    status = 503
    code = "gateway_shutdown"


class StoreUnavailable(GatewayError):
    """The database did not take a write or answer a read; the caller may try again."""

    status = 503
    code = "store_unavailable"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has one sentence each: path, value and remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidFeedback(ClientError):
    """A feedback body that cannot be stored. `code` is Portkey's, from the table in docs/wire/portkey.md."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code
