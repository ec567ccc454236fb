"""What a job will take, by what earlier runs of the same kind and model have taken; pure.

GPU-seconds are taken to grow as the queries that are trained on, and not to depend on how many GPUs
share them. A step's work is not known before it runs: it is taken to be that of its earlier runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from mmrlhf_api.prices import Prices
from mmrlhf_api.progress import is_number
from mmrlhfctl.text.cost import Spent

__all__ = ["Earlier", "Forecast", "forecast", "forecast_lines"]

_SAME: Final = (
    ("spec.step", "another step"),
    ("spec.model.uri", "another model"),
    ("spec.training.compile", "compiled or not"),
    ("spec.parallelism.offload", "another offload"),
)
"""Fields that must be the same, and what it means where they are not."""
_HOUR: Final = 3600.0
_FEW: Final = 3


@dataclass(frozen=True)
class Earlier:
    """A finished run.

    Attributes:
        name: What to call it.
        record: Its record.
        spent: What it has taken.
    """

    name: str
    record: Mapping[str, Any]
    spent: Spent


@dataclass(frozen=True)
class Forecast:
    """What a job will take.

    Attributes:
        low: GPU-hours of the cheapest of the runs, scaled.
        middle: Their median.
        high: The dearest.
        runs: Names of the runs that it is made from.
        assumed: What was assumed besides.
        left_out: How many runs say nothing of it, by why.
    """

    low: float
    middle: float
    high: float
    runs: tuple[str, ...]
    assumed: tuple[str, ...]
    left_out: Mapping[str, int]


def forecast(job: Mapping[str, Any], earlier: Sequence[Earlier]) -> Forecast:
    """Say what a job will take; without runs to go by, `Forecast.runs` is empty.

    Args:
        job: It, under wire names, with defaults.
        earlier: Finished runs, of any kind.
    """
    found: list[tuple[str, float]] = []
    left_out: dict[str, int] = {}
    assumed: set[str] = set()
    for one in earlier:
        why = _unlike(job, one)
        if why is not None:
            left_out[why] = left_out.get(why, 0) + 1
            continue
        scale, note = _scale(job, one.record)
        if note:
            assumed.add(note)
        found.append((one.name, one.spent.kept * scale))
    hours = [each for _, each in found] or [0.0]
    names = tuple(name for name, _ in found)
    return Forecast(min(hours), median(hours), max(hours), names, tuple(sorted(assumed)), left_out)


def _unlike(job: Mapping[str, Any], one: Earlier) -> str | None:
    """Why a run says nothing of a job; None if it does."""
    theirs = one.record.get("job") or {}
    if theirs.get("kind") != job.get("kind"):
        return "another kind"
    spec, other = job.get("spec") or {}, theirs.get("spec") or {}
    for path, why in _SAME:
        if _at(job, path) != _at(theirs, path):
            return why
    if (spec.get("adapter") is None) != (other.get("adapter") is None):
        return "with or without an adapter"
    if one.spent.gpus == 0:
        return "no GPU"
    return None if one.spent.kept > 0 else "no time of its attempts"


def _scale(job: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[float, str]:
    """How much more work a job is than a run was, and what is assumed in saying so."""
    training = (job.get("spec") or {}).get("training")
    theirs = ((record.get("job") or {}).get("spec") or {}).get("training") or {}
    if not isinstance(training, Mapping):
        return 1.0, "it has as much to do as they had"
    done = _product(theirs.get("queriesPerStep"), record.get("steps"))
    if done is None:
        return 1.0, "it has as much to do as they had"
    note = "time grows as the queries that are trained on"
    whole = _product(training.get("epochs"), (record.get("data") or {}).get("rows"))
    bound = _product(training.get("maxSteps"), training.get("queriesPerStep"))
    wanted = min((each for each in (whole, bound) if each is not None), default=done)
    if whole is not None and wanted == whole:
        note += ", and its data has as many rows as theirs"
    return wanted / done, note


def _product(one: Any, other: Any) -> float | None:  # noqa: ANN401 - any JSON
    """Of two numbers above 0; None where either is none."""
    if not (is_number(one) and is_number(other) and one > 0 and other > 0):
        return None
    return float(one) * float(other)


def _at(value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def forecast_lines(found: Forecast, job: Mapping[str, Any], prices: Prices | None) -> list[str]:
    """Return a forecast in sentences.

    Args:
        found: It.
        job: The job that it is of.
        prices: What a GPU-hour costs; None says nothing of it.
    """
    left = [f"{count} ({why})" for why, count in sorted(found.left_out.items())]
    out_of = f"; left out: {', '.join(left)}" if left else ""
    if not found.runs:
        return [f"there is nothing to go by: no earlier run of this kind and model{out_of}"]
    price = None if prices is None else prices.of((job.get("spec") or {}).get("nodePool"))
    count = len(found.runs)
    if count == 1:
        lines = [f"about {found.middle:.2f} GPU-hours, by one run alone: no spread is known"]
    else:
        spread = f"{found.low:.2f} to {found.high:.2f}"
        lines = [f"about {found.middle:.2f} GPU-hours ({spread}), by {count} runs"]
        if count < _FEW:
            lines[0] += ": too few to trust the spread"
    lines[0] += out_of
    if prices is not None and price is None:
        lines.append("its pool of nodes has no price")
    elif prices is not None and price is not None:
        low, high = prices.amount(found.low * price), prices.amount(found.high * price)
        paid = prices.amount(found.middle * price)
        lines.append(f"about {paid}" + ("" if count == 1 else f" ({low} to {high})"))
    lines += [f"assumed: {one}" for one in found.assumed]
    lines.append("attempts that are lost come on top of it")
    return lines
