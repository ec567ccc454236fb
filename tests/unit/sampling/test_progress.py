"""Progress events of the stages: counts, rate, and the time that a stage still takes."""

from __future__ import annotations

from typing import Any

from mmrlhf_jobs.sampling.context import EFFORT, StageProgress


def test_the_time_left_follows_from_the_effort_of_the_stage() -> None:
    events: list[dict[str, Any]] = []
    now = 0.0
    progress = StageProgress(events.append, clock=lambda: now)
    progress.watch("rows", 1000)
    now = 10.0
    progress.report({"parts": 1, "rows": 50})
    assert events[-1] == {"step": 1, "rowsRead": 50, "itemsPerSecond": 5.0}
    progress.report({"parts": 2, "rows": 80, EFFORT: 250})
    assert events[-1]["etaSeconds"] == 30.0
    now = 40.0
    progress.report({"parts": 9, "rows": 160, EFFORT: 1000})
    assert events[-1] == {"step": 9, "rowsRead": 160, "itemsPerSecond": 4.0, "etaSeconds": 0.0}
    # The next stage starts from nothing, and one without effort has no end that is known.
    progress.watch("media", 60)
    now = 50.0
    progress.report({"media": 30, EFFORT: 1020})
    assert (events[-1]["itemsPerSecond"], events[-1]["etaSeconds"]) == (3.0, 20.0)
    progress.watch("")
    now = 60.0
    progress.report({})
    assert events[-1] == {"step": 9, "rowsRead": 160, "mediaEmbedded": 30}
