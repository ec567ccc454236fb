"""A way to a server that takes as many bytes as it is told: a slow network without a clock."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE

__all__ = ["Valve"]


class Valve:
    """Passes connections on to a server, and bytes towards it once they are granted.

    Args:
        endpoint: URL of the server.

    Attributes:
        endpoint: URL of this way to it.
        starved: Whether nobody granted anything for long: who should have waited for the bytes.
    """

    def __init__(self, endpoint: str) -> None:
        place = urlsplit(endpoint)
        self._server = (place.hostname, place.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._changed = threading.Condition()
        self._granted: int | None = None
        self.starved = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open()
        self._listener.close()

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

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for source, target, held in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pump, args=(source, target, held), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, held: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                rest = memoryview(data)
                while rest:
                    count = self._take(len(rest)) if held else len(rest)
                    target.sendall(rest[:count])
                    rest = rest[count:]
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _take(self, wanted: int) -> int:
        with self._changed:
            if not self._changed.wait_for(lambda: self._granted != 0, timeout=6 * PATIENCE):
                self.starved, self._granted = True, None
            count = wanted if self._granted is None else min(wanted, self._granted)
            if self._granted is not None:
                self._granted -= count
            self._changed.notify_all()
            return count
