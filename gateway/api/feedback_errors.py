"""Errors of the feedback endpoints, in the shape that Portkey's SDKs read.

Python shows `error.message`, Node the top-level `message`, so both carry the same text. Source:
wire/portkey.md, "Errors".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.errors import error_headers, readable
from gateway.api.resource import answer, request_id
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.jsonio import dumps

_METHOD_CODE = "01"
_VENDORS_METHODS = ("POST", "PUT")


def portkey_error(error: GatewayError, request: Request) -> Response:
    status, code, message = error.status, error.code, error.message
    if isinstance(error, MethodNotAllowed):
        code, message = _METHOD_CODE, f"{message}. Error code: {_METHOD_CODE}"
    elif isinstance(error, NotFound) and request.method == "PUT":
        message = "Invalid Feedback Id passed. Nothing to update"
    elif status >= 500 and request.method in _VENDORS_METHODS:
        # The vendor's calls know one failure of the server; ours tell them apart.
        status, code, message = 500, "internal", "Something went wrong"
    text = readable(message)
    body = {
        "status": "failure",
        "message": text,
        "error": {
            "message": text,
            "type": error.type,
            "code": code,
            "param": None if error.param is None else readable(error.param),
        },
    }
    return answer(dumps(body), status, error_headers(error, request_id(request)))
