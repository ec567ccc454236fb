"""Estimated costs against those that Kubernetes' own tests expect.

The figures are those of TestCostEstimation in apiextensions-apiserver
``pkg/apiserver/schema/cel/compilation_test.go``: without bounds, with a bound, and its value.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.crd_checker import Sort, check
from tests.crd_checker.celtypes import CelType
from tests.crd_checker.cost import largest_cost
from tests.crd_checker.declarations import declare
from tests.crd_checker.expressions import parse
from tests.crd_checker.rules import MOST_A_RULE, MOST_IN_ALL
from tests.crd_checker.schema import Node
from tests.crd_checker.typecheck import check_types
from tests.unit.crd_checker.specimens import SPEC, definition

TEXT: Node = {"type": "string"}
OBJECT: Node = {
    "type": "object",
    "required": ["required"],
    "properties": {"required": TEXT, "optional": TEXT},
}
FORMATS = {"duration", "date", "date-time", "byte"}


def scalar(kind: str) -> Node:
    """Return a schema without bounds."""
    if kind in FORMATS:
        return {"type": "string", "format": kind}
    if kind == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    return {"type": kind}


def array(items: Node) -> Node:
    return {"type": "array", "items": items, "maxItems": None}


def mapping(values: Node) -> Node:
    return {"type": "object", "additionalProperties": values, "maxProperties": None}


def text(**more: Any) -> Node:
    return {"type": "string", "maxLength": None, **more}


def record(**fields: Node) -> Node:
    return {"type": "object", "required": list(fields), "properties": fields}


def bounded(node: Any, bound: int | None) -> Any:
    """Return a schema whose open bounds (None) have this value, or are gone."""
    if isinstance(node, list):
        return [bounded(entry, bound) for entry in node]
    if not isinstance(node, dict):
        return node
    found = {key: bounded(value, bound) for key, value in node.items() if value is not None}
    if bound is not None:
        found |= {key: bound for key, value in node.items() if value is None}
    return found


NUMBERS, MAPS = array(scalar("number")), mapping(scalar("number"))
COSTS = [
    (NUMBERS, "self.all(x, true)", 4718591, 10, 32),
    (array(TEXT), "self.all(x, true)", 3145727, 20, 62),
    (array(scalar("boolean")), "self.all(x, true)", 1887437, 5, 17),
    (array({"type": "array", "items": scalar("number")}), "self.all(x, true)", 3145727, 100, 302),
    (array(OBJECT), "self.all(x, true)", 555128, 50, 152),
    (MAPS, "self.all(x, true)", 1348169, 10, 32),
    (mapping(TEXT), "self.all(x, true)", 1179647, 3, 11),
    (mapping(scalar("boolean")), "self.all(x, true)", 943718, 100, 302),
    (text(), "self.contains('test')", 314574, 10, 5),
    (text(), "self.startsWith('test')", 2, 15, 2),
    (text(), "self.endsWith('test')", 2, 30, 2),
    (text(), 'size(self + "hello") > size("hello")', 314578, 4, 7),
    (NUMBERS, "self[1] == 0.0", 2, 5000, 2),
    (array(TEXT), "self[1] == self[1]", 314577, 8, 314577),
    (NUMBERS, "self.all(x, self.all(y, true))", None, 10, 352),
    (NUMBERS, "self.all(x, self.all(y, self.all(z, true)))", None, 10, 3552),
    (text(), 'self.matches("x")', 314574, 50, 22),
    (text(), '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
    (text(), 'self.matches("")', 1, 100, 1),
    (mapping(text()), "self.all(x, x.contains(self[x]))", 2752507, 10, 72),
    (MAPS, 'self["x"] == 0.0', 2, 0, 2),
    (text(), 'self == "x"', 2, 0, 1),
    (text(format="byte"), 'self == b"x"', 2, 0, 1),
    (NUMBERS, "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
    (array(mapping(OBJECT)), 'self.all(x, x["y"].required == "z")', 7340027, 10, 72),
    (
        {"type": "array", "items": mapping(OBJECT)},
        'self.all(x, x["y"].required == "z")',
        7340027,
        10,
        7340027,
    ),
    (array(scalar("int-or-string")), "self.all(x, true)", 4718591, 10, 32),
    (array(scalar("int-or-string")), "self[0] == 5", 3, 10, 3),
    (array(scalar("boolean")), "self[0] == false", 2, 25, 2),
    (array(OBJECT), "self[0] == null", 2, 422, 2),
    (array({"type": "array", "items": scalar("number")}), "self[0][0] == -1.0", 3, 51, 3),
    (array(bounded(MAPS, None)), "self.all(x, x.y == 25.2)", 6291452, 12, 74),
    (array(bounded(MAPS, None)), "self[0].x > 2.0", 4, 3000, 4),
    (array(scalar("duration")), "self.all(x, true)", 2359295, 5, 17),
    (array(scalar("duration")), "self[0].getHours() == 2", 4, 525, 4),
    (array(scalar("date")), "self.all(x, true)", 725936, 15, 47),
    (array(scalar("date")), "self[2].getDayOfMonth() == 13", 4, 42, 4),
    (array(scalar("date-time")), "self.all(x, true)", 428963, 25, 77),
    (array(scalar("date-time")), "self[2].getMinutes() == 45", 4, 99, 4),
    (mapping(scalar("int-or-string")), "self.all(x, true)", 1348169, 15, 47),
    (mapping(OBJECT), "self.all(x, true)", 428963, 20, 62),
    (mapping(bounded(MAPS, None)), "self.all(x, true)", 1179647, 10, 32),
    (mapping(bounded(NUMBERS, None)), "self.all(x, true)", 1179647, 25, 77),
    (mapping(scalar("duration")), "self.all(x, true)", 1048577, 5, 17),
    (mapping(scalar("date")), "self.all(x, true)", 524288, 10, 32),
    (mapping(scalar("date-time")), "self.all(x, true)", 349526, 25, 77),
    (text(), "self.find('[0-9]+') == ''", 629147, 10, 11),
    (array(text()), "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
    (array(text()), "self.isSorted() == true", 329854432052, 10, 52),
    (
        record(str=text(), before=text(maxLength=2), after=text(maxLength=4)),
        "self.str.replace(self.before, self.after) == 'does not matter'",
        629154,
        4,
        12,
    ),
    (record(str=text(), separator=text()), "self.str.split(self.separator) == []", 629160, 10, 22),
    (text(), "self.lowerAscii() == 'lower!'", 314575, 10, 6),
    (mapping(scalar("integer")), "oldSelf.size() == self.size()", 5, 10, 5),
    (mapping(scalar("date-time")), 'self["a"] == self["b"]', 8, 7, 8),
    (mapping(scalar("duration")), 'self["c"] == self["d"]', 8, 42, 8),
    (text(enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 2, 1000, 401),
]


def cost(node: Node, rule: str) -> int:
    declared = declare(node)
    assert declared is not None
    variables: dict[str, CelType] = {"self": declared.type, "oldSelf": declared.type}
    return largest_cost(check_types(parse(rule), declared, variables))


@pytest.mark.parametrize(("node", "rule", "free", "bound", "bounded_cost"), COSTS)
def test_costs_are_those_of_the_server(
    node: Node, rule: str, free: int | None, bound: int, bounded_cost: int
) -> None:
    unbounded = cost(bounded(node, None), rule)
    assert unbounded == free if free is not None else unbounded > MOST_A_RULE
    assert cost(bounded(node, bound), rule) == bounded_cost


@pytest.mark.parametrize("rule", ["has(self.x)", "has(self.x) && has(self.y)"])
def test_a_test_for_presence_costs_the_reading_of_its_holder(rule: str) -> None:
    assert cost(bounded(MAPS, None), rule) == rule.count("has")


_RULE = "x-kubernetes-validations: [{rule: %s, message: 'no'}]"


def test_a_rule_that_costs_too_much() -> None:
    loop = _RULE % "'self.all(a, self.all(b, a != b || a.size() > 1))'"
    changes = "x: {type: array, maxItems: %d, items: {type: string, maxLength: 9}, %s}"
    assert check(definition(changes % (500, loop))) == []
    (fault,) = check(definition(changes % (2000, loop)))
    assert fault.sort is Sort.COST
    assert fault.field == f"{SPEC}.properties[x].x-kubernetes-validations[0].rule"
    assert f"more than {MOST_A_RULE}" in fault.message


@pytest.mark.parametrize(
    ("bounds", "faults"), [("maxItems: 9", 0), ("", 1), ("maxItems: 999999", 1)]
)
def test_a_rule_is_priced_as_often_as_it_can_be_there(bounds: str, faults: int) -> None:
    """Nothing bounds a list without maxItems but the size of a request."""
    rule = _RULE % "self.matches('a+b')"
    entry = f"{{type: string, maxLength: 99, {rule}}}"
    for changes in (
        f"x: {{type: array, {bounds}, items: {entry}}}",
        f"x: {{type: array, maxItems: 1, items: {{type: array, {bounds}, items: {entry}}}}}",
        (
            f"x: {{type: object, {bounds.replace('Items', 'Properties')},"
            f" additionalProperties: {entry}}}"
        ),
    ):
        found = check(definition(changes.replace(", ,", ",")))
        assert [fault.sort for fault in found] == [Sort.COST] * faults


def test_all_rules_together_may_cost_too_much() -> None:
    """No rule is too dear for itself."""
    rule = _RULE % "'self.all(a, self.all(b, a == b))'"
    list_ = f"{{type: array, maxItems: 1000, items: {{type: integer}}, {rule}}}"
    changes = "\n".join(f"x{number}: {list_}" for number in range(20))
    (fault,) = check(definition(changes))
    assert fault.sort is Sort.COST
    assert fault.field == SPEC.removesuffix(".properties[spec]")
    assert f"more than {MOST_IN_ALL}" in fault.message
