"""Which addresses the operator may ask on behalf of a job.

A job names its store, so that a look at it is a request of the operator's network at an address of
a user's choice. What only the machine or the cluster itself should reach is refused, whatever name
or notation leads there: what is judged is the address that is connected to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Address", "AddressRule", "Network"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host (RFC 1122, 3.2.1.3)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local (RFC 3927), metadata of most clouds
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.0/24",  # of protocols (RFC 6890), metadata of Oracle Cloud
        "::/128",  # unspecified
        "::1/128",  # loopback
        "fe80::/10",  # link-local (RFC 4291, 2.5.6)
        "fec0::/10",  # site-local, deprecated (RFC 3879)
        "ff00::/8",  # multicast
        "fd00:ec2::/32",  # metadata of EC2, and its time and name servers
        "fd20:ce::254/128",  # metadata of Google Cloud
    )
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_EMBEDDING = tuple(
    # The network, and how many bits stand behind the IPv4 address that is in its addresses.
    (ipaddress.IPv6Network(text), behind)
    for text, behind in (
        ("::/96", 0),  # IPv4-compatible, deprecated (RFC 4291, 2.5.5.1)
        ("::ffff:0:0:0/96", 0),  # translated (RFC 2765)
        ("64:ff9b::/96", 0),  # NAT64 (RFC 6052)
        ("64:ff9b:1::/48", 0),  # NAT64 of one's own (RFC 8215), as most lay it out
        ("2002::/16", 80),  # 6to4 (RFC 3056)
    )
)


@dataclass(frozen=True, kw_only=True)
class AddressRule:
    """What may be asked.

    Attributes:
        allowed: Networks that may be asked whatever they are.
        reserved: Addresses that may not, besides those that are the machine's or the cloud's own.
    """

    allowed: tuple[Network, ...] = ()
    reserved: frozenset[Address] = frozenset()

    @classmethod
    def of(cls, *, allowed: Iterable[str] = (), reserved: Iterable[str] = ()) -> AddressRule:
        """Make a rule of texts; names among what is reserved are left to what they resolve to."""
        return cls(
            allowed=tuple(ipaddress.ip_network(text) for text in allowed),
            reserved=frozenset(
                form
                for text in reserved
                if (address := _parse(text)) is not None
                for form in _forms(address)
            ),
        )

    def permits(self, text: str) -> bool:
        """Whether an address, as the resolver writes it, may be asked."""
        address = _parse(text)
        return address is not None and all(self._permits(form) for form in _forms(address))

    def _permits(self, address: Address) -> bool:
        if any(address in network for network in self.allowed):
            return True
        return address not in self.reserved and not any(address in network for network in _REFUSED)


def _parse(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _forms(address: Address) -> Iterator[Address]:
    """The addresses that a packet to this one may arrive at."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    number = int(address)
    if address in _MAPPED:  # the kernel sends it by IPv4
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
        return
    yield address
    for network, behind in _EMBEDDING:
        if address in network and number > 1:
            yield ipaddress.IPv4Address((number >> behind) & 0xFFFFFFFF)
