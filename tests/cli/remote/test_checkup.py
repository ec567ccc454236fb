"""What ``doctor`` makes of what it finds."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from mmrlhf_api import KINDS
from mmrlhf_api.kinds.resource import ResourceNames
from mmrlhf_api.outlines import digest_outline
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_api.schema import kind_schema
from mmrlhf_api.schema_digests import SCHEMA_DIGESTS
from mmrlhfctl.verbs.doctor_checks import (
    State,
    describe_differences,
    gang_providers,
    gpu_nodes,
    judge_deployment,
    judge_lease,
    judge_server_version,
    node_pools,
    schema_differences,
)
from tests.cli.remote.specimens import NOW


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("v1.19.16", State.FAILED),
        ("v1.20.2", State.WARNING),
        ("v1.24.17-gke.1", State.WARNING),
        ("v1.25.0", State.OK),
        ("v1.36.1+k3s1", State.OK),
        ("unheard of", State.WARNING),
    ],
)
def test_server_versions(version: str, state: State) -> None:
    assert judge_server_version({"gitVersion": version}).state is state


def installed() -> dict[str, Any]:
    return copy.deepcopy(kind_schema(KINDS["MMDPOJob"]))


def test_a_crd_of_this_version_differs_in_nothing() -> None:
    theirs = installed()
    theirs["properties"]["spec"]["description"] = "other words"
    assert schema_differences(theirs, kind_schema(KINDS["MMDPOJob"], cel=False)) == []


@pytest.mark.parametrize("kind", all_resources(), ids=lambda kind: kind.name)
def test_the_outline_of_each_kind_is_known_without_its_types(kind: ResourceNames) -> None:
    """What differs in nothing has the digest of this version, and what differs has another one."""
    digest = SCHEMA_DIGESTS[kind.name]
    ours = kind_schema(kind, cel=False)
    assert digest_outline(ours) == digest_outline(kind_schema(kind)) == digest
    for change in changes(ours):
        theirs = copy.deepcopy(ours)
        change(theirs)
        assert (digest_outline(theirs) == digest) == (not schema_differences(theirs, ours))


def changes(schema: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Yield what changes one thing in a schema, for each node below its spec and status."""

    def at(path: tuple[str, ...], change: Callable[[dict[str, Any]], object]) -> Callable[..., Any]:
        return lambda root: change(functools.reduce(operator.getitem, path, root))

    def below(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[Callable[..., Any]]:
        yield at(path, lambda one: one.update(type="thing"))
        yield at(path, lambda one: one.update(enum=["thing"]))
        yield at(path, lambda one: one.update(description="a thing", maxLength=1))
        for name, field in (node.get("properties") or {}).items():
            yield at((*path, "properties"), operator.methodcaller("pop", name))
            yield from below(field, (*path, "properties", name))
        if isinstance(node.get("items"), dict):
            yield from below(node["items"], (*path, "items"))

    # Of all nodes, which are some thousands, every hundredth: they are alike.
    yield from list(below(schema, ()))[::101]


def test_fields_that_a_crd_lacks_or_has_are_named() -> None:
    theirs = installed()
    spec = theirs["properties"]["spec"]["properties"]
    del spec["runPolicy"]["properties"]["suspend"]
    spec["colour"] = {"type": "string"}
    spec["training"]["properties"]["epochs"]["type"] = "string"
    del spec["podTemplate"]["properties"]["env"]["items"]["properties"]["secretKeyRef"]
    found = schema_differences(theirs, kind_schema(KINDS["MMDPOJob"], cel=False))
    assert sorted(found) == [
        "has spec.colour, which this version does not know",
        "lacks spec.podTemplate.env[].secretKeyRef",
        "lacks spec.runPolicy.suspend",
        "spec.training.epochs has another type",
    ]
    assert describe_differences(["a", "b", "c", "d", "e", "f", "g"]) == "a; b; c; d; e; and 2 more"


def lease(seconds: float, holder: str = "operator-0") -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=seconds)).isoformat()
    return {
        "metadata": {"namespace": "mmrlhf"},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
    }


def test_an_operator_lives_while_its_lease_is_renewed() -> None:
    assert judge_lease(lease(20), NOW).state is State.OK
    dead = judge_lease(lease(600), NOW)
    assert dead.state is State.FAILED
    assert "operator-0 in namespace mmrlhf gave its last sign of life 10m ago" in dead.text
    assert judge_lease(lease(1, holder=""), NOW).state is State.FAILED
    assert judge_lease(None, NOW).state is State.FAILED


def test_an_operator_is_a_deployment_with_ready_pods() -> None:
    deployment = {
        "metadata": {"namespace": "mmrlhf", "name": "mmrlhf-operator"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "op:1"}]}}},
        "status": {"readyReplicas": 1},
    }
    finding = judge_deployment(deployment)
    assert finding.state is State.OK
    assert "1 of 2 replicas ready, image op:1" in finding.text
    assert judge_deployment({**deployment, "status": {}}).state is State.FAILED
    assert judge_deployment(None).state is State.WARNING


def test_gang_providers_are_known_by_their_api_groups() -> None:
    found = gang_providers(["apps", "kueue.x-k8s.io", "scheduling.volcano.sh"])
    assert found.state is State.INFO
    assert found.text == "kueue, volcano; jobs name a queue or provider in spec.scheduling"
    assert gang_providers(["apps"]).text.startswith("none: the operator creates all pods")


def node(ready: str = "True", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"cpu": "8", "nvidia.com/gpu": "8"} if labels else {"cpu": "8"},
        },
    }


def test_gpus_are_counted_on_nodes_that_are_ready() -> None:
    h800 = {"nvidia.com/gpu.product": "NVIDIA-H800"}
    nodes = [node(**h800), node(**h800), node(ready="Unknown", **h800), node()]
    assert gpu_nodes(nodes).text == "3 of 4 nodes ready; 16 x NVIDIA-H800 on 2 nodes"
    assert gpu_nodes([node()]).state is State.WARNING
    assert gpu_nodes([node(ready="False")]).state is State.FAILED


def test_node_pools_need_nodes_that_fit() -> None:
    pools = {"h800": {"nodeSelector": {"pool": "h800"}}, "a100": {"nodeSelector": {"pool": "a100"}}}
    found = node_pools(pools, [node(pool="h800"), node()])
    assert [(one.check, one.state) for one in found] == [
        ("node pool a100", State.WARNING),
        ("node pool h800", State.OK),
    ]
