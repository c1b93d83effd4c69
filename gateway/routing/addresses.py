"""Which IP addresses a host that a request named may have: public ones, and networks the operator allowed.

A pure check over addresses. Names are resolved, and connections made to what was checked and to nothing else,
in `gateway.proxy.upstream.guard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, DigitalOcean, OpenStack
        "169.254.169.253",  # AWS: the resolver of a VPC
        "169.254.170.2",  # AWS ECS: credentials of a task
        "169.254.170.23",  # AWS EKS: credentials of a pod
        "169.254.0.23",  # Tencent
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure: the host of a virtual machine
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS, IPv6
        "fd00:ec2::23",  # AWS EKS, IPv6
        "fd20:ce::254",  # Google, IPv6
    )
)
"""Where clouds hand out credentials to whoever can connect. No setting opens these."""

# IANA IPv4 Special-Purpose Address Registry, with multicast (RFC 5771) and what clouds use for themselves.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip

# All that is given out as global unicast (RFC 4291 section 2.4, IANA's IPv6 Global Unicast Assignments).
# Loopback, unspecified, link-local, site-local, unique-local, multicast and IPv4-compatible lie outside it.
_GLOBAL_V6 = IPv6Network("2000::/3")

# IANA IPv6 Special-Purpose Address Registry, as far as it lies within 2000::/3.
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, among them Teredo, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address, and is deprecated (RFC 7526)
        "3fff::/20",
    )
)

_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2: the system connects to the IPv4 address
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: so does a translator on the way; 64:ff9b:1::/48 is local


def parse_address(text: str) -> Address | None:
    """An address in its one strict spelling, or None: `127.1`, `0x7f.1` and `fe80::1%eth0` are none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else address


def reached(address: Address) -> Address:
    """The address that a connection to `address` ends at: the IPv4 address that some IPv6 ones carry."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address belongs to the internet at large, and to nobody's inside."""
    end = reached(address)
    if isinstance(end, IPv4Address):
        return not any(end in network for network in _NOT_PUBLIC_V4)
    return (
        end.scope_id is None and end in _GLOBAL_V6 and not any(end in network for network in _NOT_PUBLIC_V6)
    )


def may_be_reached(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether a request may have the gateway connect to `address`; `allowed` are not public, but meant."""
    end = reached(address)
    if address in METADATA or end in METADATA:
        return False
    if isinstance(end, IPv6Address) and end.scope_id is not None:
        return False
    return is_public(address) or any(end in network for network in allowed)


def parse_network(text: str) -> Network:
    """A network in CIDR form. Raises ValueError."""
    return ip_network(text)
