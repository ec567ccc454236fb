"""Work that is stopped at once, where it stands, when the process is asked to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmrlhf_jobs.process.interruption import Interrupted

__all__ = ["stopped_by_signals"]


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT end the work at once: all that such a step keeps is kept whole.

    Raises:
        Interrupted: One of them came.
    """
    before: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        # asyncio knows how to end a run by the other one.
        signal.SIGTERM: signal.signal(signal.SIGTERM, _as_interrupt),
    }
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped as asked; what is done is kept, run the same again to go on"
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)
