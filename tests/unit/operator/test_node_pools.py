"""What node pools add to pods, and who may use which."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.nodepools import NodePool
from mmrlhf_operator.rendering.manifests import pod
from mmrlhf_operator.serving.health import HEALTH_PATH, serve_health
from tests.unit.operator.world import CONFIG, World, job_body

RDMA: dict[str, Any] = {
    "resources": {"rdma/hca": "1", "ephemeral-storage": "600Gi"},
    "capabilities": ["IPC_LOCK"],
    "hostNetwork": True,
    "claims": [
        {"name": "corpora", "mountPath": "/data", "readOnly": True},
        {"name": "hub", "mountPath": "/cache", "subPath": "huggingface"},
    ],
}


def made(**config: Any) -> dict[str, Any]:
    fields = CONFIG.model_dump(by_alias=True, exclude_unset=True, mode="json")
    whole = OperatorConfig.model_validate({**fields, "nodePools": {"rdma": RDMA}, **config})
    job = World(job_body(nodePool="rdma")).job.job
    assert job is not None
    spec: dict[str, Any] = pod(job, attempt=0, index=0, config=whole)["spec"]
    return spec


def test_a_pool_gives_what_rdma_needs() -> None:
    spec = made()
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    for kind in ("requests", "limits"):
        assert container["resources"][kind]["ephemeral-storage"] == "600Gi"


def test_claims_are_volumes_and_mounts() -> None:
    spec = made()
    claims = [v["persistentVolumeClaim"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
    assert claims == [
        {"claimName": "corpora", "readOnly": True},
        {"claimName": "hub", "readOnly": False},
    ]
    mounts = [m for m in spec["containers"][0]["volumeMounts"] if m["name"].startswith("claim-")]
    assert mounts == [
        {"name": "claim-0", "mountPath": "/data", "readOnly": True},
        {"name": "claim-1", "mountPath": "/cache", "readOnly": False, "subPath": "huggingface"},
    ]


@pytest.mark.parametrize(
    "claims",
    [
        [{"name": "a", "mountPath": "/tmp/x"}],
        [{"name": "a", "mountPath": "/etc/mmrlhf"}],
        [{"name": "a", "mountPath": "/"}],
        [{"name": "a", "mountPath": "/data/../etc"}],
        [{"name": "a", "mountPath": "/data"}, {"name": "b", "mountPath": "/data/"}],
    ],
)
def test_claims_hide_nothing_of_a_pod(claims: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError, match="mountPath"):
        NodePool.model_validate({"claims": claims})


def test_the_cluster_may_give_the_user() -> None:
    assert made()["securityContext"]["runAsUser"] == 10001
    security = made(runAsUser=None)["securityContext"]
    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_a_policy_says_who_may_use_a_pool() -> None:
    body = job_body(nodePool="h800")
    policies = [{"namespaces": ["*"], "nodePools": ["!h800", "*"]}]
    fields = CONFIG.model_dump(by_alias=True, exclude_unset=True, mode="json")
    there = World(body, config=OperatorConfig.model_validate({**fields, "policies": policies}))
    there.reconcile()
    assert there.status["reason"] == "PolicyRefused"
    assert "spec.nodePool" in there.status["message"]


@pytest.mark.parametrize("address", [":{}", "[::]:{}", "[::1]:{}"])
async def test_ipv6_is_listened_at(address: str, unused_tcp_port_factory: Any) -> None:
    port = unused_tcp_port_factory()
    hosts = ["[::1]", "127.0.0.1"] if address == ":{}" else ["[::1]"]
    where = OperatorConfig.model_validate({"healthAddress": address.format(port)}).health_address
    assert where is not None
    async with (
        serve_health(where, well=lambda: None, ready=lambda: None),
        aiohttp.ClientSession() as session,
        asyncio.timeout(60),
    ):
        for host in hosts:
            async with session.get(f"http://{host}:{port}{HEALTH_PATH}") as answer:
                assert answer.status == 200
