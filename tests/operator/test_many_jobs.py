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
    over = asyncio.Event()
    lived = asyncio.create_task(over.wait())

    def luckless(inner: Transport) -> Transport:
        lives.append(faults.Luckless(faults.Recorded(inner, log), rng, rate=RATE, life=LIFE))
        return lives[-1]

    async def supervise() -> None:
        while not over.is_set():
            try:
                async with start_operator(luckless) as running:
                    await asyncio.wait({running.task, lived}, return_when=asyncio.FIRST_COMPLETED)
            except (faults.Crash, BaseExceptionGroup) as death:
                if not faults.is_crash(death):
                    raise

    await asyncio.to_thread(hands.submit)
    supervisor = asyncio.create_task(supervise())
    try:
        deadline = time.monotonic() + SECONDS * PATIENCE
        while going := await asyncio.to_thread(hands.move):
            assert time.monotonic() < deadline, [driver.status(name=name) for name in going]
            await asyncio.sleep(0.1)
    finally:
        over.set()
        await asyncio.wait({supervisor}, timeout=SECONDS * PATIENCE)
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
    assert not supervisor.cancelled(), "an operator that was told to end does not"
    await supervisor

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
