"""Errors as JSON: the one place where an error of ours becomes an answer in OpenAI's shape.

What went wrong is decided where the error is raised; here is only how it looks. Vendors' endpoints, and with
them everything under feedback, answer in their vendor's shape, which is in `gateway/compat/`.
"""

from __future__ import annotations

from gateway.errors import GatewayError, MethodNotAllowed, UnsupportedEncoding
from gateway.jsonio import dumps, readable


def error_body(error: GatewayError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`, as OpenAI's SDKs read it.

    Source: https://platform.openai.com/docs/guides/error-codes and the SDKs' `_make_status_error`.
    """
    return dumps(
        {
            "error": {
                "message": readable(error.message),
                "type": error.type,
                "param": None if error.param is None else readable(error.param),
                "code": error.code,
            }
        }
    )


def error_headers(error: GatewayError, request_id: str) -> dict[str, str]:
    """Headers that an error answer needs besides its content-type.

    Portkey's SDKs send a request again after any 5xx that lacks a non-empty `x-portkey-request-id`, so
    every 5xx carries it.
    """
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allow)
    if isinstance(error, UnsupportedEncoding):
        headers["accept-encoding"] = "identity"  # RFC 9110 section 15.5.16
    if error.status >= 500:
        headers["x-portkey-request-id"] = request_id
    return headers
