"""Hosts that a request names itself: which are allowed, what addresses are reached, whose keys go there."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpx
import portkey_ai
import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.custom_hosts import CustomHosts as Settings
from gateway.config.custom_hosts import parse_pattern
from gateway.config.schema import Upstream
from gateway.errors import ForbiddenHost, UpstreamUnreachable
from gateway.proxy.custom_hosts import CustomHosts
from gateway.proxy.upstream.base import Transport, UpstreamRequest
from gateway.proxy.upstream.guard import AddressGuard
from gateway.proxy.upstream.pool import NativeTransport
from gateway.routing.addresses import METADATA, is_public, may_be_reached, parse_address, reached
from gateway.routing.hosts import AllowedHosts
from tests.harness import RunningGateway, WireUpstream, run_gateway

GATEWAY_KEY = "gateway-key-0123456789"
OWN = "sk-own-key-of-the-gateway"
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
PUBLIC = "93.184.215.14"

# --- addresses ---

FORBIDDEN = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "unspecified": ["::"],
    "link-local": ["169.254.0.1", "169.254.169.254", "fe80::1", "febf::1"],
    "shared (CGNAT)": ["100.64.0.1", "100.127.255.255", "100.100.100.200"],
    "protocol assignments": ["192.0.0.1", "192.0.0.192", "2001::1", "2001:1ff::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "8000::1"],
    "Azure's own": ["168.63.129.16"],
    "unique local": ["fc00::1", "fd00:ec2::254", "fd20:ce::254"],
    "site-local": ["fec0::1"],
    "discard": ["100::1"],
    "segment routing": ["5f00::1"],
    "IPv4 in IPv6": [
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::10.0.0.1",
        "::127.0.0.1",
    ],
    "IPv4 translated": [
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "::ffff:0:8.8.8.8",
    ],
    "6to4": ["2002:a00:1::1", "2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
}
ALLOWED = [
    "8.8.8.8", PUBLIC, "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1",
    "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "223.255.255.254",
]  # fmt: skip


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_what_is_not_the_internet_at_large_is_not_reached(kind: str) -> None:
    for text in FORBIDDEN[kind]:
        assert not is_public(ip_address(text)), text
        assert not may_be_reached(ip_address(text)), text


@pytest.mark.parametrize("text", ALLOWED)
def test_public_addresses_are_reached(text: str) -> None:
    assert may_be_reached(ip_address(text))


@pytest.mark.parametrize("address", sorted(METADATA, key=str), ids=str)
def test_no_setting_opens_a_metadata_address(address: IPv4Address | IPv6Address) -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert not may_be_reached(address, everything)
    if isinstance(address, IPv4Address):
        for prefix in ("::ffff:", "64:ff9b::"):
            assert not may_be_reached(ip_address(f"{prefix}{address}"), everything)


@given(st.ip_addresses())
@example(ip_address("192.31.196.1"))
def test_nothing_is_public_that_python_calls_private(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        end = reached(address)
        assert not end.is_private
        assert not end.is_multicast
        assert not end.is_loopback
        assert not end.is_link_local
        assert not end.is_reserved
        assert not end.is_unspecified


@given(st.ip_addresses(v=4))
def test_an_address_in_an_ipv6_coat_is_what_it_is_without(address: IPv4Address) -> None:
    for prefix in ("::ffff:", "64:ff9b::"):
        assert is_public(ip_address(f"{prefix}{address}")) == is_public(address)
    for prefix in ("::", "::ffff:0:"):
        assert not is_public(ip_address(f"{prefix}{address}"))
    assert not is_public(IPv6Address((0x2002 << 112) | (int(address) << 80)))


@given(st.ip_addresses(v=4), st.integers(8, 32))
def test_a_private_network_opens_itself_alone(address: IPv4Address, length: int) -> None:
    network = ip_network(f"10.1.0.0/{max(16, length)}")
    assert may_be_reached(address, [network]) == (is_public(address) or address in network)


@pytest.mark.parametrize(
    "text", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "fe80::1%eth0", "1.2.3", "", "::g"]
)
def test_an_address_has_one_spelling(text: str) -> None:
    assert parse_address(text) is None


# --- URLs ---

HOSTS = AllowedHosts(
    Settings(
        allow=(
            "api.example.com",
            "*.models.example",
            "llm.example:8443",
            "127.0.0.1:9000",
            "[2001:db8::5]",
            "0x7f.1",
        )
    )
)


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://API.Example.COM/v1/", "https://api.example.com/v1"),
        ("HTTPS://api.example.com:443", "https://api.example.com"),
        ("http://api.example.com/a/b//", "http://api.example.com/a/b"),
        ("https://a.b.models.example/v1", "https://a.b.models.example/v1"),
        ("https://llm.example:8443/v1", "https://llm.example:8443/v1"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("https://[2001:DB8:0::5]/v1", "https://[2001:db8::5]/v1"),
    ],
)
def test_an_allowed_host_has_one_spelling(url: str, base_url: str) -> None:
    assert HOSTS.check(url).base_url == base_url


REFUSED_URLS = {
    "https://evil.example/v1": "not among those",
    "https://api.example.com.evil.example/": "not among those",
    "https://notapi.example.com/": "not among those",
    "https://models.example/": "not among those",
    "https://xmodels.example/": "not among those",
    "https://api.example.com:8443/": "not among those",
    "https://llm.example/": "not among those",
    "http://127.0.0.1/": "not among those",
    "http://2130706433:9000/": "written in full",
    "http://0x7f000001:9000/": "written in full",
    "http://0x7f.1/": "written in full",
    "http://0177.0.0.1:9000/": "written in full",
    "http://127.1:9000/": "written in full",
    "http://127.0.0.1.:9000/": "written in full",
    "http://[::ffff:127.0.0.1]:9000/": "not among those",
    "http://[fe80::1%25eth0]/": "none at its end",
    "https://api.example.com./": "none at its end",
    "https://user:hunter2@api.example.com/": "no user",
    "https://api.example.com@evil.example/": "no user",
    "https://evil.example\\@api.example.com/": "no backslash",
    "https://api.example.com\\.evil.example/": "no backslash",
    "https://api.example.com/?x=y": "no query",
    "https://api.example.com/#x": "no query",
    "https://api.example.com/v1/../admin": "no dot segment",
    "https://api.example.com/{x}/v1": "no other braces",
    "https://api.example.com/a{model}b/v1": "no other braces",
    "https://api.example.com/%2e%2e/admin": "no dot segment",
    "https://api.example.com:0/": "base URL with http",
    "https://api.example.com:99999/": "not a URL",
    "https://api.example.com:x/": "not a URL",
    "https://[api.example.com/": "not a URL",
    "ftp://api.example.com/": "http or https",
    "file:///etc/passwd": "http or https",
    "api.example.com/v1": "http or https",
    "//api.example.com/v1": "http or https",
    "https:///v1": "http or https",
    "https://api.exämple.com/": "xn--",
    "https://api。example。com/": "xn--",
    "https://api.example.com/\r\nhost: x": "visible ASCII",
    "https://api.example.com /": "visible ASCII",
    "": "visible ASCII",
    "https://api.example.com/" + "a" * 2048: "2048",
    "https://-api.models.example/": "none at its end",
    "https://a..models.example/": "none at its end",
    "https://a%2emodels.example/": "none at its end",
    "https://" + "a" * 250 + ".models.example/": "none at its end",
}


@pytest.mark.parametrize("url", REFUSED_URLS, ids=lambda url: url[:60])
def test_everything_else_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=REFUSED_URLS[url]) as refused:
        HOSTS.check(url)
    assert "hunter2" not in str(refused.value)


def test_without_a_list_they_are_off() -> None:
    with pytest.raises(ValueError, match="off"):
        AllowedHosts(Settings()).check("https://api.example.com/v1")


@given(st.text(min_size=1, max_size=60), st.sampled_from(["https://", "http://", ""]))
def test_whatever_is_sent_the_host_is_an_allowed_one_or_refused(text: str, scheme: str) -> None:
    try:
        found = HOSTS.check(scheme + text)
    except ValueError:
        return
    host = httpx.URL(found.base_url).host
    assert host in ("api.example.com", "llm.example", "127.0.0.1", "2001:db8::5") or host.endswith(
        ".models.example"
    )


@pytest.mark.parametrize(
    "pattern",
    ["", "https://a.example", "a.example/v1", "*", "*.com", "a.*.example", "a.example:0", "a:b", "a b",
     "ä.example", "*.", ".example", "a.example.", "[::1", "[x]:1", "a.example:99999"],
)  # fmt: skip
def test_a_bad_pattern_is_refused_with_its_remedy(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|too wide|port is a number"):
        parse_pattern(pattern)


def test_networks_are_checked_when_the_configuration_is_loaded() -> None:
    with pytest.raises(ValueError, match=r"such as 10\.1\.0\.0/16"):
        Settings(private_networks=("10.1.0.1/16",))


# --- connections ---


class Names:
    """A name server that says what the test wants, answer by answer, and counts the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


LOCAL = [ip_network("127.0.0.0/8")]
REQUEST = UpstreamRequest("POST", b"/v1/chat/completions", [(b"content-type", b"application/json")], b"{}")


async def ask(transport: NativeTransport) -> tuple[int, bytes]:
    try:
        response = await transport.open(REQUEST)
        try:
            return response.status, await response.read()
        finally:
            await response.close()
    finally:
        await transport.close()


def transport_to(url: str, names: Names, allowed: Sequence[Any] = LOCAL, **settings: Any) -> NativeTransport:
    return NativeTransport("custom:x", Upstream(base_url=url, **settings), AddressGuard(allowed, names))


async def test_a_connection_goes_to_the_address_that_was_checked(upstream: WireUpstream) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    status, _ = await ask(transport_to(f"http://model.test:{upstream.port}/v1", names))
    assert (status, names.asked) == (200, ["model.test"])
    assert upstream.request().header("host") == f"model.test:{upstream.port}"


async def test_a_name_that_changes_its_mind_is_asked_once_a_connection(upstream: WireUpstream) -> None:
    """DNS rebinding: the first answer is fine, the second is not, and there must be no use of it."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    transport = transport_to(f"http://model.test:{upstream.port}/v1", names)
    first = await transport.open(REQUEST)
    with pytest.raises(ForbiddenHost):  # the first is in use: this one needs a connection of its own
        await transport.open(REQUEST)
    assert await first.read()
    await first.close()
    await transport.close()
    assert (upstream.connections, len(names.asked)) == (1, 2)


@pytest.mark.parametrize(
    "found", [["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["::1"]]
)
async def test_one_address_that_may_not_be_reached_forbids_the_name(
    upstream: WireUpstream, found: list[str]
) -> None:
    with pytest.raises(ForbiddenHost) as refused:
        await ask(transport_to(f"http://model.test:{upstream.port}/v1", Names(found)))
    assert refused.value.status == 400
    assert not any(address in refused.value.message for address in found)
    assert upstream.connections == 0


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", socket.gethostname()])
async def test_the_machine_itself_is_not_reached_by_its_name(upstream: WireUpstream, name: str) -> None:
    transport = NativeTransport("x", Upstream(base_url=f"http://{name}:{upstream.port}"), AddressGuard([]))
    with pytest.raises((ForbiddenHost, UpstreamUnreachable)):
        await ask(transport)
    assert upstream.connections == 0


async def test_the_next_address_is_tried_where_one_does_not_answer(upstream: WireUpstream) -> None:
    names = Names(["127.0.0.77", "127.0.0.1"])  # nobody listens on the first
    status, _ = await ask(transport_to(f"http://model.test:{upstream.port}/v1", names))
    assert status == 200


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    for resolve in (nowhere, Names([])):
        guard = AddressGuard(LOCAL, resolve)
        with pytest.raises(UpstreamUnreachable, match=r"model\.test"):
            await ask(NativeTransport("x", Upstream(base_url="http://model.test/v1"), guard))


async def test_a_name_server_that_says_nothing_counts_as_connecting() -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    settings = Upstream(base_url="http://model.test/v1", connect_timeout_s=0.1)
    with pytest.raises(Exception, match="no connection within"):
        await ask(NativeTransport("x", settings, AddressGuard(LOCAL, silent)))


async def test_the_certificate_is_held_to_the_name_and_not_to_the_address(tmp_path: Any) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("model.test").configure_cert(context)
    with WireUpstream(tls=context) as server:
        trusted = {"ca_file": str(tmp_path / "ca.pem")}
        names = Names(["127.0.0.1"])
        status, _ = await ask(transport_to(f"https://model.test:{server.port}/v1", names, **trusted))
        assert status == 200
        with pytest.raises(UpstreamUnreachable, match=r"TLS with other\.test failed"):
            await ask(transport_to(f"https://other.test:{server.port}/v1", names, **trusted))


async def test_pools_are_bounded_and_close_what_they_leave(upstream: WireUpstream) -> None:
    made: list[tuple[str, Transport]] = []

    def build(name: str, settings: Upstream, via: Transport) -> Transport:
        assert settings.keys == ()
        assert settings.headers == {}
        made.append((name, via))
        return via

    hosts: CustomHosts[Transport] = CustomHosts(AddressGuard(LOCAL), build, max_hosts=2)
    urls = [f"{upstream.base_url}/{number}" for number in range(3)]
    kept = [hosts.upstream(url, "custom:127.0.0.1") for url in urls[:2]]
    assert hosts.upstream(urls[0], "custom:127.0.0.1") is kept[0]
    response = await kept[1].open(REQUEST)  # in use while it is put out
    hosts.upstream(urls[2], "custom:127.0.0.1")
    await asyncio.sleep(0)
    assert hosts.upstream(urls[0], "custom:127.0.0.1") is kept[0]
    assert len(made) == 3
    assert await response.read()
    await response.close()
    again = await kept[1].open(REQUEST)  # whoever holds it still may
    assert await again.read()
    await again.close()
    await hosts.close()
    assert upstream.connections == 2, "its connections are not kept any more"


# --- through the gateway ---


@pytest.fixture(scope="module")
def own() -> Iterator[WireUpstream]:
    with WireUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def stranger() -> Iterator[WireUpstream]:
    with WireUpstream() as server:
        yield server


def configuration(own: WireUpstream, stranger: WireUpstream, **more: Any) -> dict[str, Any]:
    return {
        "upstreams": {
            "own": {"base_url": own.base_url, "api_key": OWN, "headers": {"x-secret": "own-header-secret"}}
        },
        "configs": {"named": {"upstream": "own", "headers": {"x-named": "named-header-secret"}}},
        "custom_hosts": {
            "allow": [f"127.0.0.1:{stranger.port}", f"localhost:{own.port}", f"127.0.0.2:{stranger.port}"],
            "private_networks": ["127.0.0.1/32"],
        },
        **more,
    }


@pytest.fixture(scope="module")
def gateway(own: WireUpstream, stranger: WireUpstream) -> Iterator[RunningGateway]:
    with run_gateway(configuration(own, stranger)) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    for name in {"own", "stranger"} & set(request.fixturenames):
        request.getfixturevalue(name).reset()


def chat(gateway: RunningGateway, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{gateway.url}/v1/chat/completions?beta=1", json=CHAT, headers=sent, timeout=20)


def everything_in(stranger: WireUpstream) -> bytes:
    return b"".join(request.raw_head + request.raw_body for request in stranger.requests)


SECRETS = (OWN.encode(), b"own-header-secret", b"named-header-secret", GATEWAY_KEY.encode())


def test_a_custom_host_gets_the_request_and_the_clients_own_key(
    gateway: RunningGateway, own: WireUpstream, stranger: WireUpstream, trace: str
) -> None:
    answer = chat(
        gateway, x_portkey_custom_host=stranger.base_url, authorization="Bearer sk-client", x_trace_id=trace
    )
    assert (answer.status_code, answer.content) == (200, b'{"fine": true}\n')
    assert answer.headers["x-portkey-last-used-option-index"] == "config"
    got = stranger.request()
    assert got.target == b"/v1/chat/completions?beta=1"
    assert got.all("authorization") == ["Bearer sk-client"]
    assert json.loads(got.body) == CHAT
    assert own.requests == []
    assert gateway.rows.the_exchange(trace)["upstream"] == "custom:127.0.0.1"


def ways(stranger: WireUpstream) -> list[dict[str, Any]]:
    """Every way a request can point the gateway at a host, with what it may hope to draw along."""
    host = stranger.base_url
    return [
        {"provider": "own", "custom_host": host},
        {"provider": "@own", "customHost": host},
        {"virtual_key": "own", "custom_host": host},
        {"custom_host": host},
        {"custom_host": host, "override_params": {"model": "@own/gpt"}},
        {"custom_host": host, "forward_headers": ["authorization", "x-secret"]},
        {"custom_host": host, "strategy": {"mode": "fallback"}, "targets": [{"provider": "own"}]},
        {
            "strategy": {"mode": "fallback"},
            "targets": [
                {"provider": "own", "custom_host": host},
                {"virtual_key": "own", "custom_host": host},
            ],
        },
        {
            "strategy": {"mode": "fallback", "on_status_codes": [429]},
            "targets": [
                {"strategy": {"mode": "loadbalance"}, "custom_host": host, "targets": [{"provider": "own"}]},
                {"provider": "own"},
            ],
        },
    ]


@pytest.mark.parametrize("number", range(9))
def test_no_config_makes_a_key_of_the_gateway_travel(
    gateway: RunningGateway, own: WireUpstream, stranger: WireUpstream, number: int
) -> None:
    assert chat(gateway, x_portkey_config=json.dumps(ways(stranger)[number])).status_code == 200
    assert len(stranger.requests) == 1
    assert not any(secret in everything_in(stranger) for secret in SECRETS)
    assert own.requests == []


@pytest.mark.parametrize("headers", [{}, {"x_portkey_provider": "own"}, {"x_portkey_virtual_key": "own"},
    {"x_portkey_config": '{"provider": "own"}'},
    {"x_portkey_config": '{"strategy": {"mode": "single"}, "targets": [{"provider": "own"}]}'}])  # fmt: skip
def test_no_header_makes_a_key_of_the_gateway_travel(
    gateway: RunningGateway, stranger: WireUpstream, headers: dict[str, str]
) -> None:
    assert chat(gateway, x_portkey_custom_host=stranger.base_url, **headers).status_code == 200
    assert stranger.request().header("authorization") is None
    assert not any(secret in everything_in(stranger) for secret in SECRETS)


def test_a_named_config_cannot_be_sent_elsewhere(gateway: RunningGateway, stranger: WireUpstream) -> None:
    answer = chat(gateway, x_portkey_config="named", x_portkey_custom_host=stranger.base_url)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "x-portkey-custom-host"
    assert stranger.requests == []


def test_a_redirect_is_not_followed(
    gateway: RunningGateway, own: WireUpstream, stranger: WireUpstream
) -> None:
    stranger.answers(
        b"HTTP/1.1 307 Elsewhere\r\nlocation: " + own.base_url.encode() + b"\r\ncontent-length: 0\r\n\r\n"
    )
    assert chat(gateway, x_portkey_custom_host=stranger.base_url).status_code == 307
    assert own.requests == []


def test_a_key_in_the_config_goes_to_its_host(gateway: RunningGateway, stranger: WireUpstream) -> None:
    config = {"provider": "openai", "custom_host": stranger.base_url, "api_key": "sk-there"}
    chat(gateway, x_portkey_config=json.dumps(config), authorization="Bearer sk-client")
    assert stranger.request().all("authorization") == ["Bearer sk-there"]
    assert b"sk-client" not in everything_in(stranger)


@pytest.mark.parametrize(
    ("provider", "header"),
    [("anthropic", "x-api-key"), ("azure-openai", "api-key"), ("google", "x-goog-api-key")],
)
def test_a_key_goes_in_the_header_of_its_provider(
    gateway: RunningGateway, stranger: WireUpstream, provider: str, header: str
) -> None:
    config = {"provider": provider, "custom_host": stranger.base_url, "api_key": "sk-there"}
    chat(gateway, x_portkey_config=json.dumps(config))
    assert stranger.request().header(header) == "sk-there"


def test_a_host_that_is_not_allowed_is_not_called(gateway: RunningGateway, own: WireUpstream) -> None:
    for url in (
        own.base_url,
        "http://169.254.169.254/latest",
        "https://api.openai.com/v1",
        "http://2130706433/",
    ):
        answer = chat(gateway, x_portkey_custom_host=url)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-portkey-custom-host")
    assert own.requests == []


def test_an_allowed_name_is_not_called_where_it_leads_inside(
    gateway: RunningGateway, stranger: WireUpstream, trace: str
) -> None:
    """127.0.0.2 is on the list, but neither public nor in a private network that is allowed."""
    answer = chat(gateway, x_portkey_custom_host=f"http://127.0.0.2:{stranger.port}/v1", x_trace_id=trace)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "forbidden_host")
    assert stranger.connections == 0
    assert gateway.rows.the_exchange(trace)["error_kind"] == "forbidden_host"


def test_without_the_setting_no_request_names_a_host(own: WireUpstream, stranger: WireUpstream) -> None:
    with run_gateway(configuration(own, stranger, custom_hosts={})) as gateway:
        answer = chat(gateway, x_portkey_custom_host=stranger.base_url)
    assert answer.status_code == 400
    assert "custom_hosts.allow" in answer.json()["error"]["message"]
    assert stranger.requests == []


BEARER = f"Bearer {GATEWAY_KEY}"


@pytest.fixture(scope="module")
def guarded(own: WireUpstream, stranger: WireUpstream) -> Iterator[RunningGateway]:
    """A gateway with a virtual key."""
    with run_gateway(configuration(own, stranger, keys={"team": {"key": GATEWAY_KEY}})) as running:
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        {"authorization": BEARER},
        {"x_api_key": GATEWAY_KEY},
        {"x_portkey_api_key": GATEWAY_KEY},
        {"x_portkey_api_key": GATEWAY_KEY, "authorization": BEARER},
        {"authorization": BEARER, "x_api_key": GATEWAY_KEY, "api_key": GATEWAY_KEY},
    ],
)
def test_a_virtual_key_of_the_gateway_does_not_travel_either(
    guarded: RunningGateway, stranger: WireUpstream, sent: dict[str, str]
) -> None:
    assert chat(guarded, x_portkey_custom_host=stranger.base_url, **sent).status_code == 200
    assert not any(secret in everything_in(stranger) for secret in SECRETS)


def test_beside_a_virtual_key_the_clients_own_key_travels(
    guarded: RunningGateway, stranger: WireUpstream
) -> None:
    sent = {"x_portkey_api_key": GATEWAY_KEY, "authorization": "Bearer sk-client"}
    assert chat(guarded, x_portkey_custom_host=stranger.base_url, **sent).status_code == 200
    assert stranger.request().header("authorization") == "Bearer sk-client"


def test_without_a_virtual_key_nobody_reaches_a_custom_host(
    guarded: RunningGateway, stranger: WireUpstream
) -> None:
    assert chat(guarded, x_portkey_custom_host=stranger.base_url).status_code == 401
    assert stranger.requests == []


def test_portkeys_sdk_reaches_a_custom_host(gateway: RunningGateway, stranger: WireUpstream) -> None:
    body = b'{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'
    stranger.answers(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    client = portkey_ai.Portkey(
        base_url=gateway.base_url, api_key="PK", provider="openai", custom_host=stranger.base_url,
        Authorization="sk-mine",
    )  # fmt: skip
    answer: Any = client.chat.completions.create(model="m", messages=CHAT["messages"])
    assert answer.id == "c"
    assert stranger.request().header("authorization") == "Bearer sk-mine"
