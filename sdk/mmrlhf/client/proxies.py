"""Which proxy leads to a server, as kubectl finds it in the environment."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["find_proxy"]


def find_proxy(server: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for a server; None where it is reached directly.

    Args:
        server: Its address.
        environment: Variables ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in
            capitals or not.
    """
    scheme = urlsplit(server).scheme
    found = _variable(environment, f"{scheme}_proxy") or _variable(environment, "all_proxy")
    return None if not found or _is_direct(server, _variable(environment, "no_proxy")) else found


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _is_direct(server: str, exceptions: str) -> bool:
    parts = urlsplit(server)
    if not parts.hostname:
        return True
    host, place = parts.hostname.lower(), parts.netloc.lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in exceptions.lower().split(","):
        rule = entry.strip()
        if rule == "*" or (rule and address is not None and _holds(rule, address)):
            return True
        name = rule.lstrip(".")
        if name and any(one == name or one.endswith(f".{name}") for one in (host, place)):
            return True
    return False


def _holds(rule: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
