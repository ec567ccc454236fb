from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.sampling.report.projection import (
    evenly,
    project,
    projection_table,
    require_umap,
)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_few_vectors_stand_in_a_line(count: int) -> None:
    points = project(np.ones((count, 8), np.float32), seed=0)
    assert points.tolist() == [[float(place), 0.0] for place in range(count)]


def test_a_subset_is_even_and_has_no_repeats() -> None:
    assert evenly(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert len(set(evenly(1_000_003, 100_000))) == 100_000


def test_the_table_keeps_digests_that_end_in_zeros() -> None:
    digest = b"a" * 31 + b"\0"
    table = projection_table(
        np.array([digest], "S32"), np.zeros((1, 2)), np.array([3]), np.array([True])
    )
    assert table.to_pylist() == [
        {"sha256": digest, "x": 0.0, "y": 0.0, "cluster": 3, "selected": True}
    ]
    assert table.schema.field("sha256").type == pa.binary(32)


def test_a_map_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_umap()
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(SpecError, match=r"spec.report.map.*install mmrlhf\[sample\], or set"):
        require_umap()
