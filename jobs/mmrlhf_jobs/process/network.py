"""The network interface by which the processes of a job reach each other.

Gloo listens where the name of the host leads. On many machines that is 127.0.1.1, as Debian's
installer writes it to /etc/hosts: nobody on another node can reach it. NCCL is not hurt by that, as
it looks at the interfaces themselves.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence

import psutil

__all__ = ["find_interface"]


def _is_loopback(address: str | None) -> bool:
    return address is not None and ipaddress.ip_address(address).is_loopback


def _host_address() -> str | None:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0])


def _own_address(to: str) -> str | None:
    """Asked of the system's routes: connecting a datagram socket sends nothing."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(to, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            found: str = probe.getsockname()[0]
    except OSError:
        return None
    return found


def _interfaces() -> dict[str, list[str]]:
    found = psutil.net_if_addrs()
    return {name: [one.address for one in addresses] for name, addresses in found.items()}


def find_interface(
    master: str,
    *,
    host: Callable[[], str | None] = _host_address,
    way: Callable[[str], str | None] = _own_address,
    interfaces: Callable[[], Mapping[str, Sequence[str]]] = _interfaces,
) -> str | None:
    """The interface that leads to node 0, where the name of this host leads nowhere.

    Args:
        master: Name or address of node 0.
        host: The address that the name of this host has.
        way: The address of this host that others see when it sends to a name or an address.
        interfaces: Addresses of this host by interface.

    Returns:
        None: the host's name will do, or nothing better is known.
    """
    own = way(master)
    if own is None or _is_loopback(own) or not _is_loopback(host()):
        return None
    return next((name for name, addresses in interfaces().items() if own in addresses), None)
