"""Locked memory is raised as far as it may be, and said where that is not enough."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from mmrlhf_jobs.locked_memory import raise_locked_memory

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "rdma", "set_to", "told"),
    [
        (65536, UNLIMITED, True, (UNLIMITED, UNLIMITED), False),
        (65536, 8 << 20, True, (8 << 20, 8 << 20), True),
        (8 << 20, 8 << 20, True, None, True),
        (65536, 8 << 20, False, (8 << 20, 8 << 20), False),
    ],
)
def test_the_limit_is_raised(
    soft: int, hard: int, rdma: bool, set_to: tuple[int, int] | None, told: bool, tmp_path: Path
) -> None:
    done: list[tuple[int, int]] = []
    said = raise_locked_memory(
        get=lambda _: (soft, hard),
        put=lambda _, limits: done.append(limits),
        devices=tmp_path if rdma else tmp_path / "none",
    )
    assert done == ([] if set_to is None else [set_to])
    assert (said is not None) == told
    assert said is None or "8192 KiB" in said
