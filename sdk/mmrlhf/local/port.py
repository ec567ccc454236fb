"""A port for a local run that nobody else is given until the run has bound it.

torchrun imports for seconds before it listens, and what was free when it was chosen may be taken by
then. So the port stays bound here, without listening. Linux lets a second socket bind it and listen
where both say SO_REUSEADDR and none listens yet (socket(7)), as torch's store does; programs that
ask for any port, or for this one without saying so, do not get it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["hold_port"]


@contextmanager
def hold_port() -> Iterator[int]:
    """Hold a port on all addresses of this machine for one listener that sets SO_REUSEADDR."""
    with _bound() as held:
        port: int = held.getsockname()[1]
        if sys.platform != "linux":
            # Elsewhere the listener could not bind what is bound here.
            held.close()
        yield port


def _bound() -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    held = socket.socket(socket.AF_INET6 if dual else socket.AF_INET)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if dual:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        held.bind(("", 0))
    except OSError:
        held.close()
        raise
    return held
