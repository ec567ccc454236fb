"""Which setting of a sweep does best, and which points end early: pure functions of reports."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmrlhf_api.sweeps.grid import Point, in_words
from mmrlhf_api.sweeps.types import BestSetting, EarlyStop, Report, SweepObjective, SweepSpec

__all__ = ["Setting", "best_of", "losers", "noted", "on_the_way", "settings_of"]


@dataclass(frozen=True)
class Setting:
    """Points that differ in fields of ``objective.meanOver`` alone.

    Attributes:
        values: Their values, without those fields.
        points: Names of all of them.
        measured: Names of those that have a value.
        mean: Mean of the values; None while there is none.
        spread: Standard deviation of a sample; None below two values.
    """

    values: Mapping[str, Any]
    points: tuple[str, ...]
    measured: tuple[str, ...]
    mean: float | None
    spread: float | None


def settings_of(
    points: Iterable[Point], values: Mapping[str, float], objective: SweepObjective
) -> tuple[Setting, ...]:
    """Return the settings of a sweep in the order in which they are first met.

    Args:
        points: All points.
        values: The figure of each point that has one, by name.
        objective: Says what makes no other setting.
    """
    alike: dict[str, list[Point]] = {}
    for point in points:
        alike.setdefault(in_words(point.values, without=objective.repeated), []).append(point)
    return tuple(_setting(found, values, objective) for found in alike.values())


def best_of(settings: Sequence[Setting], objective: SweepObjective) -> BestSetting | None:
    """Return the best setting; None while none has a value.

    A setting all of whose points have a value comes before one that lacks some, whatever the mean;
    of equals the first is taken.
    """
    measured = [one for one in settings if one.mean is not None]
    if not measured:
        return None

    def rank(one: Setting) -> tuple[bool, float]:
        assert one.mean is not None
        return len(one.measured) < len(one.points), _worse(one.mean, objective)

    found = min(measured, key=rank)
    assert found.mean is not None
    return BestSetting(
        values=in_words(found.values),
        value=found.mean,
        spread=found.spread,
        points=found.measured,
    )


def losers(
    reports: Mapping[str, Sequence[Report]], rule: EarlyStop, objective: SweepObjective
) -> dict[str, str]:
    """Return the points that the rule ends, with the reason in words.

    A point is judged at the last of the rule's steps that it was measured at: it goes on while
    fewer than ``keep`` of the points measured there (rounded up) are strictly better.

    Args:
        reports: By point, whatever has become of it, what it had reached at the rule's steps.
        rule: The rule.
        objective: Says what is better.
    """
    found: dict[str, str] = {}
    for name, own in reports.items():
        if not own:
            continue
        last = max(own, key=lambda one: one.step)
        there = [one.value for of in reports.values() for one in of if one.step == last.step]
        kept = math.ceil(rule.keep * len(there))
        better = sum(_worse(value, objective) < _worse(last.value, objective) for value in there)
        if len(there) >= rule.at_least and better >= kept:
            found[name] = (
                f"{last.value:.4g} at step {last.step} is not among the best {kept} of"
                f" {len(there)} points measured there"
            )
    return found


def noted(
    reports: Sequence[Report], rule: EarlyStop | None, *, step: int, value: float
) -> tuple[Report, ...]:
    """Return the reports of a point after a measure was heard of.

    It counts at the last of the rule's steps that it has reached, if it is the first one there.

    Args:
        reports: Those so far.
        rule: The rule; without one nothing is kept.
        step: Optimizer step of the measure.
        value: The measure.
    """
    reached = [one for one in rule.steps if one <= step] if rule is not None else []
    if not reached or any(one.step >= max(reached) for one in reports):
        return tuple(reports)
    return (*reports, Report(step=max(reached), value=value))


def on_the_way(spec: SweepSpec) -> str:
    """Name of the figure that jobs tell on the way of the one that they end with."""
    return spec.objective.metric.replace("after", "heldOut", 1)


def _setting(
    points: Sequence[Point], values: Mapping[str, float], objective: SweepObjective
) -> Setting:
    measured = [point.name for point in points if point.name in values]
    found = [values[name] for name in measured]
    return Setting(
        values={
            field: value
            for field, value in points[0].values.items()
            if field not in objective.repeated
        },
        points=tuple(point.name for point in points),
        measured=tuple(measured),
        mean=math.fsum(found) / len(found) if found else None,
        spread=statistics.stdev(found) if len(found) > 1 else None,
    )


def _worse(value: float, objective: SweepObjective) -> float:
    """A number that is the less, the better the value is."""
    return -value if objective.goal == "maximize" else value
