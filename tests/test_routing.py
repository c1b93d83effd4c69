"""Headers and heads: what is decided of a request before it goes upstream."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidHeader, InvalidJSON, InvalidMetadata, InvalidPath
from gateway.providers.credentials import credential_header
from gateway.providers.paths import UpstreamPaths
from gateway.proxy.headers import RequestFilter, response_headers
from gateway.proxy.incoming import form_model, read_head, read_json


@pytest.mark.parametrize(
    ("provider", "header"),
    [
        ("openai", (b"authorization", b"Bearer k")),
        ("azure", (b"api-key", b"k")),
        ("anthropic", (b"x-api-key", b"k")),
        ("gemini", (b"x-goog-api-key", b"k")),
    ],
)
def test_each_provider_gets_its_key_in_its_own_header(provider: str, header: tuple[bytes, bytes]) -> None:
    assert credential_header(provider, "k", "native") == header


def test_a_request_keeps_its_headers_but_for_hop_by_hop_ours_and_replaced_ones() -> None:
    chosen = RequestFilter(
        added=[(b"authorization", b"Bearer ours")],
        removed=[b"authorization", b"x-api-key"],
        forwarded=[b"x-trace-id"],
    )
    kept = chosen(
        [
            (b"host", b"gateway"),
            (b"content-length", b"3"),
            (b"connection", b"keep-alive, X-Private"),
            (b"x-private", b"1"),
            (b"te", b"trailers"),
            (b"expect", b"100-continue"),
            (b"authorization", b"Bearer theirs"),
            (b"x-api-key", b"theirs"),
            (b"x-trace-id", b"t"),
            (b"x-metadata", b"{}"),
            (b"x-portkey-api-key", b"secret"),
            (b"accept", b"a"),
            (b"accept", b"b"),
        ]
    )
    assert kept == [
        (b"x-trace-id", b"t"), (b"accept", b"a"), (b"accept", b"b"), (b"authorization", b"Bearer ours"),
    ]  # fmt: skip


def test_a_response_keeps_its_headers_and_its_own_request_id_moves() -> None:
    ours = [(b"x-request-id", b"ours")]
    headers = [
        (b"content-type", b"x"), (b"set-cookie", b"a"), (b"set-cookie", b"b"),
        (b"connection", b"close, x-hop"), (b"x-hop", b"1"), (b"transfer-encoding", b"chunked"),
        (b"x-request-id", b"theirs"), (b"content-length", b"0"),
    ]  # fmt: skip
    assert response_headers(headers, 200, ours) == [
        (b"content-type", b"x"), (b"set-cookie", b"a"), (b"set-cookie", b"b"),
        (b"x-upstream-request-id", b"theirs"), (b"content-length", b"0"), (b"x-request-id", b"ours"),
    ]  # fmt: skip
    assert (b"content-length", b"0") not in response_headers(headers, 304, ours)


@pytest.mark.parametrize(
    ("raw_path", "query", "target"),
    [
        (b"/v1/chat/completions", b"", b"/base/chat/completions"),
        (b"/v1/files/a%2Fb", b"limit=2&x=%20", b"/base/files/a%2Fb?limit=2&x=%20"),
        (b"/v1/models/gpt-4.1", b"", b"/base/models/gpt-4.1"),
        (b"/v1/models/a..b", b"", b"/base/models/a..b"),
    ],
)
def test_the_path_after_v1_and_the_query_go_upstream_as_they_came(
    raw_path: bytes, query: bytes, target: bytes
) -> None:
    assert UpstreamPaths("u", b"/base")(raw_path, query) == target


@pytest.mark.parametrize(
    "raw_path", [b"/v1/../admin", b"/v1/a/./b", b"/v1/%2e%2E/admin", b"/v1/a/.%2e", b"/v1/.."]
)
def test_a_path_that_climbs_out_of_the_base_url_is_refused(raw_path: bytes) -> None:
    with pytest.raises(InvalidPath):
        UpstreamPaths("u", b"/base")(raw_path, b"")


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"[1]", b"3", b'{"a": NaN}', b"\xff", b'{"a":1} x'])
def test_a_body_that_is_no_json_object_is_refused_where_one_is_required(body: bytes) -> None:
    with pytest.raises(InvalidJSON):
        read_json(body, required=True)
    assert read_json(body, required=False).model is None


@pytest.mark.parametrize("body", [b'{"model": "m\\ud800"}', b'{"model": "m?", "a": 1e400, "b": "\\udc00"}'])
def test_json_that_only_a_strict_parser_refuses_passes(body: bytes) -> None:
    assert read_json(body, required=True).model == "m?"


def test_json_nested_beyond_reason_is_refused() -> None:
    with pytest.raises(InvalidJSON):
        read_json(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", required=True)


def test_metadata_and_capture_headers_are_read() -> None:
    head = read_head("POST", "/v1/x", [(b"x-metadata", b'{"_user":"u"}'), (b"x-capture", b"none")])
    assert head.metadata == {"_user": "u"}
    assert head.keep_bodies is False
    with pytest.raises(InvalidMetadata):
        read_head("POST", "/v1/x", [(b"x-portkey-metadata", b"[1]")])
    with pytest.raises(InvalidHeader):
        read_head("POST", "/v1/x", [(b"x-capture", b"some")])


def test_a_multipart_body_tells_its_model() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n\x00\x01'
    )
    assert form_model(body) == "whisper-1"
    assert form_model(b"no form") is None
