"""A finished run as its files tell it: ``manifest.json`` and ``metrics.jsonl``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from mmrlhf_api.progress import STEP, is_number

__all__ = ["CHARTS", "RunRecord", "final_figures", "flatten", "parse_rows", "plain"]

CHARTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Loss", ("loss", "preferenceLoss", "supervisedLoss", "critiqueLoss", "scoreLoss")),
    ("Margin", ("margin",)),
    ("Accuracy", ("accuracy", "disagreement")),
    ("Beta", ("beta", "betaSpread")),
    ("Score", ("meanScore",)),
    ("Learning rate", ("learningRate",)),
    ("Gradient norm", ("gradientNorm",)),
    ("Tokens a second", ("tokensPerSecond",)),
    ("Peak memory of rank 0, GiB", ("peakMemoryGiB",)),
)
"""Charts of a run and the figures in each, by wire name; those that a run has not are left out."""
_HELD_OUT: Final = "heldOut"
_CONSTANT: Final = ("betaSpread",)
"""Figures that say nothing where they are 0 throughout."""


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        manifest: Content of ``manifest.json``.
        rows: Rows of ``metrics.jsonl``.
    """

    manifest: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Namespace and name of the job."""
        meta = self.manifest["job"]["metadata"]
        return f"{meta.get('namespace', 'default')}/{meta.get('name', '')}"

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was asked for."""
        spec: Mapping[str, Any] = self.manifest["job"]["spec"]
        return spec

    def points(self, figure: str) -> list[tuple[float, float]]:
        """Step and value of a figure, where it is a number."""
        return [
            (float(row[STEP.name]), float(row[figure]))
            for row in self.rows
            if is_number(row.get(figure)) and is_number(row.get(STEP.name))
        ]

    def charts(self) -> list[tuple[str, list[str]]]:
        """Charts that the run has figures for; those of evaluations on the way are the last."""
        found = []
        for title, figures in CHARTS:
            there = [one for one in figures if self._tells(one)]
            if there:
                found.append((title, there))
        during = sorted({key for row in self.rows for key in row if key.startswith(_HELD_OUT)})
        return found + [(f"Held-out {plain(key.removeprefix(_HELD_OUT))}", [key]) for key in during]

    def _tells(self, figure: str) -> bool:
        points = self.points(figure)
        return bool(points) and (figure not in _CONSTANT or any(value for _, value in points))

    def before_and_after(self) -> list[tuple[str, float | None, float | None]]:
        """Held-out measures: name, before and after; None where there is none."""
        metrics = self.manifest.get("metrics", {})
        names: dict[str, None] = {}
        for key in metrics:
            for start in ("before", "after"):
                if key.startswith(start) and key[len(start) : len(start) + 1].isupper():
                    names.setdefault(key.removeprefix(start))
        return [
            (plain(name), metrics.get(f"before{name}"), metrics.get(f"after{name}"))
            for name in names
        ]


def final_figures(run: RunRecord) -> dict[str, float]:
    """What one line about a run would say, by wire name: last steps, speed, and what was measured.

    Loss, margin and accuracy are means over the last tenth of the steps; speed and memory are the
    median and the most of all.
    """
    found: dict[str, float] = {}
    for name in ("loss", "margin", "accuracy"):
        values = [value for _, value in run.points(name)]
        if values:
            last = values[-max(1, len(values) // 10) :]
            found[name] = math.fsum(last) / len(last)
    if speeds := [value for _, value in run.points("tokensPerSecond")]:
        found["tokensPerSecond"] = median(speeds)
    if memory := [value for _, value in run.points("peakMemoryGiB")]:
        found["peakMemoryGiB"] = max(memory)
    if seconds := [value for _, value in run.points("seconds")]:
        found["trainingSeconds"] = math.fsum(seconds)
    metrics = run.manifest.get("metrics", {})
    return found | {name: float(value) for name, value in metrics.items() if is_number(value)}


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of a spec by dotted path."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found |= flatten(item, f"{prefix}{name}.")
        else:
            found[prefix + name] = item
    return found


def plain(name: str) -> str:
    """A wire name in words: ``preferenceAccuracy`` is preference accuracy; units stay (``GiB``)."""
    words = re.split(r"(?<=[a-z0-9])(?=[A-Z][a-z])", name)
    return " ".join(word if re.search("[A-Z].*[A-Z]", word) else word.lower() for word in words)


def parse_rows(text: str) -> list[Mapping[str, Any]]:
    """Rows of ``metrics.jsonl``.

    Raises:
        ValueError: A line is no JSON object.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        row = json.loads(line)
        if not isinstance(row, Mapping):
            raise ValueError(f"line {number} is no object")  # noqa: TRY004 - of the file
        rows.append(row)
    return rows
