"""Rules evaluated on values, by cel-python, as an API server does.

Source: apiextensions-apiserver ``pkg/apiserver/schema/cel/validation.go``; ``maplist.go`` for the
old entries of lists.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError

from tests.crd_checker.expressions import (
    CelError,
    Expression,
    Ident,
    Select,
    parse,
    parts,
    uses,
)
from tests.crd_checker.schema import Node

__all__ = ["Broken", "broken"]

Broken = tuple[str, str]
"""Path of a value and what its rule says: the rule's message, or why it could not be evaluated."""


def broken(value: Any, node: Node, path: str = "self", *, old: Any = None) -> Iterator[Broken]:
    """Yield the rules that do not hold for ``value`` or anything below it.

    Args:
        value: JSON data that fits ``node``.
        node: Its schema.
        path: Its name in what is yielded.
        old: What it was before, as JSON data; without it, rules about changes are not evaluated.
    """
    if value is None:
        return
    rules = node.get("x-kubernetes-validations", ())
    typed = {"self": _cel(value, node), "oldSelf": _cel(old, node)} if rules else {}
    for rule in rules:
        text = rule["rule"].strip()
        if old is None and _reads(text, "oldSelf"):
            if not rule.get("optionalOldSelf"):
                continue
            raise CelError("cel-python does not know the optional types of optionalOldSelf")
        try:
            holds = _holds(text, _Given.of(text, typed))
        except CELEvalError as error:
            why = next(_absent(parse(text), {"self": value, "oldSelf": old}), error.args[0])
            yield path, f"{why} evaluating rule: {rule.get('message', text)}"
            continue
        if not holds:
            yield path, rule.get("message", f"failed rule: {text}")
    if isinstance(value, dict):
        for name, entry in value.items():
            below = node.get("properties", {}).get(name, node.get("additionalProperties"))
            if isinstance(below, dict):
                before = old.get(name) if isinstance(old, dict) else None
                yield from broken(entry, below, f"{path}.{name}", old=before)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            before = _old_entry(entry, old, node)
            yield from broken(entry, node["items"], f"{path}[{index}]", old=before)


def _absent(expression: Expression, values: dict[str, Any]) -> Iterator[str]:
    """Yield the fields that a rule reads in vain, in the server's words; cel-python names none."""
    for part in parts(expression):
        yield from _absent(part, values)
    if isinstance(expression, Select) and not expression.test:
        holder = _read(expression.operand, values)
        if isinstance(holder, dict) and expression.field not in holder:
            yield f"no such key: {expression.field}"


def _read(expression: Expression, values: dict[str, Any]) -> Any:
    if isinstance(expression, Ident):
        return values.get(expression.name)
    if isinstance(expression, Select):
        holder = _read(expression.operand, values)
        return holder.get(expression.field) if isinstance(holder, dict) else None
    return None


@dataclass(frozen=True)
class _Given:
    """What a rule is evaluated on: the same if what the rule reads is.

    Attributes:
        key: The values as text, with their types.
        values: What variables stand for.
    """

    key: str
    values: Mapping[str, Any] = field(compare=False)

    @classmethod
    def of(cls, text: str, typed: Mapping[str, Any]) -> _Given:
        """Return the fields of the variables that a rule names: cel-python is slow, and most
        jobs that are judged differ in a field or two."""
        values = {
            name: celtypes.MapType({key: entry for key, entry in value.items() if key in fields})
            if isinstance(value, dict) and (fields := _fields(text, name)) is not None
            else value
            for name, value in typed.items()
            if _reads(text, name)
        }
        return cls(repr(values), values)


@functools.lru_cache(maxsize=1 << 16)
def _holds(text: str, given: _Given) -> bool:
    return bool(_program(text).evaluate(dict(given.values)))


@functools.lru_cache(maxsize=1 << 12)
def _reads(text: str, variable: str) -> bool:
    return uses(parse(text), variable)


@functools.lru_cache(maxsize=1 << 12)
def _fields(text: str, variable: str) -> frozenset[str] | None:
    """Return the fields of a variable that a rule reads; None if it reads the variable whole."""
    fields = set[str]()

    def look(expression: Expression) -> bool:
        match expression:
            case Select(operand=Ident(name=name)) if name == variable:
                fields.add(expression.field)
                return True
            case Ident(name=name):
                return name != variable
        return all(map(look, parts(expression)))

    return frozenset(fields) if look(parse(text)) else None


@functools.lru_cache(maxsize=1024)
def _program(text: str) -> Any:
    environment = celpy.Environment()
    return environment.program(environment.compile(text))


def _old_entry(entry: Any, old: Any, node: Node) -> Any:
    """Return what an entry was before; only entries of a list that is a map have a before."""
    keys = node.get("x-kubernetes-list-map-keys", ())
    if not keys or not isinstance(old, list):
        return None
    same = [before for before in old if all(before.get(k) == entry.get(k) for k in keys)]
    return same[0] if same else None


def _cel(value: Any, node: Node) -> Any:
    """Give a value the type that its schema says, as the server does: 1 is a double in a number."""
    if isinstance(value, dict):
        properties, values = node.get("properties", {}), node.get("additionalProperties")
        return celtypes.MapType(
            {
                celtypes.StringType(name): _cel(entry, properties.get(name, values or {}))
                for name, entry in value.items()
            }
        )
    if isinstance(value, list):
        return celtypes.ListType([_cel(entry, node.get("items", {})) for entry in value])
    if value is not None and node.get("type") == "number":
        return celtypes.DoubleType(value)
    if isinstance(value, str):
        match node.get("format"):
            case "date-time" | "date":
                return celtypes.TimestampType(value)
            case "duration":
                return celtypes.DurationType(value)
            case "byte":
                return celtypes.BytesType(value.encode())
    return json_to_cel(value)
