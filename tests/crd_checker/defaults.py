"""Defaults: where they may be, and whether they are right as they are written.

A server judges a default before it fills in the defaults that are below it: it must fit the schema,
hold no unknown field, and satisfy every rule of its node and of all below, with ``oldSelf`` equal
to it. Source: apiextensions-apiserver ``pkg/apiserver/schema/defaulting/validation.go``
(ValidateDefaults) and ``pkg/apis/apiextensions/validation/validation.go``.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.crd_checker.evaluation import broken
from tests.crd_checker.expressions import CelError
from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.schema import Node, children
from tests.crd_checker.values import problems, prune

__all__ = ["default_faults"]

_META = frozenset({"metadata", "kind", "apiVersion"})


def default_faults(root: Node, path: str) -> Iterator[Fault]:
    """Yield the faults of all defaults of a version's schema."""
    if "default" in root:
        yield _fault(f"{path}.default", "must not be set at the root")
    for below_path, below, name in children(root, path):
        where = f"in top-level {name}" if name in _META else None
        yield from _below(below, below_path, where)


def _fault(path: str, message: str) -> Fault:
    return Fault(path, message, Sort.DEFAULT)


def _below(node: Node, path: str, forbidden: str | None) -> Iterator[Fault]:
    """Yield the faults of a node's default and of those below it.

    Args:
        node: The node.
        path: Its path.
        forbidden: Why there may be none; None where there may.
    """
    if "default" in node:
        if forbidden is not None:
            yield _fault(f"{path}.default", f"must not be set {forbidden}")
        else:
            yield from _as_written(node, f"{path}.default")
    embedded = node.get("x-kubernetes-embedded-resource")
    for below_path, below, name in children(node, path):
        where = forbidden
        if embedded and name in _META and name != "metadata":
            where = "in the type of an embedded resource"
        yield from _below(below, below_path, where)


def _as_written(node: Node, path: str) -> Iterator[Fault]:
    default = node["default"]
    found = [_fault(where, message) for where, message in problems(default, node, path)]
    if prune(default, node) != default:
        found.append(_fault(path, "must not have unknown fields"))
    yield from found
    if found:
        return
    try:
        for where, message in broken(default, node, path, old=default):
            yield _fault(where, message)
    except CelError as error:
        yield _fault(path, f"its rules cannot be evaluated here: {error}")
