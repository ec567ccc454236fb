"""Scores as a process of its own, which stays when it has the values of the second part.

``held.py FILE ARGUMENTS...`` touches the file then, before it writes those values.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.training.reward.scoring import RewardScoring

__all__ = ["hold"]


def hold(reached: Path, *, call: int) -> None:
    """Make the so-many-th call of `RewardScoring.score` touch a file and stay."""
    score, calls = RewardScoring.score, 0

    def held(self: RewardScoring, items: Sequence[Any]) -> Any:
        nonlocal calls
        calls += 1
        values = score(self, items)
        if calls == call:
            reached.touch()
            time.sleep(3600)
        return values

    RewardScoring.score = held  # type: ignore[method-assign]


if __name__ == "__main__":
    hold(Path(sys.argv[1]), call=2)
    sys.exit(main(sys.argv[2:]))
