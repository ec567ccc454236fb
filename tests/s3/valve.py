"""A way to a server that takes as many bytes as it is told: a slow network without a clock."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

from tests.listening import Way
from tests.patience import PATIENCE

__all__ = ["Valve"]


class Valve(Way):
    """Passes connections on to a server, and bytes towards it once they are granted.

    Args:
        endpoint: URL of the server.

    Attributes:
        endpoint: URL of this way to it.
        starved: Whether nobody granted anything for long: who should have waited for the bytes.
    """

    def __init__(self, endpoint: str) -> None:
        place = urlsplit(endpoint)
        assert place.hostname is not None
        assert place.port is not None
        self._changed = threading.Condition()
        self._granted: int | None = None
        self.starved = False
        super().__init__(place.hostname, place.port)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def grant(self, count: int) -> None:
        """From now on pass what is granted alone, and so many bytes more."""
        with self._changed:
            self._granted = (self._granted or 0) + count
            self._changed.notify_all()

    def open(self) -> None:
        """Pass everything."""
        with self._changed:
            self._granted = None
            self._changed.notify_all()

    @property
    def is_short(self) -> bool:
        """Whether what was granted has not passed yet."""
        return bool(self._granted)

    def _let_go(self) -> None:
        self.open()

    def _tell(self, server: socket.socket, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = self._draw(len(rest))
            server.sendall(rest[:count])
            rest = rest[count:]

    def _draw(self, wanted: int) -> int:
        with self._changed:
            if not self._changed.wait_for(lambda: self._granted != 0, timeout=6 * PATIENCE):
                self.starved, self._granted = True, None
            count = wanted if self._granted is None else min(wanted, self._granted)
            if self._granted is not None:
                self._granted -= count
            self._changed.notify_all()
            return count
