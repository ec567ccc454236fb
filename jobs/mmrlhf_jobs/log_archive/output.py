"""What this process and those that it starts write, passed on and handed over.

Standard output and error become pipes, which a thread reads: it writes all on to where they led
before, at once, and hands a copy over.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["CopiedOutput"]

_STREAMS = {1: "stdout", 2: "stderr"}
_PIPE_BYTES = 2**20
_READ_BYTES = 2**16


class CopiedOutput:
    """From its making to `close`, copies what is written to standard output and error.

    Args:
        take: Takes the name of the stream and what was written; must return at once.
    """

    def __init__(self, take: Callable[[str, bytes], None]) -> None:
        self._take = take
        self._former: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        for number, name in _STREAMS.items():
            self._former[number] = os.dup(number)
            out, into = os.pipe()
            with suppress(OSError, AttributeError):  # more than the system allows, or no Linux
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            os.dup2(into, number)
            os.close(into)
            self._selector.register(out, selectors.EVENT_READ, (name, self._former[number]))
        self._thread = threading.Thread(target=self._copy, name="output", daemon=True)
        self._thread.start()

    def close(self, *, timeout: float = 5.0) -> None:
        """Lead the streams where they led before, and pass on what is still on its way.

        Args:
            timeout: Seconds to wait at most for processes that still hold the streams.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        for number, former in self._former.items():
            os.dup2(former, number)
        self._thread.join(timeout)

    def _copy(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select():
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                    continue
                name, former = key.data
                with suppress(OSError):  # nobody reads any more: the copy is all there is
                    _write(former, data)
                self._take(name, data)


def _write(number: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]
