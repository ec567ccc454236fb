"""Nodes, what is on them, and what pods ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmrlhfctl.diagnosis.amounts import Amounts, read_amounts, requests_of

__all__ = ["Load", "Need", "Node", "node_ports"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node, as far as pods look for room on it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    ready: bool = True
    cordoned: bool = False
    allocatable: Amounts = field(default_factory=dict)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Node:
        """Read an object of the API server."""
        spec, status = body.get("spec") or {}, body.get("status") or {}
        ready = any(
            entry.get("type") == "Ready" and entry.get("status") == "True"
            for entry in status.get("conditions") or ()
        )
        return cls(
            name=str(body["metadata"]["name"]),
            labels=dict(body["metadata"].get("labels") or {}),
            taints=tuple(spec.get("taints") or ()),
            ready=ready,
            cordoned=spec.get("unschedulable") is True,
            allocatable=read_amounts(status.get("allocatable")),
        )


@dataclass(frozen=True, kw_only=True)
class Load:
    """A pod that is bound to a node and has not ended: what it holds there, and whose it is."""

    node: str
    holder: str
    uid: str = ""
    requests: Amounts = field(default_factory=dict)
    ports: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Need:
    """What each of some pods that are alike asks of its node.

    Attributes:
        requests: Amounts.
        selector: Labels that the node must have.
        terms: Terms of its required affinity to nodes, one of which must hold; empty takes all.
        tolerations: Taints that it tolerates.
        topology: Label whose value all of the pods must share.
        ports: Ports of the node that it takes.
    """

    requests: Amounts
    selector: Mapping[str, str] = field(default_factory=dict)
    terms: tuple[Mapping[str, Any], ...] = ()
    tolerations: tuple[Mapping[str, Any], ...] = ()
    topology: str | None = None
    ports: frozenset[int] = frozenset()

    @classmethod
    def read(cls, spec: Mapping[str, Any]) -> Need:
        """Read the spec of a pod."""
        affinity = spec.get("affinity") or {}
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        nodes = (affinity.get("nodeAffinity") or {}).get(required) or {}
        together = (affinity.get("podAffinity") or {}).get(required) or ()
        return cls(
            requests=requests_of(spec),
            selector=dict(spec.get("nodeSelector") or {}),
            terms=tuple(nodes.get("nodeSelectorTerms") or ()),
            tolerations=tuple(spec.get("tolerations") or ()),
            topology=next((str(term["topologyKey"]) for term in together), None),
            ports=node_ports(spec),
        )


def node_ports(spec: Mapping[str, Any]) -> frozenset[int]:
    """Return the ports of its node that a pod takes."""
    return frozenset(
        int(port.get("hostPort") or port["containerPort"])
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort") or (spec.get("hostNetwork") and port.get("containerPort"))
    )
