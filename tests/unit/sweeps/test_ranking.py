"""Early stopping and the best setting, against the same written in another way."""

from __future__ import annotations

import math
import random
import statistics
from fractions import Fraction

import numpy as np
import pytest

from mmrlhf_api.sweeps.grid import Point
from mmrlhf_api.sweeps.ranking import best_of, losers, noted, settings_of
from mmrlhf_api.sweeps.types import EarlyStop, Report, SweepObjective

UP = SweepObjective(metric="afterPreferenceAccuracy")
DOWN = SweepObjective(metric="afterCritiqueLoss", goal="minimize")


def halved(table: np.ndarray, keep: float, least: int, *, maximize: bool) -> set[int]:
    """The rule from its description, over a table of points and rungs with NaN for no report.

    A point is at the last rung where it has a report. Of the n reports there the best
    ceil(keep * n) go on; those that tie with the last of them too.
    """
    ended = set[int]()
    for point, row in enumerate(table):
        rungs = np.flatnonzero(~np.isnan(row))
        if not len(rungs):
            continue
        column = table[:, rungs[-1]]
        there = np.sort(column[~np.isnan(column)])
        there = there[::-1] if maximize else there
        last_kept = there[math.ceil(Fraction(keep) * len(there)) - 1]
        worse = row[rungs[-1]] < last_kept if maximize else row[rungs[-1]] > last_kept
        if len(there) >= least and worse:
            ended.add(point)
    return ended


def test_early_stop_is_successive_halving() -> None:
    ended = [compare(random.Random(seed)) for seed in range(300)]
    assert 0.2 < sum(one > 0 for one in ended) / len(ended) < 0.9


def compare(draw: random.Random) -> int:
    """Compare both on drawn reports; returns how many points end."""
    points, rungs = draw.randint(1, 12), draw.randint(1, 4)
    steps = sorted(draw.sample(range(1, 100), rungs))
    table = np.full((points, rungs), np.nan)
    reports: dict[str, list[Report]] = {}
    for point in range(points):
        reached = draw.randint(0, rungs)
        found = [float(draw.randint(0, 5)) for _ in range(reached)]  # ties happen
        table[point, :reached] = found
        reports[str(point)] = [Report(step=steps[n], value=value) for n, value in enumerate(found)]
    rule = EarlyStop(
        steps=tuple(steps), keep=draw.choice([0.25, 0.5, 0.9]), at_least=draw.randint(2, 6)
    )
    objective = draw.choice([UP, DOWN])
    ended = losers(reports, rule, objective)
    expected = halved(table, rule.keep, rule.at_least, maximize=objective is UP)
    assert set(ended) == {str(one) for one in expected}
    return len(ended)


def test_a_loser_is_told_why_and_the_best_of_all_never_is_one() -> None:
    rule = EarlyStop(steps=(10,), keep=0.5, at_least=3)
    reports = {name: [Report(step=10, value=v)] for name, v in (("a", 0.9), ("b", 0.5), ("c", 0.1))}
    assert losers(reports, rule, UP) == {
        "c": "0.1 at step 10 is not among the best 2 of 3 points measured there"
    }
    assert set(losers(reports, rule, DOWN)) == {"a"}


@pytest.mark.parametrize(
    ("before", "step", "steps"),
    [((), 9, []), ((), 10, [10]), ((), 25, [20]), ((10,), 15, [10]), ((10,), 20, [10, 20])],
)
def test_what_is_heard_first_at_a_step_or_after_it_counts(
    before: tuple[int, ...], step: int, steps: list[int]
) -> None:
    rule = EarlyStop(steps=(10, 20))
    known = [Report(step=one, value=0.0) for one in before]
    found = noted(known, rule, step=step, value=1.0)
    assert [one.step for one in found] == steps
    assert noted(known, None, step=step, value=1.0) == tuple(known)


def points(*values: tuple[float, int]) -> list[Point]:
    return [
        Point(f"{n:02}", {"objective.beta.w": w, "training.seed": seed})
        for n, (w, seed) in enumerate(values)
    ]


GRID = points((0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1))


def test_repetitions_count_by_their_mean_and_not_by_luck() -> None:
    values = {"00": 0.9, "01": 0.1, "02": 0.6, "03": 0.7}
    found = settings_of(GRID, values, UP)
    best = best_of(found, UP)
    assert best is not None
    assert (best.values, best.points) == ("objective.beta.w=0.5", ("02", "03"))
    assert best.value == pytest.approx(0.65)
    assert best.spread == pytest.approx(statistics.stdev([0.6, 0.7]))
    worst = best_of(found, UP.model_copy(update={"goal": "minimize"}))
    assert worst is not None
    assert worst.points == ("00", "01")


def test_a_whole_setting_comes_before_one_that_lacks_a_point() -> None:
    best = best_of(settings_of(GRID, {"00": 0.2, "01": 0.2, "02": 0.9}, UP), UP)
    assert best is not None
    assert best.points == ("00", "01")
    alone = best_of(settings_of(GRID, {"02": 0.9}, UP), UP)
    assert alone is not None
    assert (alone.points, alone.spread) == (("02",), None)
    assert best_of(settings_of(GRID, {}, UP), UP) is None


def test_without_fields_to_average_each_point_is_a_setting() -> None:
    objective = SweepObjective(metric="x", mean_over=())
    best = best_of(settings_of(GRID, {"00": 0.9, "02": 0.8}, objective), objective)
    assert best is not None
    assert (best.values, best.points) == ("objective.beta.w=0.1, training.seed=0", ("00",))
