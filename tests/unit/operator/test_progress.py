"""What becomes of the progress that jobs push."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mmrlhf_operator.state.progress import ProgressBoard, merge
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import ProgressReport
from tests.unit.operator.world import START

LATER = START + timedelta(seconds=5)


def after(*events: dict[str, Any], before: ProgressReport | None = None) -> ProgressReport:
    return merge(before, events, attempt=0, at=LATER)


def test_the_latest_step_counts_with_numbers_for_people() -> None:
    report = after(
        {"event": "step", "step": 6, "loss": 2.0, "accuracy": 1},
        {"event": "step", "step": 7, "totalSteps": 9, "loss": 2 / 3, "etaSeconds": 12345678.9},
    )
    assert (report.step, report.at, report.advanced_at) == (7, LATER, LATER)
    assert report.figures == {"totalSteps": 9, "loss": 0.666667, "etaSeconds": 12345700.0}


@pytest.mark.parametrize(
    ("event", "advanced"),
    [
        ({"event": "step", "step": 4}, True),
        ({"event": "step", "step": 3}, False),  # told again
        ({"event": "phase", "phase": "evaluate"}, True),
        ({"event": "done", "metrics": {}}, True),
        ({"event": "notice", "message": "words"}, False),
    ],
)
def test_only_what_moves_on_counts_as_a_sign_of_life(event: dict[str, Any], advanced: bool) -> None:
    before = ProgressReport(attempt=0, at=START, advanced_at=START, step=3)
    assert (after(event, before=before).advanced_at == LATER) is advanced


def test_the_counts_of_a_sampling_are_told_and_a_sign_of_life() -> None:
    counts = {"rowsRead": 1_234_567, "mediaEmbedded": 5, "rowsSelected": 0}
    event = {"event": "step", "step": 3, **counts, "itemsPerSecond": 1234.5678}
    report = after(event, {**event, "mediaEmbedded": -1, "rowsRead": 2.5})
    assert report.figures == {"rowsSelected": 0, "itemsPerSecond": 1234.57}
    report = after(event)
    assert report.figures == {**counts, "itemsPerSecond": 1234.57}
    same = ProgressReport(attempt=0, at=START, advanced_at=START, step=3, figures=report.figures)
    assert after(event, before=same).advanced_at == START
    assert after({**event, "mediaEmbedded": 6}, before=same).advanced_at == LATER


def test_the_stage_is_that_of_the_latest_phase() -> None:
    phases = [{"event": "phase", "phase": name} for name in ("read", "embed")]
    report = after(*phases, {"event": "step", "step": 3})
    assert (report.step, report.stage) == (3, "embed")
    assert after({"event": "phase", "phase": 7}, before=report).stage is None
    assert after({"event": "phase", "phase": "x" * 999}).stage == "x" * 256


@pytest.mark.parametrize("step", [-1, True, 2.5, "7", None, 2**54])
def test_steps_that_are_none_are_passed_over(step: object) -> None:
    assert after({"event": "step", "step": step, "loss": 1.0}).step is None


def test_values_that_are_no_numbers_are_left_out() -> None:
    bad = {"loss": float("nan"), "margin": float("inf"), "accuracy": True, "tokensPerSecond": "9"}
    report = after({"event": "step", "step": 1, **bad, "totalSteps": -1})
    assert (report.step, report.figures) == (1, {})
    metrics = {"a": 0.123456789, "b": None, "": 1.0, "c": float("nan"), "d": 2}
    assert after({"event": "done", "metrics": metrics}).metrics == {"a": 0.123456789, "d": 2.0}


def test_another_attempt_starts_from_nothing() -> None:
    before = ProgressReport(attempt=0, at=START, advanced_at=START, step=3, metrics={"a": 1.0})
    report = merge(before, [{"event": "unheard of"}], attempt=1, at=LATER)
    assert report == ProgressReport(attempt=1, at=LATER, advanced_at=LATER)


def test_a_board_keeps_the_jobs_apart() -> None:
    board, key = ProgressBoard(), Key("MMDPOJob", "default", "demo")
    board.post(key, "uid-1", attempt=0, events=[{"event": "step", "step": 7}], at=START)
    found = board.latest(key, "uid-1")
    assert found is not None
    assert found.step == 7
    assert board.latest(key, "uid-2") is None  # its heir has made no steps
    assert board.latest(key._replace(name="other"), "uid-1") is None
    board.forget(key)
    assert board.latest(key, "uid-1") is None


def test_a_rate_is_that_of_its_own_stage() -> None:
    rates = {"itemsPerSecond": 5.0, "tokensPerSecond": 7.0, "etaSeconds": 9.0}
    reading = {"event": "phase", "phase": "read"}
    report = after(reading, {"event": "step", "step": 3, "rowsRead": 8, "loss": 0.5, **rates})
    assert after(reading, before=report).figures == report.figures
    embedding = {"event": "phase", "phase": "embed"}
    assert after(embedding, before=report).figures == {"rowsRead": 8, "loss": 0.5}
