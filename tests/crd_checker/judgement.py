"""All faults of a CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.crd_checker.defaults import default_faults
from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.functions import OLDEST
from tests.crd_checker.lists import list_faults
from tests.crd_checker.resource import resource_faults, version_faults
from tests.crd_checker.rules import rule_faults
from tests.crd_checker.schema import Node
from tests.crd_checker.structure import structure_faults

__all__ = ["check"]


def check(crd: dict[str, Any], *, oldest: int = OLDEST) -> list[Fault]:
    """Return what an API server would refuse in ``crd``, and what its users would suffer from.

    Rules are judged only where schema and defaults are right, since they are read against these; a
    server does the same.

    Args:
        crd: A CustomResourceDefinition of ``apiextensions.k8s.io/v1``, as YAML data.
        oldest: Minor version of the oldest Kubernetes that must accept it; the newest that this
            knows is 1.36.
    """
    faults = list(resource_faults(crd))
    for index, version in enumerate(crd.get("spec", {}).get("versions") or ()):
        faults += _version(version, f"spec.versions[{index}]", oldest)
    return sorted(faults)


def _version(version: dict[str, Any], path: str, oldest: int) -> Iterator[Fault]:
    own = f"{path}.schema.openAPIV3Schema"
    root: Node | None = (version.get("schema") or {}).get("openAPIV3Schema")
    if root is None:
        yield Fault(own, "schemas are required", Sort.RESOURCE)
        return
    status = "status" in (version.get("subresources") or {})
    shape = [*structure_faults(root, own, status=status), *list_faults(root, own)]
    yield from shape
    if shape:
        return
    yield from version_faults(version, path, oldest=oldest)
    yield from rule_faults(root, own, oldest=oldest)
    yield from default_faults(root, own)
