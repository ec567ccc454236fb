"""The sweeps in ``examples/`` are valid, and their grids are the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api.pipelines.files import load_all
from mmrlhf_api.sweeps.grid import count_points
from mmrlhf_api.sweeps.types import Sweep

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.parametrize(
    ("file", "grid", "points"),
    [
        # Paper 5.1: "a grid search over the values {0,0.1,0.25,0.5,1.0}".
        ("sweeps/sft-weight.yaml", {"objective.sftWeight": (0.0, 0.1, 0.25, 0.5, 1.0)}, 5),
        # Paper 5.1: "a search over {1e-7,5e-7,1e-6,5e-6,1e-5}".
        (
            "sweeps/learning-rate.yaml",
            {"optimizer.learningRate": (1e-7, 5e-7, 1e-6, 5e-6, 1e-5)},
            5,
        ),
        ("sweeps/figure-12b.yaml", {"training.seed": (0, 1, 2)}, 27),
        ("sweeps/digits.yaml", {"training.seed": (0, 1, 2)}, 12),
    ],
)
def test_an_example_is_valid_and_its_grid_the_papers(
    file: str, grid: dict[str, Any], points: int
) -> None:
    (found,) = load_all(EXAMPLES / file, in_cluster="digits" not in file)
    assert isinstance(found, Sweep)
    fields = {one.field: one.values for one in found.spec.parameters}
    assert {name: fields[name] for name in grid} == grid
    assert count_points(found.spec) == points
