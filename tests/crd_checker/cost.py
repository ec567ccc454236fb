"""What a rule may cost at most, in the units in which API servers grant it.

Source: cel-go ``checker/cost.go`` and ``common/cost.go``; apiserver ``pkg/cel/library/cost.go``;
apiextensions-apiserver ``pkg/apiserver/schema/cel/compilation.go`` (sizeEstimator). Of each
estimate only the largest cost is kept, which is what servers compare; sizes keep both ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.crd_checker.call_costs import SizedCall, call_cost
from tests.crd_checker.celtypes import CelType
from tests.crd_checker.declarations import Declaration
from tests.crd_checker.expressions import (
    ACCUMULATOR,
    Call,
    Expression,
    Fold,
    Ident,
    ListOf,
    Literal,
    MapOf,
    Select,
)
from tests.crd_checker.sizes import SCALARS, UNKNOWN, Size, exactly
from tests.crd_checker.typecheck import Checked

__all__ = ["largest_cost"]

_READ, _LIST, _MAP = 1, 10, 30  # a variable or field; making a list; making a map

Path = tuple[str, ...]


@dataclass
class _Local:
    """A variable of a comprehension: where it comes from and how large it may be."""

    path: Path
    size: Size | None
    entries: Size | None = None


@dataclass
class _Estimator:
    checked: Checked
    paths: dict[Expression, Path] = field(default_factory=dict)
    sizes: dict[Expression, Size] = field(default_factory=dict)
    entries: dict[Expression, Size] = field(default_factory=dict)
    locals: dict[str, _Local] = field(default_factory=dict)

    def cost(self, e: Expression) -> int:
        match e:
            case Literal():
                return 0
            case Ident():
                known = self.locals.get(e.name)
                self.paths[e] = known.path if known is not None else (e.name,)
                return _READ
            case Select():
                return self._select(e)
            case Call():
                return self._call(e)
            case ListOf():
                total = sum(map(self.cost, e.entries))
                if e.entries:
                    self.entries[e] = _union(*map(self.size, e.entries))
                return total + _LIST
            case MapOf():
                return sum(self.cost(k) + self.cost(v) for k, v in e.entries) + _MAP
            case Fold():
                return self._fold(e)

    def _select(self, e: Select) -> int:
        total = self.cost(e.operand)
        if e.test:
            return total  # servers grant has() itself for nothing
        if self.checked.types[e.operand].name in {"map", "object"}:
            total += _READ
        if self.paths.get(e.operand):
            self.paths[e] = (*self.paths[e.operand], e.field)
        return total

    def _call(self, e: Call) -> int:
        arguments = [self.cost(argument) for argument in e.arguments]
        total = 0
        target = e.target
        if isinstance(target, Ident) and target not in self.checked.types:
            target = None  # a namespace such as sets
        if target is not None:
            total += self.cost(target)
        if e.function == "_[_]":
            held = self.checked.types[e.arguments[0]].name
            below = self.paths.get(e.arguments[0])
            if below:
                self.paths[e] = (*below, "@items" if held == "list" else "@values")
            elif e.arguments[0] in self.entries:
                self.sizes[e] = self.entries[e.arguments[0]]
        if e.function in {"_&&_", "_||_"}:
            return total + sum(arguments)
        if e.function == "_?_:_":
            self.sizes[e] = _union(*map(self.size, e.arguments[1:]))
            self._join_entries(e, *e.arguments[1:])
            return total + arguments[0] + max(arguments[1:])
        if e.function == "_+_":
            self._join_entries(e, *e.arguments)
        called = SizedCall(
            e.function,
            None if target is None else self.size(target),
            tuple(map(self.size, e.arguments)),
            None if target is None else self._entry(target),
            tuple(self.checked.types[argument] for argument in e.arguments),
            e.arguments,
        )
        own, size = call_cost(called)
        if size is not None:
            self.sizes[e] = size
        return total + sum(arguments) + own

    def _join_entries(self, e: Expression, *sides: Expression) -> None:
        known = [self.entries[side] for side in sides if side in self.entries]
        if known:
            self.entries[e] = _union(*known)

    def _fold(self, e: Fold) -> int:
        total = self.cost(e.range) + self.cost(e.initial)
        container = self.checked.types[e.range]
        below = self.paths.get(e.range, ())
        part = "@keys" if container.name == "map" else "@items"
        outer = dict(self.locals)
        entry = None if below else self.entries.get(e.range)
        self.locals[ACCUMULATOR] = _Local((), self._own_size(e.initial))
        self.locals[e.variable] = _Local((*below, part) if below else (), entry)
        each = self.cost(e.condition) + self.cost(e.step)
        self.locals.pop(e.variable)
        if e.variable in outer:
            self.locals[e.variable] = outer[e.variable]
        total += self.cost(e.result)
        self.locals = outer
        rounds = self.size(e.range)
        if isinstance(e.initial, ListOf):
            self.sizes[e] = rounds
            if e.step in self.entries:
                self.entries[e] = self.entries[e.step]
        else:
            self.sizes[e] = exactly(1)
        return total + rounds.most * each

    def size(self, e: Expression) -> Size:
        """Return how large the value of ``e`` may be."""
        return self._own_size(e) or UNKNOWN

    def _own_size(self, e: Expression) -> Size | None:
        if e in self.sizes:
            return self.sizes[e]
        if isinstance(e, Literal):
            return exactly(len(e.value) if e.kind in {"string", "bytes"} else 1)
        if isinstance(e, ListOf | MapOf):
            return exactly(len(e.entries))
        declared = self._declared(self.paths.get(e, ()))
        if declared is not None:
            return Size(0, declared.largest)
        if self.checked.types[e].name in SCALARS:
            return exactly(1)
        if isinstance(e, Ident) and e.name in self.locals:
            return self.locals[e.name].size
        return None

    def _entry(self, e: Expression) -> tuple[CelType, Size] | None:
        """Return type and size of what a list holds."""
        held = self.checked.types[e]
        if held.name != "list":
            return None
        path = self.paths.get(e, ())
        declared = self._declared((*path, "@items")) if path else None
        if declared is not None:
            return held.parameters[0], Size(0, declared.largest)
        return held.parameters[0], self.entries.get(e, UNKNOWN)

    def _declared(self, path: Path) -> Declaration | None:
        """Return what stands at ``path``, whose first part is self or oldSelf."""
        if not path:
            return None
        node: Declaration | None = self.checked.root
        for name in path[1:]:
            assert node is not None
            if name in {"@items", "@values"}:
                node = node.entries
            elif name == "@keys":
                # servers count a key's size as none
                node = Declaration(CelType("string")) if node.entries else None
            else:
                held = node.fields.get(name)
                node = None if held is None else held.declaration
            if node is None:
                return None
        return node


def _union(*sizes: Size) -> Size:
    return Size(min(size.least for size in sizes), max(size.most for size in sizes))


def largest_cost(checked: Checked) -> int:
    """Return what one evaluation of ``checked`` may cost at most."""
    return min(_Estimator(checked).cost(checked.expression), UNKNOWN.most)
