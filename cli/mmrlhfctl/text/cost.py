"""What runs have cost, by what their attempts recorded of themselves; pure.

An attempt ends with a word. What it computed is kept if it succeeded, gave a verdict, or was
interrupted, which saves a checkpoint first. Of any other the next attempt takes up the last
checkpoint, so that a part of it is kept: all of it is what was lost at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mmrlhf.client.times import parse_time
from mmrlhf_api.constants import GateOutcome
from mmrlhf_api.prices import Prices
from mmrlhf_api.progress import is_number
from mmrlhf_api.termination import Ending

__all__ = [
    "HEADERS",
    "Spent",
    "cost_row",
    "figure_gained",
    "gate_lines",
    "spent_by",
    "told_prices",
    "total_line",
]

HEADERS: Final = ("RUN", "GPUS", "HOURS", "GPU-HOURS", "LOST AT MOST", "BY", "WAITED")
"""Columns of `cost_row`, before price and figure."""
RUNNING: Final = "running"
_KEPT: Final = frozenset({"Succeeded", Ending.INTERRUPTED, *GateOutcome, RUNNING})
_HOUR: Final = 3600.0
_GAINS: Final = ("difference", "gain")
"""Figures of a gate's criterion: what the candidate is above the champion."""


@dataclass(frozen=True)
class Spent:
    """What a run has taken.

    Attributes:
        name: What to call it.
        gpus: GPUs that each attempt held.
        seconds: Time of all attempts, from the first process's start to its end, by how they ended.
        unknown: Attempts whose end nobody has written down, and no later one bounds.
        waited: Seconds before the first pod ran; None where that is not known.
        metrics: Its final figures.
        pool: Its pool of nodes, if it names one.
        told: Seconds of attempts that failed, by the operator's reason.
        price: Of one of its GPU-hours; None where there is none.
        currency: What that is paid in.
    """

    name: str
    gpus: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    unknown: int = 0
    waited: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    pool: str | None = None
    told: Mapping[str, float] = field(default_factory=dict)
    price: float | None = None
    currency: str = ""

    @property
    def hours(self) -> float:
        """Hours of all attempts."""
        return sum(self.seconds.values()) / _HOUR

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all attempts."""
        return self.gpus * self.hours

    def lost(self) -> dict[str, float]:
        """GPU-hours of attempts whose work may not be kept, by how they ended."""
        return {
            word: self.gpus * seconds / _HOUR
            for word, seconds in self.seconds.items()
            if word not in _KEPT
        }

    @property
    def kept(self) -> float:
        """GPU-hours of attempts whose work is kept."""
        return self.gpu_hours - sum(self.lost().values())


def spent_by(
    name: str,
    attempts: Sequence[Mapping[str, Any]],
    *,
    gpus: int,
    ended: bool,
    now: datetime,
    waited: float | None = None,
    metrics: Mapping[str, Any] | None = None,
    pool: str | None = None,
    told: Mapping[str, float] | None = None,
) -> Spent:
    """Sum up the attempts of a run.

    One without an end was killed, and held its GPUs until the next began at most.

    Args:
        name: What to call it.
        attempts: Content of ``attempts.json``, or ``attempts`` of a record.
        gpus: GPUs that each attempt held.
        ended: Whether the job has ended; otherwise the last attempt without an end runs.
        now: The time.
        waited: Seconds before the first pod ran.
        metrics: Final figures.
        pool: Its pool of nodes, if it names one.
        told: Seconds of attempts that failed, by the operator's reason.
    """
    seconds: dict[str, float] = {}
    unknown = 0
    starts = [parse_time(one.get("startedAt")) for one in attempts]
    for number, one in enumerate(attempts):
        start, end = starts[number], parse_time(one.get("endedAt"))
        word, last = str(one.get("exit") or "Killed"), number == len(attempts) - 1
        if end is None:
            end = starts[number + 1] if not last else None if ended else now
            word = RUNNING if last and not ended else word
        if start is None or end is None:
            unknown += 1
            continue
        seconds[word] = seconds.get(word, 0.0) + max(0.0, (end - start).total_seconds())
    return Spent(name, gpus, seconds, unknown, waited, metrics or {}, pool, told or {})


def cost_row(one: Spent, *, priced: bool, figure: str | None) -> list[str]:
    """Return the cells of a run; see `HEADERS`.

    Args:
        one: The run.
        priced: Whether prices are shown.
        figure: Name of a figure such as ``afterPreferenceAccuracy``: what a point of it has taken.
    """
    lost = one.lost()
    by = [f"{word} {hours:.2f}" for word, hours in sorted(lost.items(), key=lambda two: -two[1])]
    if one.told:
        hours = {word: one.gpus * seconds / _HOUR for word, seconds in one.told.items()}
        told = [f"{word} {each:.2f}" for word, each in sorted(hours.items(), key=lambda t: -t[1])]
        by.append(f"as the operator saw it: {', '.join(told)}")
    if one.unknown:
        by.append(f"{one.unknown} without an end, not counted")
    cells = [
        one.name,
        str(one.gpus),
        f"{one.hours:.2f}",
        f"{one.gpu_hours:.2f}",
        f"{sum(lost.values()):.2f}",
        ", ".join(by),
        "" if one.waited is None else f"{one.waited / _HOUR:.2f}",
    ]
    if priced:
        cells.append("" if one.price is None else f"{one.gpu_hours * one.price:.2f}")
    if figure is not None:
        gained = figure_gained(one.metrics, figure)
        paid = one.gpu_hours * (one.price or 0.0) if priced else one.gpu_hours
        known = gained is not None and gained > 0 and not (priced and one.price is None)
        cells.append(f"{paid / (100 * gained):.2f}" if known and gained is not None else "")
    return cells


def figure_gained(metrics: Mapping[str, Any], figure: str) -> float | None:
    """Return by how much a figure is higher than its twin before; None if either is missing."""
    after = metrics.get(figure)
    before = metrics.get(f"before{figure.removeprefix('after')}")
    if not figure.startswith("after") or not is_number(after) or not is_number(before):
        return None
    return float(after) - float(before)


def told_prices(runs: Sequence[Spent]) -> Prices | None:
    """Return the currency of the prices that jobs have in their status; None where none has one.

    Raises:
        ValueError: They are paid in several, so that there is no sum.
    """
    found = sorted({one.currency for one in runs if one.price is not None})
    if len(found) > 1:
        named = ", ".join(one or "no currency" for one in found)
        raise ValueError(f"the jobs are paid in {named}")
    return Prices(currency=found[0]) if found else None


def gate_lines(runs: Sequence[Spent], *, prices: Prices | None) -> list[str]:
    """Return what a point that the gate measured has taken, by criterion, of all runs together.

    A point is a hundredth of what the candidate is above the champion. Nothing is said where there
    is no gate among the runs, or more than one.

    Args:
        runs: Runs that led to one verdict, the gate's among them.
        prices: What they are paid in; None: nothing is known.
    """
    gates = [one.metrics for one in runs if "promoted" in one.metrics]
    if len(gates) != 1:
        return []
    hours = sum(one.gpu_hours for one in runs)
    paid = sum(one.gpu_hours * (one.price or 0.0) for one in runs)
    # A run without GPUs costs nothing, priced or not.
    whole = all(one.price is not None or one.gpus == 0 for one in runs)
    lines = []
    for name, gained in sorted(gates[0].items()):
        criterion, _, figure = name.rpartition(".")
        if not criterion or figure not in _GAINS or not is_number(gained):
            continue
        points = 100 * float(gained)
        words = f"{criterion}: {points:+.2f} points by the gate"
        if points > 0:
            words += f", {hours / points:.2f} GPU-hours each"
            if prices is not None and whole:
                words += f", {prices.amount(paid / points)}"
        lines.append(words)
    return lines


def total_line(runs: Sequence[Spent], *, prices: Prices | None) -> str:
    """Return what several runs have taken together, in a sentence."""
    hours = sum(one.gpu_hours for one in runs)
    lost = sum(sum(one.lost().values()) for one in runs)
    return f"{hours:.2f} GPU-hours in all{_paid(runs, prices)}; at most {lost:.2f} of them lost"


def _paid(runs: Sequence[Spent], prices: Prices | None) -> str:
    if prices is None:
        return ""
    known = [one for one in runs if one.price is not None]
    paid = prices.amount(sum(one.gpu_hours * (one.price or 0.0) for one in known))
    each = {one.price for one in known}
    words = f", {paid}" + (f" at {each.pop():g} each" if len(each) == 1 else "")
    missing = len(runs) - len(known)
    return f"{words} ({missing} without a price not counted)" if missing else words
