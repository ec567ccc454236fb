"""Rules that a server would not take, or that would fail users: each with its fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crd_checker import Sort, check
from tests.unit.crd_checker.specimens import SPEC, definition, with_rule

RULE = f"{SPEC}.x-kubernetes-validations[0]"

GOOD = [
    "self.size > 0",
    "self.size * 2 + 1 <= 7 || -self.size < 0 || self.size % 2 == 0",
    "self.share > 0.5 && self.share / 2.0 < double(self.size)",
    "size(self.part.least == 1 ? 'a' : 'bc') == 1",
    "!has(self.word) || self.word.matches('^a')",
    "has(self.word) && self.word in ['a', 'b']",
    "has(self.word) ? self.word != '' : true",
    "self.word == 'a' && has(self.word)",  # an error on one side is forgiven
    "!(has(self.word) && self.word == 'a')",
    "!(!has(self.word) || !has(self.names)) && self.names.exists(n, n == self.word)",
    "has(self.word) == has(oldSelf.word) && (!has(self.word) || self.word == oldSelf.word)",
    "has(self.word) != has(oldSelf.word) || !has(self.word) || self.word == oldSelf.word",
    "!has(self.labels) || self.labels.all(k, k.startsWith('a') && self.labels[k] != '')",
    "!has(self.labels) || !('a' in self.labels) || self.labels['a'] == self.labels.a",
    "!has(self.labels) || !has(self.labels.a) || self.labels['a'] == 'b'",
    "!has(self.ports) || self.ports.exists_one(p, p.name == 'a' && has(p.port) && p.port > 0)",
    "!has(self.ports) || self.ports.filter(p, has(p.port)).map(p, p.name).size() == 2",
    "!has(self.ports) || self.ports.map(p, has(p.port), p.port).sum() > 2",
    "!has(self.names) || (self.names + ['a']).join(',').contains('b')",
    "!has(self.amount) || (type(self.amount) == int ? self.amount > 1 : self.amount == '1%')",
    "!has(self.__namespace__) || self.__namespace__ == 'a'",
    "self == oldSelf",
    "!has(self.part) || self.part.least == oldSelf.part.least",
    "{'a': 1, 'b': 2}['a'] == self.size || [1, 2][0] == self.size",
    "timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026",
    "duration('1h') + duration('1m') > duration('2m')",
    "url('https://a/b').getHost() == 'a' || isURL('x')",
    "b'ab' == b'ab' && 1u < 2u && dyn(1) == 1",
]


@pytest.mark.parametrize("rule", GOOD)
def test_a_good_rule(rule: str) -> None:
    assert check(with_rule(rule)) == []


# Text of the rule, what it is about, and words of the message.
WRONG = [
    ("self.size >", "syntax error at line 1"),
    ("self.size > 0 &&& true", "syntax error"),
    ("namespace == 'a'", "namespace is a reserved word"),
    ("import(self)", "import is a reserved word"),
    ("Thing{a: 1} == self", "objects cannot be made"),
    ("self.namespace == 'a'", "undefined field 'namespace'; it is read as __namespace__"),
    ("self.width > 0", "undefined field 'width'"),
    ("has(self.width)", "undefined field 'width'"),
    ("has(self)", "invalid argument to has()"),
    ("has(self.size, self.word)", "invalid argument to has()"),
    ("self.size.least > 0", "type int does not support field selection of 'least'"),
    ("spec.size > 0", "undeclared reference to 'spec'"),
    ("self.names.all(n, m == 'a')", "undeclared reference to 'm'"),
    ("self.names.all(n.a, true)", "must be the name of a variable"),
    ("self.size.all(n, true)", "cannot be the range"),
    ("self.names.all(n, n)", "no matching overload for '_&&_' applied to (bool, string)"),
    ("isFoo(self.size)", "undeclared reference to 'isFoo'"),
    ("self.size.matches('a')", "no matching overload for 'matches' applied to (int, string)"),
    ("self.size == 'a'", "no matching overload for '_==_' applied to (int, string)"),
    ("self.size == 1.0", "no matching overload for '_==_' applied to (int, double)"),
    ("self.share == 1", "no matching overload for '_==_' applied to (double, int)"),
    ("self.size + self.share > 0.0", "no matching overload for '_+_'"),
    ("self.part == self", "no matching overload for '_==_'"),
    ("self.size == null", "no matching overload for '_==_' applied to (int, null)"),
    ("self.size in ['a']", "no matching overload for '_in_' applied to (int, list(string))"),
    ("self.labels[1] == 'a'", "no matching overload for '_[_]'"),
    ("self.names['a'] == 'a'", "no matching overload for '_[_]'"),
    ("self.size ? true : false", "no matching overload for '_?_:_'"),
    ("self.size > 0 ? 1 : 'a'", "no matching overload for '_?_:_'"),
    ("!self.size", "no matching overload for '!_'"),
    ("[1, 'a'].size() == 2", "expected type int but found string"),
    ("{'a': 1, 'b': 'c'}.size() == 2", "expected type int but found string"),
    ("self.size", "must evaluate to a bool, not a int"),
    ("self.amount", "must evaluate to a bool, not a dyn"),
    ("self.word.charAt('a') == ''", "no matching overload for 'charAt'"),
]


@pytest.mark.parametrize(("rule", "words"), WRONG)
def test_a_rule_that_does_not_compile(rule: str, words: str) -> None:
    (fault,) = check(with_rule(rule))
    assert (fault.field, fault.sort) == (f"{RULE}.rule", Sort.RULE)
    assert words in fault.message


UNGUARDED = [
    ("self.word == 'a'", "self.word"),
    ("has(self.names) && self.word == 'a'", "self.word"),
    ("has(self.word) || self.word == 'a'", "self.word"),
    ("!has(self.word) && self.word == 'a'", "self.word"),
    ("has(self.word) ? true : self.word == 'a'", "self.word"),
    ("(has(self.word) || self.size > 0) && self.word == 'a'", "self.word"),
    ("!(has(self.word) && self.size > 0) || self.word == 'a' || true", None),
    ("!has(self.word) || self.word == oldSelf.word", "oldSelf.word"),
    ("self.names.all(n, n != '')", "self.names"),
    ("has(self.ports) && self.ports.all(p, p.port > 0)", "p.port"),
    ("has(self.ports) && self.ports.exists(p, has(p.port)) && self.ports.all(p, p.port > 0)",
     "p.port"),
    ("!has(self.labels) || self.labels.a == 'b'", "self.labels.a"),
    ("!has(self.labels) || self.labels['a'] == 'b'", "self.labels.a"),
    ("has(self.labels.a)", "self.labels"),
    (("has(self.labels) && self.labels.filter(k, k != '').size() > 0 && "
     "self.labels.map(k, k)[0] == self.word"), "self.word"),
    ("(has(self.word) == has(self.names)) && self.word == 'a'", "self.word"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "path"), UNGUARDED)
def test_a_rule_that_reads_what_may_be_absent(rule: str, path: str | None) -> None:
    faults = check(with_rule(rule))
    if path is None:
        assert faults == []
        return
    (fault,) = faults
    assert (fault.field, fault.sort) == (f"{RULE}.rule", Sort.UNGUARDED)
    assert fault.message == f"{path} may be absent; guard it by has({path})"
    assert fault.sort.ours


def test_metadata_and_kind_are_always_there() -> None:
    changed = definition()
    (version,) = changed["spec"]["versions"]
    rules = ["self.metadata.name != self.kind", "has(self.status) || self.apiVersion != ''"]
    root = version["schema"]["openAPIV3Schema"]
    root["x-kubernetes-validations"] = [{"rule": rule, "message": "no"} for rule in rules]
    assert check(changed) == []
    rules.append("self.metadata.labels.size() == 0")
    root["x-kubernetes-validations"].append({"rule": rules[-1], "message": "no"})
    (fault,) = check(changed)
    assert "undefined field 'labels'" in fault.message


WORDS: list[tuple[dict[str, Any], str, str]] = [
    ({"rule": " "}, "rule", "is not specified"),
    ({"message": " "}, "message", "must not be empty"),
    ({"message": "a\nb"}, "message", "line breaks"),
    ({"rule": "true &&\ntrue", "message": ""}, "message", "must not be empty"),
    ({"reason": "Because"}, "reason", "'Because' is not one of FieldValueInvalid"),
    ({"fieldPath": ".width"}, "fieldPath", "'width' is no field"),
    ({"fieldPath": "size"}, "fieldPath", "expected .field"),
    ({"fieldPath": ".ports[0]"}, "fieldPath", "expected .field"),
    ({"fieldPath": ".size.least"}, "fieldPath", "'least' is no field"),
    ({"fieldPath": " "}, "fieldPath", "is empty"),
    ({"messageExpression": " "}, "messageExpression", "must not be empty"),
    ({"messageExpression": "self.size"}, "messageExpression", "must evaluate to a string"),
    ({"messageExpression": "self.width"}, "messageExpression", "undefined field"),
    ({"messageExpression": "self.size > 0 ? 'a' : 2"}, "messageExpression", "no matching overload"),
    ({"severity": "low"}, "severity", "unknown field"),
]


@pytest.mark.parametrize(("given", "key", "words"), WORDS)
def test_what_is_around_a_rule(given: dict[str, Any], key: str, words: str) -> None:
    (fault,) = check(with_rule(**{"rule": "self.size > 0", **given}), oldest=29)
    assert (fault.field, fault.sort) == (f"{RULE}.{key}", Sort.RULE)
    assert words in fault.message


def test_a_message_may_cost_too_much() -> None:
    """Nothing bounds the text of a number, as far as servers know (kubernetes issue 124234)."""
    faults = check(with_rule("true", messageExpression="'a' + string(self.size)"), oldest=29)
    assert {fault.sort for fault in faults} == {Sort.COST}
    assert f"{RULE}.messageExpression" in {fault.field for fault in faults}


def test_a_rule_of_two_lines_needs_a_message() -> None:
    changed = with_rule("true &&\ntrue")
    assert check(changed) == []
    (version,) = changed["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["x-kubernetes-validations"][0]["message"]
    (fault,) = check(changed)
    assert (fault.field, fault.sort) == (f"{RULE}.message", Sort.RULE)


NEWER: list[tuple[str, dict[str, Any], str, int]] = [
    (
        "true",
        {"messageExpression": "has(self.word) ? 'a' + self.word : 'b'"},
        "messageExpression",
        27,
    ),
    ("true", {"reason": "FieldValueInvalid"}, "reason", 28),
    ("true", {"fieldPath": ".labels['a.b']"}, "fieldPath", 28),
    ("self.size < self.share", {}, "rule", 29),
    ("isQuantity('1Gi') && quantity('1Gi').isGreaterThan(quantity('1Mi'))", {}, "rule", 29),
    ("sets.contains([1], [self.size])", {}, "rule", 30),
    ("isIP('::1') && ip('::1').family() == 6 && ip.isCanonical('::1')", {}, "rule", 31),
    (
        "oldSelf.hasValue() ? self.size >= oldSelf.value().size : true",
        {"optionalOldSelf": True},
        "optionalOldSelf",
        29,
    ),
]


@pytest.mark.parametrize(("rule", "more", "key", "since"), NEWER)
def test_what_older_servers_do_not_know(
    rule: str, more: dict[str, Any], key: str, since: int
) -> None:
    assert check(with_rule(rule, **more), oldest=since) == []
    faults = check(with_rule(rule, **more), oldest=since - 1)
    assert faults
    for fault in faults:
        assert (fault.sort, fault.sort.ours) == (Sort.NEWER, True)
        assert f"needs Kubernetes 1.{since}, and 1.{since - 1} must do" in fault.message
    assert f"{RULE}.{key}" in {fault.field for fault in faults}


def test_an_optional_old_value_needs_a_rule_that_reads_it() -> None:
    (fault,) = check(with_rule("self.size > 0", optionalOldSelf=True), oldest=29)
    assert (fault.field, fault.sort) == (f"{RULE}.optionalOldSelf", Sort.TRANSITION)
    (fault,) = check(with_rule("oldSelf.size > 0", optionalOldSelf=True), oldest=29)
    assert "does not support field selection" in fault.message


_ENTRY = "{type: integer, x-kubernetes-validations: [{rule: self >= oldSelf, message: grow}]}"
_OBJECT = (
    "{type: object, required: [a], properties:"
    f" {{a: {{type: string, maxLength: 9}}, b: {_ENTRY}}}}}"
)


@pytest.mark.parametrize(
    ("changes", "field", "list_"),
    [
        (f"x: {{type: array, maxItems: 3, items: {_ENTRY}}}", "[x].items", "[x]"),
        (
            f"x: {{type: array, maxItems: 3, x-kubernetes-list-type: set, items: {_ENTRY}}}",
            "[x].items",
            "[x]",
        ),
        (
            f"x: {{type: array, maxItems: 3, items: {_OBJECT}}}",
            "[x].items.properties[b]",
            "[x]",
        ),
        (  # an atomic list around one that is a map
            (
                "x: {type: array, maxItems: 3, items: {type: array, maxItems: 3,"
                " x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [a],"
                f" items: {_OBJECT}}}}}"
            ),
            "[x].items.items.properties[b]",
            "[x]",
        ),
    ],
)
def test_old_values_of_entries_that_have_none(changes: str, field: str, list_: str) -> None:
    (fault,) = check(definition(changes))
    expected = f"{SPEC}.properties{field}.x-kubernetes-validations[0].rule"
    assert (fault.field, fault.sort) == (expected, Sort.TRANSITION)
    assert f"{SPEC}.properties{list_} have no old value" in fault.message


@pytest.mark.parametrize(
    "changes",
    [
        f"x: {_ENTRY}",
        f"x: {{type: object, maxProperties: 3, additionalProperties: {_ENTRY}}}",
        f"x: {{type: object, x-kubernetes-map-type: atomic, properties: {{a: {_ENTRY}}}}}",
        (
            "x: {type: array, maxItems: 3, x-kubernetes-list-type: map,"
            f" x-kubernetes-list-map-keys: [a], items: {_OBJECT}}}"
        ),
        (
            "x: {type: array, maxItems: 3, items: {type: integer},"
            " x-kubernetes-validations: [{rule: self == oldSelf, message: fixed}]}"
        ),
    ],
)
def test_old_values_where_there_are_some(changes: str) -> None:
    assert check(definition(changes)) == []


def test_rules_need_a_type() -> None:
    rule = "x-kubernetes-validations: [{rule: 'true', message: never}]"
    (fault,) = check(definition(f"x: {{x-kubernetes-preserve-unknown-fields: true, {rule}}}"))
    assert fault.message == "rules cannot read a value of no declared type"
