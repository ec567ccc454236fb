"""Operators that are started again whenever they die, as by a Deployment, or that overlap."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mmrlhf_operator.kube.transport import Transport
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import until_disconnected
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


@asynccontextmanager
async def overlapped(start: StartOperator, log: faults.Log) -> AsyncIterator[None]:
    """Let two operators work within the block, each unaware of the other.

    Args:
        start: Starts one.
        log: What the server answered to either is written here.
    """
    over = threading.Event()

    def recorded(inner: Transport) -> Transport:
        return faults.Recorded(inner, log)

    async def another() -> None:
        async with start(recorded):
            await asyncio.to_thread(over.wait)
        await until_disconnected()

    # Each in a loop of its own: the first kopf that ends cancels what else goes on in its loop.
    other = asyncio.create_task(asyncio.to_thread(asyncio.run, another()))
    try:
        async with start(recorded):
            yield
    finally:
        over.set()
        await other
