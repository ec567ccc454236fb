"""Fields that a rule reads although they may be absent.

A server takes such a rule, and then refuses every object without the field with "no such key". A
read is safe where the field is required, has a default, or where ``has()`` (for a key of a map,
``in``) holds whenever the read decides the outcome: under ``&&``, ``||``, ``!`` and ``?:``, and
under ``has(a) == has(b)``. Since ``&&`` and ``||`` forgive an error on one side when the other side
decides, a guard may stand on either side (cel-spec, "Logical operators"). Entries of lists and of
maps that the rule makes itself are not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.crd_checker.expressions import Call, Expression, Fold, Ident, Literal, Select, parts
from tests.crd_checker.typecheck import Checked

__all__ = ["unguarded"]


@dataclass(frozen=True)
class Facts:
    """What is known where an expression is evaluated.

    Attributes:
        present: Paths that are there.
        alike: Pairs of paths that are both there or both absent.
    """

    present: frozenset[str] = frozenset()
    alike: frozenset[frozenset[str]] = frozenset()

    def __or__(self, other: Facts) -> Facts:
        return Facts(self.present | other.present, self.alike | other.alike)

    def __and__(self, other: Facts) -> Facts:
        return Facts(self.closed() & other.closed(), self.alike & other.alike)

    def closed(self) -> frozenset[str]:
        """Return all paths that are there, those that follow included."""
        present, before = set(self.present), -1
        while len(present) != before:
            before = len(present)
            for pair in self.alike:
                if pair & present:
                    present |= pair
        return frozenset(present)


_NOTHING = Facts()


def unguarded(checked: Checked) -> list[str]:
    """Return the paths that ``checked`` reads without a guard, each once, in order."""
    return list(dict.fromkeys(_reads(checked.expression, _NOTHING, checked)))


def _path(expression: Expression) -> str | None:
    """Return what ``expression`` reads as text; None if it is no plain path."""
    match expression:
        case Ident():
            return expression.name
        case Select(operand=operand, field=field):
            below = _path(operand)
            return None if below is None else f"{below}.{field}"
        case Call(function="_[_]", arguments=(operand, Literal(value=key))):
            below = _path(operand)
            # a map's key may be written in both ways
            return None if below is None else f"{below}.{key}"
    return None


def _reads(expression: Expression, facts: Facts, checked: Checked) -> Iterator[str]:
    """Yield the paths below ``expression`` that may be absent where it is evaluated."""
    match expression:
        case Call(function="_&&_", arguments=(left, right)):
            yield from _reads(left, facts | _facts(right, True), checked)
            yield from _reads(right, facts | _facts(left, True), checked)
            return
        case Call(function="_||_", arguments=(left, right)):
            yield from _reads(left, facts | _facts(right, False), checked)
            yield from _reads(right, facts | _facts(left, False), checked)
            return
        case Call(function="_?_:_", arguments=(condition, left, right)):
            yield from _reads(condition, facts, checked)
            yield from _reads(left, facts | _facts(condition, True), checked)
            yield from _reads(right, facts | _facts(condition, False), checked)
            return
        case Fold():
            yield from _reads(expression.range, facts, checked)
            # another value in each round: what is known of an outer variable of this name is not
            # known of it
            own = f"{expression.variable}."
            inner = replace(
                facts, present=frozenset(p for p in facts.present if not p.startswith(own))
            )
            for part in (expression.condition, expression.step, expression.result):
                yield from _reads(part, inner, checked)
            return
    for part in parts(expression):
        yield from _reads(part, facts, checked)
    if _may_be_absent(expression, checked):
        path = _path(expression)
        if path is None or path not in facts.closed():
            yield path or f"(...).{expression.field if isinstance(expression, Select) else '[]'}"


def _may_be_absent(expression: Expression, checked: Checked) -> bool:
    match expression:
        case Select(operand=operand, field=field, test=False):
            holder = checked.types[operand]
            if holder.name == "object":
                return not checked.places[holder.place].fields[field].present
            return holder.name == "map" and _path(operand) is not None
        case Call(function="_[_]", arguments=(operand, Literal())):
            return checked.types[operand].name == "map" and _path(operand) is not None
    return False


def _facts(expression: Expression, outcome: bool) -> Facts:
    """Return what follows from ``expression`` having this outcome."""
    match expression:
        case Select(operand=operand, field=field, test=True) if outcome:
            path = _path(Select(operand, field))
            holder = _path(operand)
            return Facts(frozenset(p for p in (path, holder) if p is not None))
        case Call(function="_in_", arguments=(Literal(value=key), container)) if outcome:
            path = _path(container)
            return _NOTHING if path is None else Facts(frozenset({path, f"{path}.{key}"}))
        case Call(function="!_", arguments=(inner,)):
            return _facts(inner, not outcome)
        case Call(function="_&&_" | "_||_" as operator, arguments=(left, right)):
            one, other = _facts(left, outcome), _facts(right, outcome)
            return one | other if outcome is (operator == "_&&_") else one & other
        case Call(function="_?_:_", arguments=(condition, left, right)):
            return (_facts(condition, True) | _facts(left, outcome)) & (
                _facts(condition, False) | _facts(right, outcome)
            )
        case Call(
            function="_==_" | "_!=_" as operator,
            arguments=(Select(test=True) as left, Select(test=True) as right),
        ) if outcome is (operator == "_==_"):
            pair = frozenset(
                path
                for side in (left, right)
                if (path := _path(Select(side.operand, side.field))) is not None
            )
            return Facts(alike=frozenset({pair})) if len(pair) == 2 else _NOTHING
    return _NOTHING
