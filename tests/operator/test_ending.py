"""However an operator is told to end, and however often, it ends."""

from __future__ import annotations

import asyncio

import pytest

from mmrlhf_operator.kube.transport import ApiTransport, load_configuration
from mmrlhf_operator.operator import Operator
from tests.cluster.access import Access
from tests.operator.driver import CONFIG, Driver, until

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 30, 100])
async def test_an_operator_that_is_told_to_end_again_while_it_ends(
    turns: int, driver: Driver, control_plane: Access
) -> None:
    configuration = await load_configuration(control_plane.kubeconfig)
    config = CONFIG.model_copy(update={"namespaces": (driver.namespace,)})
    operator = Operator(configuration, config, transport=ApiTransport(configuration))
    ready = asyncio.Event()
    task = asyncio.create_task(operator.run(ready=ready))
    await until(ready.is_set, what="an operator that runs")
    for _ in range(3):
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
    await until(task.done, what=lambda: f"the end of {task.get_stack()}")
    assert task.cancelled()
