"""List and map types: how server-side apply merges, and what tells entries apart.

Source: apiextensions-apiserver ``pkg/apis/apiextensions/validation/validation.go``
(ValidateCustomResourceDefinitionOpenAPISchema, validateMapListKeysMapSet).
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.schema import Node, child, children

__all__ = ["list_faults"]


def list_faults(node: Node, path: str) -> Iterator[Fault]:
    """Yield the faults of ``node`` and of all below it."""
    kind = node.get("x-kubernetes-list-type")
    if kind not in {None, "atomic", "set", "map"}:
        yield _fault(f"{path}.x-kubernetes-list-type", f"{kind!r} is not atomic, set or map")
    if kind is not None and node.get("type") != "array":
        yield _fault(f"{path}.type", "must be array if x-kubernetes-list-type is specified")
    map_kind = node.get("x-kubernetes-map-type")
    if map_kind not in {None, "atomic", "granular"}:
        yield _fault(f"{path}.x-kubernetes-map-type", f"{map_kind!r} is not atomic or granular")
    if map_kind is not None and node.get("type") != "object":
        yield _fault(f"{path}.type", "must be object if x-kubernetes-map-type is specified")
    if node.get("x-kubernetes-list-map-keys") and kind != "map":
        yield _fault(
            f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is given"
        )
    items = node.get("items", {})
    if kind in {"set", "map"} and items.get("nullable"):
        yield _fault(f"{path}.items.nullable", f"cannot be true when the list type is {kind}")
    if kind == "set":
        yield from _set(items, f"{path}.items")
    if kind == "map":
        yield from _map(node, items, path)
    for below_path, below, _ in children(node, path):
        yield from list_faults(below, below_path)


def _fault(path: str, message: str) -> Fault:
    return Fault(path, message, Sort.LIST)


def _set(items: Node, path: str) -> Iterator[Fault]:
    if items.get("type") == "array" and items.get("x-kubernetes-list-type", "atomic") != "atomic":
        yield _fault(f"{path}.x-kubernetes-list-type", "must be atomic as an entry of a set")
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        yield _fault(f"{path}.x-kubernetes-map-type", "must be atomic as an entry of a set")


def _map(node: Node, items: Node, path: str) -> Iterator[Fault]:
    keys = node.get("x-kubernetes-list-map-keys", [])
    keys_path = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        yield _fault(keys_path, "must not be empty if x-kubernetes-list-type is map")
    if len(set(keys)) < len(keys):
        yield _fault(keys_path, "must not contain duplicate entries")
    if items.get("type") != "object":
        yield _fault(f"{path}.items.type", "must be object if x-kubernetes-list-type is map")
        return
    for key in keys:
        own = items.get("properties", {}).get(key)
        own_path = child(f"{path}.items", key)
        if own is None:
            yield _fault(keys_path, f"{key!r} is no property of the entries")
            continue
        if own.get("type") in {"array", "object"}:
            yield _fault(f"{own_path}.type", "must be a scalar, since it is a list map key")
        if key not in items.get("required", ()) and "default" not in own:
            yield _fault(f"{own_path}.default", "a list map key is required or has a default")
        if own.get("nullable"):
            yield _fault(f"{own_path}.nullable", "a list map key cannot be nullable")
