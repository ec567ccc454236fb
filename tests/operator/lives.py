"""An operator that is started again whenever it dies, as a Deployment does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mmrlhf_operator.kube.transport import Transport
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.patience import PATIENCE

_SECONDS = 60.0


@asynccontextmanager
async def started_again(
    start: StartOperator, wrap: Callable[[Transport], Transport]
) -> AsyncIterator[None]:
    """Let an operator work within the block, and end with it.

    Args:
        start: Starts one.
        wrap: Called for each life, with what carries its requests.
    """
    over = asyncio.Event()
    told = asyncio.create_task(over.wait())

    async def live() -> None:
        while not over.is_set():
            try:
                async with start(wrap) as running:
                    # Cancelled once, when the block is left: kopf does not take two.
                    await asyncio.wait({running.task, told}, return_when=asyncio.FIRST_COMPLETED)
            except (faults.Crash, BaseExceptionGroup) as death:
                if not faults.is_crash(death):
                    raise

    lives = asyncio.create_task(live())
    try:
        yield
    finally:
        over.set()
        await asyncio.wait({lives}, timeout=_SECONDS * PATIENCE)
        lives.cancel()
        await asyncio.gather(lives, return_exceptions=True)
    assert not lives.cancelled(), "an operator that was told to end does not"
    await lives
