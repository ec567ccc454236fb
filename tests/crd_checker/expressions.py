"""CEL expressions as trees, with the macros written out as cel-go does.

The grammar is cel-python's; it does not know ``.?`` and ``[?]`` of optional types, so that a rule
with these counts as one that cannot be parsed. Source: cel-spec ``doc/langdef.md``; cel-go
``parser/macro.go``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import celpy
from celpy.celparser import CELParseError
from celpy.evaluation import celbytes, celstr
from lark import Token, Tree

__all__ = [
    "ACCUMULATOR",
    "RESERVED",
    "Call",
    "CelError",
    "Expression",
    "Fold",
    "Ident",
    "ListOf",
    "Literal",
    "MapOf",
    "Select",
    "parse",
    "parts",
    "uses",
]

ACCUMULATOR = "__result__"

RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in",
    "let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
})  # fmt: skip
"""Words that cannot be identifiers; a schema's field of such a name is read as ``__name__``."""


class CelError(Exception):
    """An expression that a server refuses; the text says why."""


# Compared by identity: the same text may stand in an expression twice, with other types.


@dataclass(frozen=True, eq=False)
class Literal:
    """A constant; ``kind`` is the name of its CEL type."""

    kind: str
    value: Any


@dataclass(frozen=True, eq=False)
class Ident:
    """A variable."""

    name: str


@dataclass(frozen=True, eq=False)
class Select:
    """``operand.field``, or ``has(operand.field)``."""

    operand: Expression
    field: str
    test: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A function or operator; a member function has a target."""

    function: str
    arguments: tuple[Expression, ...]
    target: Expression | None = None


@dataclass(frozen=True, eq=False)
class ListOf:
    """``[a, b]``."""

    entries: tuple[Expression, ...]


@dataclass(frozen=True, eq=False)
class MapOf:
    """``{k: v}``, as key and value in turn."""

    entries: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, eq=False)
class Fold:
    """What all, exists, exists_one, map and filter become: a loop with an accumulator."""

    variable: str
    range: Expression
    initial: Expression
    condition: Expression
    step: Expression
    result: Expression


Expression = Literal | Ident | Select | Call | ListOf | MapOf | Fold


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Return ``text`` as a tree.

    Raises:
        CelError: If it is no CEL expression.
    """
    try:
        tree = celpy.Environment().compile(text)
    except CELParseError as error:
        where = f" at line {error.line}, column {error.column}" if error.line else ""
        raise CelError(f"syntax error{where}") from error
    return _build(tree)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """Return what ``expression`` directly holds."""
    match expression:
        case Select():
            return (expression.operand,)
        case Call():
            target = () if expression.target is None else (expression.target,)
            return (*target, *expression.arguments)
        case ListOf():
            return expression.entries
        case MapOf():
            return tuple(part for entry in expression.entries for part in entry)
        case Fold():
            return (
                expression.range,
                expression.initial,
                expression.condition,
                expression.step,
                expression.result,
            )
        case _:
            return ()


def uses(expression: Expression, name: str) -> bool:
    """Return whether ``expression`` reads the variable ``name``."""
    if isinstance(expression, Ident):
        return expression.name == name
    return any(uses(part, name) for part in parts(expression))


_OPERATORS = {
    "relation_lt": "_<_",
    "relation_le": "_<=_",
    "relation_gt": "_>_",
    "relation_ge": "_>=_",
    "relation_eq": "_==_",
    "relation_ne": "_!=_",
    "relation_in": "_in_",
    "addition_add": "_+_",
    "addition_sub": "_-_",
    "multiplication_mul": "_*_",
    "multiplication_div": "_/_",
    "multiplication_mod": "_%_",
    "unary_not": "!_",
    "unary_neg": "-_",
}
_LITERALS = {
    "INT_LIT": "int",
    "UINT_LIT": "uint",
    "FLOAT_LIT": "double",
    "STRING_LIT": "string",
    "MLSTRING_LIT": "string",
    "BYTES_LIT": "bytes",
    "BOOL_LIT": "bool",
    "NULL_LIT": "null",
}


def _build(tree: Any) -> Expression:
    kids = [kid for kid in tree.children if kid is not None]
    match tree.data:
        case "expr" if len(kids) == 3:
            return Call("_?_:_", tuple(map(_build, kids)))
        case "conditionalor" | "conditionaland" if len(kids) == 2:
            operator = "_||_" if tree.data == "conditionalor" else "_&&_"
            return Call(operator, (_build(kids[0]), _build(kids[1])))
        case "relation" | "addition" | "multiplication" if len(kids) == 2:
            first, second = kids
            return Call(_OPERATORS[first.data], (_build(first.children[0]), _build(second)))
        case "unary" if len(kids) == 2:
            return Call(_OPERATORS[kids[0].data], (_build(kids[1]),))
        case "member_dot":
            return Select(_build(kids[0]), str(kids[1]))
        case "member_dot_arg":
            return _member_call(_build(kids[0]), str(kids[1]), _list(kids[2:]))
        case "member_index":
            return Call("_[_]", (_build(kids[0]), _build(kids[1])))
        case "ident_arg" | "dot_ident_arg":
            return _call(str(kids[0]), _list(kids[1:]))
        case "ident" | "dot_ident":
            return _ident(str(kids[0]))
        case "literal":
            return _literal(kids[0])
        case "list_lit":
            return ListOf(_list(kids))
        case "map_lit":
            pairs = [_build(kid) for kid in kids[0].children] if kids else []
            return MapOf(tuple(zip(pairs[::2], pairs[1::2], strict=True)))
        case "member_object":
            raise CelError("objects cannot be made in a rule")
        case _:
            (kid,) = kids
            return _build(kid)


def _list(trees: list[Tree[Token]]) -> tuple[Expression, ...]:
    return tuple(_build(kid) for tree in trees for kid in tree.children if kid is not None)


def _ident(name: str) -> Ident:
    if name in RESERVED:
        raise CelError(f"syntax error: {name} is a reserved word")
    return Ident(name)


def _literal(token: Token) -> Literal:
    kind = _LITERALS[token.type]
    value: Any = str(token)
    if kind == "string":
        value = str(celstr(token))
    elif kind == "bytes":
        value = bytes(celbytes(token))
    return Literal(kind, value)


def _call(function: str, arguments: tuple[Expression, ...]) -> Expression:
    if function in RESERVED:
        raise CelError(f"syntax error: {function} is a reserved word")
    if function == "has":
        if len(arguments) != 1 or not isinstance(arguments[0], Select):
            raise CelError("invalid argument to has(): it takes a field, such as has(self.a)")
        return Select(arguments[0].operand, arguments[0].field, test=True)
    return Call(function, arguments)


def _member_call(
    target: Expression, function: str, arguments: tuple[Expression, ...]
) -> Expression:
    macro = (function, len(arguments))
    if macro not in {
        ("all", 2), ("exists", 2), ("exists_one", 2), ("filter", 2), ("map", 2), ("map", 3)
    }:  # fmt: skip
        return Call(function, arguments, target)
    variable, *rest = arguments
    if not isinstance(variable, Ident):
        raise CelError(f"the first argument of {function}() must be the name of a variable")
    accumulator, body = Ident(ACCUMULATOR), rest[-1]
    true = Literal("bool", "true")
    if function == "all":
        initial: Expression = true
        condition: Expression = Call("@not_strictly_false", (Ident(ACCUMULATOR),))
        step: Expression = Call("_&&_", (accumulator, body))
    elif function == "exists":
        initial = Literal("bool", "false")
        condition = Call("@not_strictly_false", (Call("!_", (Ident(ACCUMULATOR),)),))
        step = Call("_||_", (accumulator, body))
    elif function == "exists_one":
        initial, condition = Literal("int", "0"), true
        more = Call("_+_", (Ident(ACCUMULATOR), Literal("int", "1")))
        step = Call("_?_:_", (body, more, accumulator))
        one = Call("_==_", (Ident(ACCUMULATOR), Literal("int", "1")))
        return Fold(variable.name, target, initial, condition, step, one)
    else:
        initial, condition = ListOf(()), true
        kept: Expression = body if function == "map" else Ident(variable.name)
        step = Call("_+_", (Ident(ACCUMULATOR), ListOf((kept,))))
        if macro != ("map", 2):
            step = Call("_?_:_", (rest[0], step, accumulator))
    return Fold(variable.name, target, initial, condition, step, Ident(ACCUMULATOR))
