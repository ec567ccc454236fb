"""Watches may fail in any way: what they did not tell is found out, and jobs end alike."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.cluster.access import Access
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver
from tests.operator.interference import Trouble, interfered
from tests.operator.life import live
from tests.operator.test_robustness import PODS, created_pods

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("trouble", get_args(Trouble))
async def test_watches_that_fail_miss_nothing(
    trouble: Trouble, driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    log: faults.Log = []
    # Silence is told from quiet by time alone.
    config = CONFIG.model_copy(update={"watch_seconds": 2}) if trouble == "silence" else CONFIG
    api = control_plane.api
    assert api._context is not None
    server = f"https://{api._host}:{api._port}{api._prefix}"
    async with (
        interfered(server, api._context, trouble) as interference,
        start_operator(
            lambda inner: faults.Recorded(inner, log), config=config, watch_at=interference.url
        ),
    ):
        await live(driver)
    assert created_pods(log) == PODS
    spoiled = set(interference.spoiled)
    assert {"watch mmdpojobs", "watch pods"} <= spoiled
    if trouble in {"429", "500"}:
        assert {"list mmdpojobs", "list pods", "list services", "list configmaps"} <= spoiled
    assert interference.spoiled.total() >= 4
