"""Addresses of object stores: what all of the operator understands by one.

A policy judges an endpoint, a look-up asks it and holds each of its requests against it. If they
read the same text differently, what was judged would not be what is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Endpoint"]

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")
"""Hosts that no two readers of an address read differently."""


@dataclass(frozen=True)
class Endpoint:
    """Where requests go.

    Attributes:
        scheme: ``http`` or ``https``.
        host: Name or address, in lower case, without brackets.
        port: Port, also where the address names none.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Read an address; path and query are not looked at.

        Raises:
            ValueError: It is none of HTTP, or names no host that all readers read alike.
        """
        parts = urlsplit(url)
        host, standard = parts.hostname or "", _PORTS.get(parts.scheme)
        port = standard if parts.port is None else parts.port
        if _HOST.fullmatch(host) is None or not port or standard is None:
            raise ValueError("the address names no host that can be asked")
        return cls(parts.scheme, host, port)

    @property
    def standard_port(self) -> int:
        """Port of the scheme."""
        return _PORTS[self.scheme]

    def ways(self) -> tuple[str, ...]:
        """Ways to write it, with and without scheme and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return tuple(
            f"{scheme}{host}{end}"
            for scheme in ("", f"{self.scheme}://")
            for end in ("", f":{self.port}")
        )
