"""Content-encodings, undone for the record only; what a client receives stays as the upstream sent it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import brotli
import zstandard

from gateway.capture.body import BodyBuffer
from gateway.records import Payload

MAX_DECODED_BYTES = 64 * 1024 * 1024
"""A compressed body may say so much before the rest of it is not looked at: a megabyte of gzip can hold a
gigabyte of zeros."""

_STEP = 256 * 1024


class Decoded(NamedTuple):
    """A payload after decoding. `encoding` is the content-encoding that could not be undone, else None."""

    payload: Payload
    encoding: str | None


def decode(payload: Payload, encoding: str | None, limit: int, *, most: int = MAX_DECODED_BYTES) -> Decoded:
    """Undo `encoding` (a Content-Encoding header value), keeping at most `limit` bytes and making `most`.

    A payload that was cut is decoded as far as its head goes. Bytes that are not what the header says, and
    encodings we do not know or that are stacked, are kept as they are.
    """
    name = (encoding or "identity").strip().lower()
    if name in ("", "identity") or not payload.size:
        return Decoded(payload, None)
    make = _DECODERS.get(name)
    if make is None:
        return Decoded(payload, name)
    out = BodyBuffer(limit)
    try:
        complete = make(payload.head, out.add, most)
    except (zlib.error, brotli.error, zstandard.ZstdError):
        return Decoded(payload, name)
    decoded = out.payload()
    if payload.is_whole and complete:
        return Decoded(decoded, None)
    # One byte more than was seen: a payload that says of itself that something is missing.
    return Decoded(Payload(decoded.head, decoded.tail, decoded.size + 1), None)


Write = Callable[[bytes], None]


def _zlib(data: bytes, write: Write, most: int) -> bool:
    decoder = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, whichever the header shows
    written = 0
    while data and written < most:
        piece = decoder.decompress(data, _STEP)
        write(piece)
        written += len(piece)
        data = decoder.unconsumed_tail
        if decoder.eof:
            data = decoder.unused_data
            decoder = zlib.decompressobj(wbits=47)
            if not data:
                return True
    return False


def _brotli(data: bytes, write: Write, most: int) -> bool:
    decoder = brotli.Decompressor()
    written = 0
    while not decoder.is_finished() and written < most:
        piece = decoder.process(data, output_buffer_limit=_STEP)
        data = b""
        write(piece)
        written += len(piece)
        if not piece and decoder.can_accept_more_data():
            break
    return bool(decoder.is_finished())


def _zstd(data: bytes, write: Write, most: int) -> bool:
    written = 0
    with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(
        data, read_across_frames=True
    ) as reader:
        while written < most:
            piece = reader.read(_STEP)
            if not piece:
                return True
            write(piece)
            written += len(piece)
    return False


_DECODERS: dict[str, Callable[[bytes, Write, int], bool]] = {
    "gzip": _zlib,
    "x-gzip": _zlib,
    "deflate": _zlib,
    "br": _brotli,
    "zstd": _zstd,
}
