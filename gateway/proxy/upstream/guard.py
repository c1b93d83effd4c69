"""Where a host that a request named leads: every address of it is checked before any is connected to.

A name is resolved once for a connection, and the connection goes to an address of that answer. So a name
server that says something else the second time (DNS rebinding) is never asked a second time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from gateway.errors import ForbiddenHost, UpstreamUnreachable
from gateway.routing.addresses import Network, may_be_reached, parse_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to its addresses as text, best first. Raises OSError."""

_MAX_ADDRESSES = 8


class AddressGuard:
    """Gives the addresses of a host that may be connected to. `allowed` are networks that are not public."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve | None = None) -> None:
        self._allowed = allowed
        self._resolve = resolve or resolve_by_system

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Raises ForbiddenHost if one of them may not be reached, UpstreamUnreachable if there are none.

        Neither says which addresses there are: a client must not read the inside of a network from them.
        """
        literal = parse_address(host)
        try:
            found = [str(literal)] if literal is not None else await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise UpstreamUnreachable(f"{host}: the name does not resolve") from error
        if not found:
            raise UpstreamUnreachable(f"{host}: the name has no address")
        for text in found:
            if "%" in text or not may_be_reached(ip_address(text), self._allowed):
                raise ForbiddenHost(
                    f"{host}: leads to an address that is not public, and the operator does not allow it "
                    "(custom_hosts.private_networks)"
                )
        return found[:_MAX_ADDRESSES]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says, each address once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
