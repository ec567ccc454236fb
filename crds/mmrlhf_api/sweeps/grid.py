"""The points of a sweep, and the job of each."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.overrides import Override, apply_override, parse_path
from mmrlhf_api.sweeps.types import SweepSpec

__all__ = [
    "LABEL_POINT",
    "LABEL_SWEEP",
    "MAX_SUFFIX",
    "Point",
    "count_points",
    "in_words",
    "job_body",
    "job_name",
    "points_of",
]

LABEL_SWEEP: Final = "mmrlhf.io/sweep"
"""Name of the sweep that a job is of."""
LABEL_POINT: Final = "mmrlhf.io/point"
"""Number of the point that a job is of."""
MAX_SUFFIX: Final = 3
"""Characters that follow the sweep's name in that of a job."""


@dataclass(frozen=True)
class Point:
    """A point.

    Attributes:
        name: Its number, two digits.
        values: Values by field, in the order in which they are given.
    """

    name: str
    values: Mapping[str, Any]


def points_of(spec: SweepSpec) -> tuple[Point, ...]:
    """Return the points of a sweep: the grid, whose last field changes fastest, then the others."""
    fields = [one.field for one in spec.parameters]
    grid = itertools.product(*(one.values for one in spec.parameters)) if fields else ()
    found = [dict(zip(fields, values, strict=True)) for values in grid]
    found += [{one.field: one.value for one in point.values} for point in spec.points]
    return tuple(Point(f"{number:02}", values) for number, values in enumerate(found))


def count_points(spec: SweepSpec) -> int:
    """Return how many points a sweep has, without making them."""
    grid = 1 if spec.parameters else 0
    for one in spec.parameters:
        grid *= len(one.values)
    return grid + len(spec.points)


def in_words(values: Mapping[str, Any], *, without: Iterable[str] = ()) -> str:
    """Return values as text: ``objective.beta.w=0.5, training.seed=1``."""
    left_out = set(without)
    shown = (
        f"{field}={value if isinstance(value, str) else json.dumps(value)}"
        for field, value in values.items()
        if field not in left_out
    )
    return ", ".join(shown)


def job_name(sweep: str, point: str) -> str:
    """Name of the job of a point."""
    return f"{sweep}-{point}"


def job_body(spec: SweepSpec, point: Point, *, sweep: str, namespace: str) -> dict[str, Any]:
    """Return the job of a point as plain data, not validated.

    Raises:
        ValueError: A field does not fit the template; says which.
    """
    body = {"spec": copy.deepcopy(dict(spec.template.spec))}
    for field, value in point.values.items():
        try:
            apply_override(body, Override(field, parse_path(f"spec.{field}"), value))
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from error
    return {
        "apiVersion": API_VERSION,
        "kind": spec.template.kind,
        "metadata": {"name": job_name(sweep, point.name), "namespace": namespace},
        **body,
    }
