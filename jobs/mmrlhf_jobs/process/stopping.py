"""Work that is stopped at once, where it stands, when the process is asked to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from mmrlhf_api.interrupts import heard_signals
from mmrlhf_jobs.process.interruption import Interrupted

__all__ = ["stopped_by_signals"]


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the work at once: all that such a step keeps is kept whole.

    Raises:
        Interrupted: One of them came.
    """
    # asyncio knows how to end a run by it, if nobody has changed it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with heard_signals(signal.SIGTERM):
            yield
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped as asked; what is done is kept, run the same again to go on"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
