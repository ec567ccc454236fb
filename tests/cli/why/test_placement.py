"""Where a gang would find room, beside a search of all ways to place it."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal

import pytest

from mmrlhfctl.diagnosis.amounts import requests_of, told
from mmrlhfctl.diagnosis.nodes import Load, Need, Node
from mmrlhfctl.diagnosis.placement import fit
from tests.cli.why.worlds import GPU, load, node

RESOURCES = (GPU, "cpu", "memory")


def _takes(need: Need, node: Node) -> bool:
    """The filters anew, for what the cases below draw."""
    tolerated = {str(one["key"]) for one in need.tolerations}
    return (
        node.ready
        and not node.cordoned
        and need.selector.items() <= dict(node.labels).items()
        and all(taint["key"] in tolerated for taint in node.taints)
        and (need.topology is None or need.topology in node.labels)
    )


def _packed(need: Need, wanted: int, nodes: list[Node], loads: list[Load]) -> int:
    """The most pods that can be placed, by trying every multiset of nodes."""
    best = 0
    for count in range(1, wanted + 1):
        for places in itertools.combinations_with_replacement(nodes, count):
            if not all(_takes(need, one) for one in places):
                continue
            if need.topology and len({one.labels[need.topology] for one in places}) > 1:
                continue
            if all(
                sum(
                    (
                        load.requests.get(name, Decimal(0))
                        for load in loads
                        if load.node == one.name
                    ),
                    Decimal(0),
                )
                + amount * sum(1 for place in places if place is one)
                <= one.allocatable.get(name, Decimal(0))
                for one in {place.name: place for place in places}.values()
                for name, amount in need.requests.items()
            ):
                best = count
                break
    return best


def test_it_finds_room_for_as_many_pods_as_any_packing() -> None:
    for seed in range(400):
        need, wanted, nodes, loads = _drawn(random.Random(seed))
        found = fit(need, wanted, nodes, loads, domain=None)
        assert found.now == _packed(need, wanted, nodes, loads), seed
        assert found.empty == _packed(need, wanted, nodes, []), seed
        assert found.total == len(found.usable) + sum(found.unfit.values()), seed


def _drawn(draw: random.Random) -> tuple[Need, int, list[Node], list[Load]]:
    nodes = [
        Node(
            name=f"n{number}",
            labels={"rack": draw.choice("ab"), **({"pool": "x"} if draw.random() < 0.8 else {})},
            taints=({"key": "t", "effect": "NoSchedule"},) if draw.random() < 0.3 else (),
            ready=draw.random() < 0.9,
            cordoned=draw.random() < 0.1,
            allocatable={name: Decimal(draw.randint(0, 8)) for name in RESOURCES},
        )
        for number in range(draw.randint(0, 4))
    ]
    loads = [
        Load(
            node=draw.choice(nodes).name,
            holder="o",
            requests={name: Decimal(draw.randint(0, 2)) for name in RESOURCES},
        )
        for _ in range(draw.randint(0, 3))
        if nodes
    ]
    need = Need(
        requests={name: Decimal(draw.randint(1, 4)) for name in RESOURCES},
        selector={"pool": "x"} if draw.random() < 0.5 else {},
        tolerations=({"key": "t", "operator": "Exists"},) if draw.random() < 0.5 else (),
        topology="rack" if draw.random() < 0.4 else None,
    )
    return need, draw.randint(1, 4), nodes, loads


NEED = Need(requests={GPU: Decimal(8)})


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"cordoned": True}, "cordoned"),
        ({"ready": False}, "not ready"),
        (
            {"taints": ({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},)},
            "not ready",
        ),
        (
            {"taints": ({"key": "team", "value": "nlp", "effect": "NoSchedule"},)},
            "with taint team=nlp:NoSchedule, which the pods do not tolerate",
        ),
        ({"gpus": 4}, "with less than 8 nvidia.com/gpu in all"),
        ({"taints": ({"key": "team", "effect": "PreferNoSchedule"},)}, None),
    ],
)
def test_a_node_that_takes_no_pod_says_why(spec: dict[str, object], why: str | None) -> None:
    found = fit(NEED, 1, [node("a", **spec)], [], domain=None)  # type: ignore[arg-type]
    assert dict(found.unfit) == ({why: 1} if why else {})


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"key": "team", "value": "nlp"}, True),
        ({"key": "team", "value": "nlp", "effect": "NoSchedule"}, True),
        ({"key": "team", "value": "nlp", "effect": "NoExecute"}, False),
        ({"key": "team", "value": "vision"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_are_those_of_the_scheduler(
    toleration: dict[str, str], tolerates: bool
) -> None:
    taint = {"key": "team", "value": "nlp", "effect": "NoSchedule"}
    need = Need(requests={GPU: Decimal(1)}, tolerations=(toleration,))
    assert fit(need, 1, [node("a", taints=(taint,))], [], domain=None).now == int(tolerates)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({"key": "zone", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "zone", "operator": "Exists"}, True),
        ({"key": "zone", "operator": "DoesNotExist"}, False),
        ({"key": "other", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "memory", "operator": "Gt", "values": ["40000"]}, True),
        ({"key": "memory", "operator": "Lt", "values": ["40000"]}, False),
        ({"key": "zone", "operator": "Gt", "values": ["1"]}, False),
        ({"key": "zone", "operator": "Unheard"}, False),
    ],
)
def test_affinity_to_nodes(rule: dict[str, object], holds: bool) -> None:
    need = Need(requests={GPU: Decimal(1)}, terms=({"matchExpressions": [rule]},))
    where = node("a", labels={"zone": "a", "memory": "81559"})
    assert fit(need, 1, [where], [], domain=None).now == int(holds)


def test_pods_that_have_a_domain_keep_the_others_out() -> None:
    need = Need(requests={GPU: Decimal(8)}, topology="rack")
    nodes = [node("a", labels={"rack": "1"}), node("b", labels={"rack": "2"}), node("c")]
    found = fit(need, 1, nodes, [load("a", 8)], domain="1")
    assert (found.now, found.empty) == (0, 1)
    assert set(found.unfit) == {
        "outside of rack=1, where the other pods are",
        "without label rack, which all pods must share",
    }


def test_pods_on_the_nodes_network_stand_one_a_node() -> None:
    port = {"containerPort": 29500}
    spec = {"hostNetwork": True, "containers": [{"name": "job", "ports": [port]}]}
    need = Need.read(spec)
    assert fit(need, 3, [node("a"), node("b")], [], domain=None).now == 2
    taken = Load(node="a", holder="o", ports=frozenset({29500}))
    assert fit(need, 3, [node("a"), node("b")], [taken], domain=None).now == 1


def test_a_pod_asks_for_its_containers_or_for_the_largest_before_them() -> None:
    def container(cpu: str, **more: object) -> dict[str, object]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [container("1", restartPolicy="Always"), container("7")],
        "containers": [container("2"), {"resources": {"limits": {"cpu": "500m"}}}],
        "overhead": {"cpu": "250m"},
    }
    assert requests_of(spec) == {"cpu": Decimal("8.25"), "pods": Decimal(1)}
    spec["initContainers"] = []
    assert requests_of(spec)["cpu"] == Decimal("2.75")
    assert told("memory", Decimal(2) ** 36) == "64Gi of memory"
    assert told("cpu", Decimal("3.5")) == "3.5 cpu"
