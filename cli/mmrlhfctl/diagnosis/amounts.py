"""How much pods ask for, and nodes have: amounts by resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from mmrlhf_api.quantities import parse_quantity

__all__ = ["Amounts", "added", "is_device", "read_amounts", "requests_of", "told"]

Amounts = Mapping[str, Decimal]
"""Cores, bytes, devices or pods, by the name of the resource."""

_BYTES: Final = ("memory", "ephemeral-storage", "storage")
_UNITS: Final = (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10))


def read_amounts(found: object) -> dict[str, Decimal]:
    """Return the amounts that an object has; what is none is left out."""
    amounts: dict[str, Decimal] = {}
    for name, text in found.items() if isinstance(found, Mapping) else ():
        try:
            amounts[str(name)] = parse_quantity(str(text))
        except ValueError:
            continue
    return amounts


def added(amounts: Iterable[Amounts]) -> dict[str, Decimal]:
    """Return the sum, resource by resource."""
    total: dict[str, Decimal] = {}
    for one in amounts:
        for name, amount in one.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def requests_of(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return what a pod asks of its node, as the scheduler counts it.

    That is the sum of its containers and of those beside them that start before, or what the
    largest of the others that run before needs, and what the pod itself costs; a pod counts as one
    of the ``pods`` of a node (Kubernetes, "Init containers", "Sidecar containers", "Pod overhead").
    """
    sides: dict[str, Decimal] = {}
    most: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or ():
        own = _asked(container)
        if container.get("restartPolicy") == "Always":
            sides = added((sides, own))
            most = _larger(most, sides)
        else:
            most = _larger(most, added((sides, own)))
    main = added((sides, *(_asked(container) for container in spec.get("containers") or ())))
    whole = _larger(main, most) | _asked(spec)
    return added((whole, read_amounts(spec.get("overhead")), {"pods": Decimal(1)}))


def is_device(resource: str) -> bool:
    """Whether a resource is a device, such as a GPU: nodes have few of them, and not in parts."""
    return "/" in resource and not resource.startswith("kubernetes.io/")


def told(resource: str, amount: Decimal) -> str:
    """Return an amount in words: ``8 nvidia.com/gpu``, ``64Gi of memory``, ``3.5 cpu``."""
    if resource in _BYTES:
        for unit, bits in _UNITS:
            if amount >= Decimal(2) ** bits:
                return f"{_short(amount / Decimal(2) ** bits)}{unit} of {resource}"
    return f"{_short(amount)} {resource}"


def _asked(container: Mapping[str, Any]) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    return read_amounts(resources.get("limits")) | read_amounts(resources.get("requests"))


def _larger(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    names = {**one, **other}
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in names}


def _short(amount: Decimal) -> str:
    rounded = amount.quantize(Decimal("0.1"))
    return str(int(rounded)) if rounded == int(rounded) else str(rounded)
