"""Ratings of responses as data sets write them: numbers, or texts of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmrlhf_jobs.data.parts import Reasons, Scores

__all__ = ["make_reasons", "make_scores", "read_number"]


def read_number(value: Any) -> float | None:  # noqa: ANN401 - any JSON
    """A finite number, also from its text; None for anything else, such as ``N/A``."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def make_scores(ratings: Mapping[str, float | None]) -> Scores | None:
    """Scores of the three dimensions, or None if they are not all whole numbers from 1 to 5."""
    values: dict[str, int] = {}
    for name in ("faithfulness", "helpfulness", "ethics"):
        value = ratings.get(name)
        if value is None or value != int(value) or not 1 <= value <= 5:
            return None
        values[name] = int(value)
    return Scores(**values)


def make_reasons(texts: Mapping[str, str]) -> Reasons | None:
    """Reasons by dimension; the overall one names them all."""
    if not texts:
        return None
    overall = "\n".join(f"{name.capitalize()}: {text}" for name, text in texts.items())
    return Reasons(overall=overall, **texts)
