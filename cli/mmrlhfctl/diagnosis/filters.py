"""Which nodes take a pod however empty they are: the scheduler's filters.

Of them those that decide for a gang on GPU nodes: cordons, labels, affinity to nodes, taints,
readiness, the label whose value all pods must share, and the size of the node (Kubernetes,
"Scheduling Framework": NodeUnschedulable, NodeAffinity, TaintToleration, InterPodAffinity,
NodeResourcesFit).
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from mmrlhfctl.diagnosis.amounts import told
from mmrlhfctl.diagnosis.nodes import Need, Node

__all__ = ["unfit"]

_HARD: Final = frozenset({"NoSchedule", "NoExecute"})
_UNREADY: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_CORDON: Final = "node.kubernetes.io/unschedulable"
_COMPARED: Final = {"Gt": operator.gt, "Lt": operator.lt}


def unfit(need: Need, node: Node, domain: str | None) -> str | None:
    """Return why a node takes none of the pods, however empty it is; None when it takes some.

    Args:
        need: What each of the pods asks for.
        node: The node.
        domain: Value of the topology label that pods of the gang have already, if any has a node.
    """
    for why in (_cordon(need, node), _labels(need, node), _taints(need, node)):
        if why is not None:
            return why
    return _domain(need, node, domain) or _size(need, node)


def _cordon(need: Need, node: Node) -> str | None:
    taint = {"key": _CORDON, "effect": "NoSchedule"}
    return "cordoned" if node.cordoned and not _tolerated(taint, need) else None


def _labels(need: Need, node: Node) -> str | None:
    for key, value in need.selector.items():
        if node.labels.get(key) != value:
            return f"without label {key}={value}"
    if need.terms and not any(_holds(term, node) for term in need.terms):
        return "outside of the required node affinity"
    return None


def _taints(need: Need, node: Node) -> str | None:
    for taint in node.taints:
        if taint.get("effect") in _HARD and not _tolerated(taint, need):
            if taint.get("key") in _UNREADY:
                return "not ready"
            return f"with taint {_taint(taint)}, which the pods do not tolerate"
    return None if node.ready else "not ready"


def _domain(need: Need, node: Node, domain: str | None) -> str | None:
    if need.topology is None:
        return None
    if need.topology not in node.labels:
        return f"without label {need.topology}, which all pods must share"
    if domain is not None and node.labels[need.topology] != domain:
        return f"outside of {need.topology}={domain}, where the other pods are"
    return None


def _size(need: Need, node: Node) -> str | None:
    for name, amount in need.requests.items():
        has = node.allocatable.get(name, Decimal(0))
        if has < amount and (name != "pods" or name in node.allocatable):
            return f"with less than {told(name, amount)} in all"
    return None


def _tolerated(taint: Mapping[str, str], need: Need) -> bool:
    return any(_tolerates(toleration, taint) for toleration in need.tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or (toleration.get("value") or "") == (taint.get("value") or "")


def _taint(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _holds(term: Mapping[str, Any], node: Node) -> bool:
    rules = [(rule, node.labels) for rule in term.get("matchExpressions") or ()]
    rules += [(rule, {"metadata.name": node.name}) for rule in term.get("matchFields") or ()]
    return bool(rules) and all(_matches(rule, labels) for rule, labels in rules)


def _matches(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(str(rule.get("key")))
    values = [str(one) for one in rule.get("values") or ()]
    match rule.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as name:
            numbers = [text for text in (value, *values[:1]) if str(text).lstrip("-").isdecimal()]
            return len(numbers) == 2 and bool(_COMPARED[name](*(int(str(n)) for n in numbers)))
        case _:
            return False
