"""Many jobs at once, a server that fails, an operator that dies: each job ends as it must."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from mmrlhf_operator.kube.transport import Transport
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver
from tests.operator.fates import Hands, draw
from tests.operator.lives import started_again
from tests.patience import PATIENCE

pytestmark = pytest.mark.cluster

JOBS = 24
RATE = 0.05
LIFE = 60
SECONDS = 60.0


@pytest.mark.timeout(1800)
async def test_every_job_meets_its_fate_and_no_other(
    driver: Driver, start_operator: StartOperator
) -> None:
    rng = random.Random(20)
    log: faults.Log = []
    lives: list[faults.Luckless] = []
    hands = Hands(driver, draw(seed=15, number=JOBS), random.Random(21))

    def luckless(inner: Transport) -> Transport:
        lives.append(faults.Luckless(faults.Recorded(inner, log), rng, rate=RATE, life=LIFE))
        return lives[-1]

    await asyncio.to_thread(hands.submit)
    async with started_again(start_operator, luckless):
        deadline = time.monotonic() + SECONDS * PATIENCE
        while going := await asyncio.to_thread(hands.move):
            assert time.monotonic() < deadline, [driver.status(name=name) for name in going]
            await asyncio.sleep(0.1)

    # It was as bad as it should be.
    assert len(lives) > 3
    assert set().union(*(life.failures for life in lives)) == set(faults.FAULTS)

    ends = {fate.name: fate.end for fate in hands.fates}
    found = {
        name: {key: driver.status(name=name).get(key) or 0 for key in end}
        for name, end in ends.items()
    }
    assert found == ends
    # Nothing is lost, and nothing is doubled.
    assert set(faults.created_pods(log).values()) == {1}
    assert {name: len(uids) for name, uids in hands.seen.items()} == {
        name: 1 for fate in hands.fates for name in fate.pods
    }
