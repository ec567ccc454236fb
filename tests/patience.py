"""How long a test waits before it calls something hung.

A wait ends as soon as what it waits for is there; only a test that fails waits to the end. So the
limits are far above what an idle machine needs: a machine that is busy with other work is slower by
what the others take, and nothing is wrong with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

__all__ = ["PATIENCE", "pauses"]

PATIENCE: Final = 5.0
"""By this much longer than on an idle machine."""


def pauses(first: float = 0.05, most: float = 0.5) -> Iterator[float]:
    """How long to wait before each next look at something that is waited for, in seconds.

    A tenth of what was waited so far: looks cost a test and the server that it asks more than all
    that they wait for, and what has taken seconds is not missed for a tenth of them.
    """
    start = time.monotonic()
    while True:
        yield max(first, min(most, (time.monotonic() - start) / 10))
