"""Types of all parts of an expression, against the declared schema.

Source: cel-go ``checker/checker.go``; servers add ``HomogeneousAggregateLiterals``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.crd_checker.celtypes import (
    BOOL,
    DYN,
    CelType,
    fits,
    list_of,
    map_of,
    typed,
)
from tests.crd_checker.declarations import Declaration, objects
from tests.crd_checker.expressions import (
    ACCUMULATOR,
    Call,
    CelError,
    Expression,
    Fold,
    Ident,
    ListOf,
    Literal,
    MapOf,
    Select,
)
from tests.crd_checker.functions import FUNCTIONS, OLDEST, Overload

__all__ = ["Checked", "check_types"]

_TYPE_NAMES = frozenset(
    {"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"}
)


@dataclass
class Checked:
    """An expression whose types are known.

    Attributes:
        expression: The expression.
        root: What ``self`` is.
        types: Type of each part.
        overloads: Signatures that may be meant by each call.
        since: Minor version of Kubernetes that first has all that it calls, and why.
    """

    expression: Expression
    root: Declaration
    types: dict[Expression, CelType] = field(default_factory=dict)
    overloads: dict[Expression, list[Overload]] = field(default_factory=dict)
    since: tuple[int, str] = (OLDEST, "")

    def __post_init__(self) -> None:
        self.places = dict(objects(self.root))


def check_types(
    expression: Expression, root: Declaration, variables: Mapping[str, CelType]
) -> Checked:
    """Return ``expression`` with its types.

    Args:
        expression: What to check.
        root: What ``self`` is.
        variables: Types of the variables that it may read.

    Raises:
        CelError: If a server would not compile it.
    """
    checked = Checked(expression, root)
    _check(expression, dict(variables), checked)
    return checked


def _check(expression: Expression, variables: dict[str, CelType], checked: Checked) -> CelType:
    match expression:
        case Literal():
            found = CelType(expression.kind)
        case Ident():
            if expression.name in variables:
                found = variables[expression.name]
            elif expression.name in _TYPE_NAMES:
                found = CelType("type")
            else:
                raise CelError(f"undeclared reference to {expression.name!r}")
        case Select():
            found = _select(expression, variables, checked)
        case Call():
            found = _call(expression, variables, checked)
        case ListOf():
            found = list_of(_same(expression.entries, variables, checked))
        case MapOf():
            keys, values = zip(*expression.entries, strict=True) if expression.entries else ((), ())
            found = map_of(_same(keys, variables, checked), _same(values, variables, checked))
        case Fold():
            found = _fold(expression, variables, checked)
    checked.types[expression] = found
    return found


def _select(select: Select, variables: dict[str, CelType], checked: Checked) -> CelType:
    operand = _check(select.operand, variables, checked)
    if operand.name == "object":
        known = checked.places[operand.place].fields
        if select.field not in known:
            hint = f"; it is read as __{select.field}__" if f"__{select.field}__" in known else ""
            raise CelError(f"undefined field {select.field!r}{hint}")
        found = known[select.field].declaration.type
    elif operand.name == "map":
        found = operand.parameters[1]
    elif operand == DYN:
        found = DYN
    else:
        raise CelError(f"type {operand} does not support field selection of {select.field!r}")
    return BOOL if select.test else found


def _same(
    entries: tuple[Expression, ...], variables: dict[str, CelType], checked: Checked
) -> CelType:
    """Return the one type of the entries of a literal."""
    found = [_check(entry, variables, checked) for entry in entries]
    for entry in found[1:]:
        if not fits(entry, found[0], {}):
            raise CelError(f"expected type {found[0]} but found {entry}")
    return found[0] if found else DYN


def _fold(fold: Fold, variables: dict[str, CelType], checked: Checked) -> CelType:
    container = _check(fold.range, variables, checked)
    if container.name in {"list", "map"}:
        entry = container.parameters[0]
    elif container == DYN:
        entry = DYN
    else:
        raise CelError(f"expression of type {container} cannot be the range of a comprehension")
    initial = _check(fold.initial, variables, checked)
    inner = {**variables, fold.variable: entry, ACCUMULATOR: initial}
    # what a macro is written out to is of the right type wherever its parts are
    _check(fold.condition, inner, checked)
    _check(fold.step, inner, checked)
    if initial.name == "list":  # [] was a list of anything
        inner[ACCUMULATOR] = _entries(fold.step, checked)
    return _check(fold.result, inner, checked)


def _entries(step: Expression, checked: Checked) -> CelType:
    """Return the type of list that map() or filter() makes: that of what a step adds."""
    if isinstance(step, Call) and step.function == "_?_:_":
        step = step.arguments[1]
    assert isinstance(step, Call)
    return checked.types[step.arguments[1]]


def _call(call: Call, variables: dict[str, CelType], checked: Checked) -> CelType:
    name, target = call.function, call.target
    namespaced = (
        isinstance(target, Ident)
        and target.name not in variables
        and f"{target.name}.{name}" in FUNCTIONS
    )
    if namespaced:
        assert isinstance(target, Ident)
        name, target = f"{target.name}.{name}", None
    given = [_check(argument, variables, checked) for argument in call.arguments]
    if target is not None:
        given.insert(0, _check(target, variables, checked))
    if name not in FUNCTIONS:
        raise CelError(f"undeclared reference to {name!r}: no such function")
    found: list[tuple[Overload, CelType]] = []
    for overload in FUNCTIONS[name]:
        bound: dict[str, CelType] = {}
        if (
            overload.member == (target is not None)
            and len(overload.parameters) == len(given)
            and _all_fit(given, overload, bound)
        ):
            found.append((overload, typed(overload.result, bound)))
    if not found:
        shown = ", ".join(map(str, given))
        raise CelError(f"found no matching overload for {name!r} applied to ({shown})")
    since = min(overload.since for overload, _ in found)
    if since > checked.since[0]:
        checked.since = (since, f"{name}({', '.join(map(str, given))})")
    checked.overloads[call] = [overload for overload, _ in found]
    results = {result for _, result in found}
    return results.pop() if len(results) == 1 else DYN


def _all_fit(given: list[CelType], overload: Overload, bound: dict[str, CelType]) -> bool:
    pairs = zip(given, overload.parameters, strict=True)
    return all(fits(one, wanted, bound) for one, wanted in pairs)
