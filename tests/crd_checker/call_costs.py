"""Costs of functions and operators, beyond those of their arguments.

Source: cel-go ``checker/cost.go`` (functionCost) and ``common/cost.go``; apiserver
``pkg/cel/library/cost.go`` (EstimateCallCost).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.crd_checker.celtypes import CelType
from tests.crd_checker.expressions import Expression, Literal
from tests.crd_checker.sizes import Size

__all__ = ["SizedCall", "call_cost"]

_TRAVERSAL, _REGEX = 0.1, 0.25  # for each character of a string; of a regular expression


@dataclass(frozen=True)
class SizedCall:
    """A call with what is known of its arguments.

    Attributes:
        function: Name of the function.
        target: Size of the target of a member function.
        sizes: Sizes of the arguments.
        entry: Type and size of what the target holds, if it is a list.
        types: Types of the arguments.
        arguments: The arguments.
    """

    function: str
    target: Size | None
    sizes: tuple[Size, ...]
    entry: tuple[CelType, Size] | None
    types: tuple[CelType, ...]
    arguments: tuple[Expression, ...]


_COMPARISONS = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_SCANS = frozenset({"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"})
_COPIES = frozenset({"lowerAscii", "upperAscii", "substring", "trim"})
_PARSES = frozenset({"url", "isURL", "quantity", "isQuantity", "cidr", "isCIDR", "isIP", "ip"})


def call_cost(call: SizedCall) -> tuple[int, Size | None]:
    """Return the largest cost of ``call``, and the size of its result if it is known."""
    name, target, sizes = call.function, call.target, call.sizes
    if name in _COMPARISONS:
        return _comparison(call)
    if name == "_in_":
        return (sizes[1].most if call.types[1].name != "map" else 1), None
    if name == "_+_":
        return _addition(call)
    if name == "matches":
        subject, pattern = (target, sizes[0]) if target is not None else sizes
        return _match(subject, pattern), None
    if name in _PARSES and target is None and sizes:
        return sizes[0].times(_TRAVERSAL), None
    if name in {"string", "bytes"} and call.types[0].name in {"string", "bytes"}:
        return sizes[0].times(_TRAVERSAL), Size(sizes[0].least // 4, sizes[0].most * 4)
    if target is not None:
        return _member(name, target, call)
    return 1, None


def _comparison(call: SizedCall) -> tuple[int, None]:
    ordered = call.function not in {"_==_", "_!=_"}
    if ordered and not any(held.name in {"string", "bytes", "dyn"} for held in call.types):
        return 1, None
    return Size(0, min(size.most for size in call.sizes)).times(_TRAVERSAL), None


def _addition(call: SizedCall) -> tuple[int, Size | None]:
    names = {held.name for held in call.types}
    if not names & {"string", "bytes", "list", "dyn"}:
        return 1, None
    size = call.sizes[0] + call.sizes[1]
    return (1 if "list" in names else size.times(_TRAVERSAL)), size


def _match(subject: Size, pattern: Size) -> int:
    return Size(1, subject.most + 1).times(_TRAVERSAL) * pattern.times(_REGEX)


def _member(name: str, target: Size, call: SizedCall) -> tuple[int, Size | None]:
    sizes = call.sizes
    if name in {"startsWith", "endsWith"}:
        return sizes[0].times(_TRAVERSAL), None
    if name == "contains" and call.entry is None:
        return target.times(_TRAVERSAL) * sizes[0].times(_TRAVERSAL), None
    if name in _SCANS:
        if call.entry is None:
            return target.times(_TRAVERSAL), None
        held, size = call.entry
        each = 1 + (size.times(_TRAVERSAL) if held.name in {"string", "bytes"} else 0)
        return target.most * each, None
    if name in _COPIES:
        return target.times(_TRAVERSAL), target
    if name in {"find", "findAll"}:
        return _match(target, sizes[0]), Size(0, target.most)
    if name == "replace":
        return target.times(2 * _TRAVERSAL), _replaced(target, *sizes[:2])
    if name == "split":
        most = target.most
        if len(sizes) > 1 and isinstance(call.arguments[1], Literal):
            most = int(call.arguments[1].value)
        return target.times(2 * _TRAVERSAL), Size(0, most)
    if name == "join":
        return _join(target, call)
    if name == "format":
        return target.times(_TRAVERSAL), None
    return 1, None


def _replaced(text: Size, before: Size, after: Size) -> Size:
    """Return the size of a string in which ``before`` was replaced by ``after``."""
    if before.least == 0:
        most = (text.most + 1) * after.most + text.most
    elif after.most <= before.least:
        most = text.most
    else:
        most = math.ceil(text.most / before.least) * after.most
    if before.most == 0:
        least = (text.least + 1) * after.least + text.least
    elif before.most <= after.least:
        least = text.least
    else:
        least = math.ceil(text.least / before.most) * after.least
    return Size(least, most)


def _join(target: Size, call: SizedCall) -> tuple[int, Size]:
    size = target * call.entry[1] if call.entry is not None else Size(0, 0)
    if call.sizes:
        size += call.sizes[0] * Size(max(target.least - 1, 0), max(target.most - 1, 0))
    return size.times(_TRAVERSAL), size
