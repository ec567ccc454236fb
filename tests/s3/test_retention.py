"""Retention in a real object store: what somebody came to need stays, in any order of requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.storage.s3 import PatientS3
from tests.s3.conftest import Bucket
from tests.unit.retention.races import race_with_a_job, race_with_an_alias
from tests.unit.retention.world import World
from tests.unit.storage.writers import pass_gate


@pytest.fixture(autouse=True)
def gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request passes the gate of who makes it."""
    call = PatientS3._call_s3

    async def passing(self: PatientS3, *arguments: Any, **named: Any) -> Any:
        if (gate := pass_gate()) is not None:
            await asyncio.get_running_loop().run_in_executor(None, gate.pass_through)
        return await call(self, *arguments, **named)

    monkeypatch.setattr(PatientS3, "_call_s3", passing)


@pytest.mark.parametrize("race", [race_with_a_job, race_with_an_alias])
def test_in_no_order_does_a_run_go_that_somebody_came_to_need(
    race: Callable[[World, int], str], bucket: Bucket, tmp_path: Path
) -> None:
    ends: Counter[str] = Counter()
    for seed in range(4):
        store = bucket.store(f"store-{seed}")
        ends[race(World(store, tmp_path / str(seed), bucket.options), seed)] += 1
    assert len(ends) > 1, ends
