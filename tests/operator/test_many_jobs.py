"""Many jobs at once, a server that fails, an operator that dies: each job ends as it must.

`make many-jobs` has a thousand, fifty at a time, and says what that took.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections import Counter

import pytest

from mmrlhf_operator.kube.transport import Transport
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until
from tests.operator.fates import Hands, draw
from tests.operator.lives import started_again
from tests.patience import PATIENCE

pytestmark = pytest.mark.cluster

JOBS = int(os.environ.get("MMRLHF_TEST_JOBS", "24"))
TOGETHER = 50
RATE = 0.05
LIFE = 5 * min(JOBS, TOGETHER) // 2
"""Writes until an operator dies: some for each job, as it looks at all of them when it starts."""
SECONDS = 60.0


@pytest.mark.timeout(1800 + 60 * JOBS)
async def test_every_job_meets_its_fate_and_no_other(
    driver: Driver, start_operator: StartOperator
) -> None:
    rng = random.Random(20)
    log: faults.Log = []
    lives: list[Counter[str]] = []

    def luckless(inner: Transport) -> Transport:
        life = faults.Luckless(faults.Recorded(inner, log), rng, rate=RATE, life=LIFE)
        lives.append(life.failures)  # not itself, with all its connections
        return life

    fates = draw(seed=15, number=JOBS)
    began = time.monotonic()
    async with started_again(start_operator, luckless):
        for first in range(0, JOBS, TOGETHER):
            hands = Hands(driver, fates[first : first + TOGETHER], random.Random(21 + first))
            await _live(driver, hands)
            ended, seconds = first + len(hands.fates), time.monotonic() - began
            sys.stdout.write(f"{ended} jobs have ended after {seconds:.0f} s, {len(lives)} lives\n")
            sys.stdout.flush()
            # Nothing is lost, and nothing is doubled.
            assert set(faults.created_pods(log).values()) == {1}
            assert {name: len(uids) for name, uids in hands.seen.items()} == {
                name: 1 for fate in hands.fates for name in fate.pods
            }
            if first + TOGETHER < JOBS:
                log.clear()
                await _remove(driver, hands)

    # It was as bad as it should be.
    assert len(lives) > 3
    assert set().union(*lives) == set(faults.FAULTS)
    figures = {
        "jobs": JOBS,
        "operators": len(lives),
        "seconds": round(time.monotonic() - began),
        "cpuSeconds": round(time.process_time()),
        "peakMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


async def _live(driver: Driver, hands: Hands) -> None:
    """Let jobs live, and see that each has ended as it must."""
    await asyncio.to_thread(hands.submit)
    deadline = time.monotonic() + SECONDS * PATIENCE
    while going := await asyncio.to_thread(hands.move):
        assert time.monotonic() < deadline, [driver.status(name=name) for name in going]
        await asyncio.sleep(0.1)
    ends = {fate.name: fate.end for fate in hands.fates}
    found = {
        name: {key: driver.status(name=name).get(key) or 0 for key in end}
        for name, end in ends.items()
    }
    assert found == ends


async def _remove(driver: Driver, hands: Hands) -> None:
    """Delete jobs, and wait until their pods are gone too."""
    for fate in hands.fates:
        await asyncio.to_thread(driver.api.delete, driver.path(name=fate.name))
    await until(
        lambda: not driver.left() and not driver.jobs(), what="an empty namespace", seconds=60
    )
