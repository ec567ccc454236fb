"""Improves as a process of its own, which stays when it wants the media of the third query.

``python -m tests.jobs.improvement.held ARGUMENTS...``
"""

from __future__ import annotations

import sys
import time
from typing import Any

from mmrlhf_jobs.improvement import improvement
from mmrlhf_jobs.improvement.__main__ import main

__all__ = ["hold"]


def hold(*, call: int) -> None:
    """Make the so-many-th call of `load_media` stay."""
    load, calls = improvement.load_media, 0  # type: ignore[attr-defined]

    def held(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            time.sleep(3600)
        return load(*arguments, **named)

    improvement.load_media = held  # type: ignore[attr-defined]


if __name__ == "__main__":
    hold(call=3)
    sys.exit(main(sys.argv[1:]))
