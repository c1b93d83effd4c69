"""A form that was posted: read within limits, and its fields by name. What they mean is the page's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from gateway.errors import ClientError, ClientGone, PayloadTooLarge, SlowClient

_MAX_FIELDS = 2_000


class Form:
    """Fields in the order they were sent; a name may be there several times."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self.fields = list(fields)

    @classmethod
    def parse(cls, body: bytes) -> Form:
        """Raises ClientError for what is not application/x-www-form-urlencoded UTF-8."""
        try:
            text = body.decode("utf-8")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
        except ValueError as error:
            raise ClientError("this form cannot be read; reload the page and send it again") from error
        return cls((name, value.replace("\r\n", "\n")) for name, value in pairs)

    def get(self, name: str, default: str = "") -> str:
        """The last value under `name`."""
        return next((value for key, value in reversed(self.fields) if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


async def read_form(request: Request, *, max_bytes: int, timeout_s: float) -> Form:
    """Raises PayloadTooLarge, SlowClient after `timeout_s` in all, ClientGone, ClientError."""
    received = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += chunk
                if len(received) > max_bytes:
                    raise PayloadTooLarge(f"the form has more than {max_bytes} bytes; write less")
    except TimeoutError as error:
        raise SlowClient(f"the form did not come within {timeout_s:g} s; send it again") from error
    except ClientDisconnect as error:
        raise ClientGone("the browser went away before its form had come") from error
    return Form.parse(bytes(received))
