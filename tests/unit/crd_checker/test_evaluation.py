"""Rules say the same of what they read alone as of the whole value."""

from __future__ import annotations

from typing import Any

import celpy
import pytest
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError

from tests.crd_checker.evaluation import broken

NUMBERS = {"type": "object", "properties": {"a": {"type": "number"}}}
RULES = (
    "self.a == oldSelf.a",
    "has(self.a) && self.a > 1.5",
    "self['a'] == 1.0",
    "'b' in self",
    "self.size() == 4",
    "self == oldSelf",
    "self.l.all(x, x == self.m.c)",
    "[1, 2].exists(self, self == 2) && has(self.b)",
)
VALUES = (
    {"a": 1, "b": 1, "l": [2], "m": {"c": 2}},
    {"a": 2, "b": 1, "l": [2], "m": {"c": 2}},
    {"a": 2, "b": 2, "l": [2, 3], "m": {"c": 2}},
    {"a": 2, "b": 2, "l": [2, 2], "m": {"c": 2, "d": 3}},
    {"b": "2"},
    {"a": 1, "l": [], "m": {"c": 3}},
)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_the_same_of_the_fields_it_reads(rule: str) -> None:
    """Many values, one after the other: what it said of one is no answer for another."""
    environment = celpy.Environment()
    program = environment.program(environment.compile(rule))
    node = {**NUMBERS, "x-kubernetes-validations": [{"rule": rule, "message": "no"}]}
    heard = set()
    for value in VALUES:
        for old in VALUES:
            (*told,) = broken(value, node, old=old)
            given = {"self": _typed(value), "oldSelf": _typed(old)}
            try:
                expected = [] if program.evaluate(given) else [("self", "no")]
            except CELEvalError:
                assert [path for path, _ in told] == ["self"]
                assert "evaluating rule" in told[0][1]
                continue
            assert told == expected, (value, old)
            heard.add(not told)
    assert heard == {True, False}


def test_a_number_is_none_of_another_type() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self.a == 1", "message": "no"}]}
    whole = {**rule, "properties": {"a": {"type": "integer"}}}
    text = {**rule, "properties": {"a": {"type": "string"}}}
    assert not list(broken({"a": 1}, whole))
    assert list(broken({"a": "1"}, text))
    assert not list(broken({"a": 1}, whole))


def _typed(value: dict[str, Any]) -> Any:
    numbers = {**value, "a": float(value["a"])} if "a" in value else value
    return json_to_cel(numbers)
