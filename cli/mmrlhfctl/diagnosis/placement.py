"""Where pods that are all alike would find room: a simulation of the scheduler.

Pods that are alike need no search: a node takes as many as its scarcest resource has room for, and
the gang fits where the sum is enough; where all must share the value of a label, the sum over the
nodes of one value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mmrlhfctl.diagnosis.amounts import Amounts
from mmrlhfctl.diagnosis.filters import unfit
from mmrlhfctl.diagnosis.nodes import Load, Need, Node

__all__ = ["Fit", "fit", "slots"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a gang would fit.

    Attributes:
        wanted: Pods that look for a node.
        now: How many of them would find one at once, on nodes as full as they are.
        empty: How many would if no node had other pods.
        unfit: Nodes that take none of them however empty they are, by why.
        usable: Names of the other nodes.
        total: How many nodes there are.
        free: Amounts that are free on usable nodes, of what the pods ask for.
        best: The most of each that one usable node has free.
        apart: Whether they would fit if they need not share a value of the topology label.
    """

    wanted: int
    now: int
    empty: int
    unfit: Mapping[str, int]
    usable: tuple[str, ...]
    total: int
    free: Amounts
    best: Amounts
    apart: bool


def slots(need: Need, room: Amounts) -> int:
    """Return how many of the pods a node takes that has so much room."""
    counts = [
        int(max(room.get(name, Decimal(0)), Decimal(0)) // amount)
        for name, amount in need.requests.items()
        if amount > 0 and (name != "pods" or name in room)
    ]
    return min((1, *counts)) if need.ports else min(counts, default=0)


def fit(
    need: Need, wanted: int, nodes: Sequence[Node], loads: Sequence[Load], *, domain: str | None
) -> Fit:
    """Simulate where pods would go.

    Args:
        need: What each of them asks for.
        wanted: How many they are.
        nodes: All nodes.
        loads: All pods that are bound to them.
        domain: Value of the topology label that pods of the gang have already, if any has a node.
    """
    misfits: dict[str, int] = {}
    usable: list[Node] = []
    for node in nodes:
        why = unfit(need, node, domain)
        if why is None:
            usable.append(node)
        else:
            misfits[why] = misfits.get(why, 0) + 1
    taken = _taken(loads)
    ports = {load.node for load in loads if load.ports & need.ports}
    rooms = {node.name: _left(node.allocatable, taken.get(node.name, {})) for node in usable}
    free = {
        node.name: 0 if node.name in ports else slots(need, rooms[node.name]) for node in usable
    }
    empty = {node.name: slots(need, node.allocatable) for node in usable}
    names = [name for name in need.requests if name != "pods"]
    return Fit(
        wanted=wanted,
        now=min(wanted, _most(need, usable, free)),
        empty=min(wanted, _most(need, usable, empty)),
        unfit=misfits,
        usable=tuple(node.name for node in usable),
        total=len(nodes),
        free={name: sum((room[name] for room in rooms.values()), Decimal(0)) for name in names},
        best={
            name: max((room[name] for room in rooms.values()), default=Decimal(0)) for name in names
        },
        apart=sum(free.values()) >= wanted,
    )


def _most(need: Need, nodes: Sequence[Node], counts: Mapping[str, int]) -> int:
    """The most pods that find a node: in one domain, where they must be together."""
    if need.topology is None:
        return sum(counts.values())
    domains: dict[str, int] = {}
    for node in nodes:
        value = node.labels[need.topology]  # others are unfit
        domains[value] = domains.get(value, 0) + counts[node.name]
    return max(domains.values(), default=0)


def _taken(loads: Sequence[Load]) -> dict[str, dict[str, Decimal]]:
    taken: dict[str, dict[str, Decimal]] = {}
    for load in loads:
        here = taken.setdefault(load.node, {})
        for name, amount in load.requests.items():
            here[name] = here.get(name, Decimal(0)) + amount
    return taken


class _Room(dict[str, Decimal]):
    def __missing__(self, name: str) -> Decimal:
        return Decimal(0)


def _left(amounts: Amounts, taken: Amounts) -> _Room:
    return _Room(
        {name: max(Decimal(0), amount - taken.get(name, 0)) for name, amount in amounts.items()}
    )
