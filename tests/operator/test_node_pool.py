"""The node pool that the operator is installed with, on nodes as it describes them."""

from __future__ import annotations

import pytest

from mmrlhf_operator.config import load_config
from tests.cluster import gpu_nodes, layout
from tests.cluster.access import Access
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver

pytestmark = pytest.mark.cluster


async def test_a_job_of_the_pool_gets_its_nodes_and_their_devices(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    config = load_config(layout.REPOSITORY / "deploy/cluster/config.yaml", environ={})
    size = {"nodes": 2, "gpusPerNode": 8, "processesPerNode": 8, "cpu": "64", "memory": "512Gi"}
    nodes = [f"h800-{index}-{driver.namespace}" for index in (0, 1)]
    with gpu_nodes.gpu_nodes(
        driver.api, nodes, taints=[gpu_nodes.GPU_TAINT], heartbeat=not control_plane.is_ours
    ):
        driver.submit(nodePool="h800", resources=size)
        async with start_operator(config=config):
            await driver.pods_are("demo-0-0", "demo-0-1")
            driver.run()
            await driver.phase("Running")
        path = f"/api/v1/namespaces/{driver.namespace}/pods"
        pods = [driver.api.get(f"{path}/{name}") for name in driver.pods()]
        # All GPUs of a node are taken, so each pod has a node of its own.
        assert sorted(pod["spec"]["nodeName"] for pod in pods) == nodes
        for pod in pods:
            (container,) = pod["spec"]["containers"]
            limits = container["resources"]["limits"]
            assert (limits["nvidia.com/gpu"], limits["rdma/hca"]) == ("8", "1")
            env = {one["name"]: one.get("value") for one in container["env"]}
            assert env["NCCL_IB_HCA"] == "mlx5"
            assert env["PET_NPROC_PER_NODE"] == "8"
