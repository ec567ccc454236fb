"""The CEL rules of a schema: what they say, what they may read, and what they cost.

Source: apiextensions-apiserver ``pkg/apis/apiextensions/validation/validation.go`` and
``cel_validation.go``, ``pkg/apiserver/schema/cel/compilation.go`` and ``validation.go``
(ValidFieldPath); Kubernetes docs, "Validation rules".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.crd_checker.celtypes import BOOL, STRING, CelType
from tests.crd_checker.cost import largest_cost
from tests.crd_checker.declarations import MAX_REQUEST, Declaration, declare
from tests.crd_checker.expressions import CelError, parse, uses
from tests.crd_checker.faults import Fault, Sort
from tests.crd_checker.guards import unguarded
from tests.crd_checker.paths import PathError, node_at
from tests.crd_checker.schema import Node, children, rules
from tests.crd_checker.typecheck import Checked, check_types

__all__ = ["MOST_A_RULE", "MOST_IN_ALL", "rule_faults"]

MOST_A_RULE = 10_000_000
"""Units that one rule may be estimated to cost in an object."""
MOST_IN_ALL = 100_000_000
"""Units that all rules of a schema may."""

_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
# Minor version whose servers first knew a field of a rule; older ones drop it.
_SINCE = {"messageExpression": 27, "reason": 28, "fieldPath": 28, "optionalOldSelf": 29}


@dataclass(frozen=True)
class _Place:
    """Where a node is.

    Attributes:
        times: How often it can be in an object; None is as often as a request can hold it.
        uncorrelated: Path of the list above whose entries have no old value; None if there is none.
    """

    times: int | None = 1
    uncorrelated: str | None = None

    def below(self, node: Node, path: str) -> _Place:
        """Return the place of what is in ``node``, a list or map if it is one."""
        place = self
        most: int | None = 1
        if node.get("type") == "array":
            most = node.get("maxItems")
            if node.get("x-kubernetes-list-type") != "map" and self.uncorrelated is None:
                place = replace(place, uncorrelated=path)
        elif node.get("additionalProperties") is not None:
            most = node.get("maxProperties")
        times = None if self.times is None or most is None else self.times * max(most, 0)
        return replace(place, times=times)


@dataclass
class _Schema:
    oldest: int
    total: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, path: str, message: str, sort: Sort = Sort.RULE) -> None:
        self.faults.append(Fault(path, message, sort))


def rule_faults(root: Node, path: str, *, oldest: int) -> Iterator[Fault]:
    """Yield the faults of all rules of a version's schema.

    Args:
        root: A schema that is structural.
        path: Its path.
        oldest: Minor version of the oldest Kubernetes that must know what the rules use.
    """
    schema = _Schema(oldest)
    _visit(root, path, _Place(), schema, resource=True)
    if schema.total > MOST_IN_ALL:
        schema.add(
            path,
            f"all rules together may cost {schema.total}, more than {MOST_IN_ALL}; bound lists, "
            "maps and strings by maxItems, maxProperties and maxLength",
            Sort.COST,
        )
    yield from schema.faults


def _visit(node: Node, path: str, place: _Place, schema: _Schema, *, resource: bool) -> None:
    if node.get("x-kubernetes-validations"):
        declared = declare(node, resource=resource)
        for rule_path, rule in rules(node, path):
            _judge_texts(rule, node, rule_path, schema)
            if declared is None:
                schema.add(rule_path, "rules cannot read a value of no declared type")
            elif str(rule.get("rule", "")).strip():
                _judge(rule, declared, rule_path, place, schema)
    for below_path, below, name in children(node, path):
        inner = place if name is not None else place.below(node, path)
        _visit(below, below_path, inner, schema, resource=False)


def _judge_texts(rule: dict[str, Any], node: Node, path: str, schema: _Schema) -> None:
    text, message = str(rule.get("rule", "")).strip(), str(rule.get("message", "")).strip()
    for key in set(rule) - {"rule", "message", *_SINCE}:
        schema.add(f"{path}.{key}", "unknown field; servers drop or refuse it")
    if not text:
        schema.add(f"{path}.rule", "is not specified")
    elif "message" in rule and not message:
        schema.add(f"{path}.message", "must not be empty if specified")
    elif "\n" in message or "\r" in message:
        schema.add(f"{path}.message", "must not contain line breaks")
    elif ("\n" in text or "\r" in text) and not message:
        schema.add(f"{path}.message", "must be specified if the rule contains line breaks")
    if "messageExpression" in rule and not str(rule["messageExpression"]).strip():
        schema.add(f"{path}.messageExpression", "must not be empty if specified")
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        schema.add(f"{path}.reason", f"{rule['reason']!r} is not one of {', '.join(_REASONS)}")
    if "fieldPath" in rule:
        try:
            node_at(rule["fieldPath"], node)
        except PathError as error:
            schema.add(f"{path}.fieldPath", f"must be a valid path: {error}")
    for key, since in _SINCE.items():
        if key in rule and since > schema.oldest:
            schema.add(f"{path}.{key}", _newer(key, since, schema), Sort.NEWER)


def _newer(what: str, since: int, schema: _Schema) -> str:
    return f"{what} needs Kubernetes 1.{since}, and 1.{schema.oldest} must do"


def _judge(
    rule: dict[str, Any], declared: Declaration, path: str, place: _Place, schema: _Schema
) -> None:
    """Judge a rule and its message as expressions."""
    old = declared.type
    if rule.get("optionalOldSelf"):
        old = CelType("optional", (old,))
    variables = {"self": declared.type, "oldSelf": old}
    checked = _compile(rule["rule"], variables, declared, BOOL, f"{path}.rule", schema)
    if checked is not None:
        _price(checked, f"{path}.rule", place, schema)
        if uses(checked.expression, "oldSelf"):
            if place.uncorrelated is not None:
                schema.add(
                    f"{path}.rule",
                    f"oldSelf cannot be used: entries of {place.uncorrelated} have no old value, "
                    "since its x-kubernetes-list-type is not map",
                    Sort.TRANSITION,
                )
        elif "optionalOldSelf" in rule:
            schema.add(
                f"{path}.optionalOldSelf", "may not be set if oldSelf is not used", Sort.TRANSITION
            )
    text = str(rule.get("messageExpression", "")).strip()
    if text:
        own = f"{path}.messageExpression"
        message = _compile(text, variables, declared, STRING, own, schema)
        if message is not None:
            _price(message, own, _Place(), schema)


def _compile(
    text: str,
    variables: dict[str, CelType],
    declared: Declaration,
    wanted: CelType,
    path: str,
    schema: _Schema,
) -> Checked | None:
    try:
        checked = check_types(parse(text.strip()), declared, variables)
    except CelError as error:
        schema.add(path, f"compilation failed: {error}")
        return None
    found = checked.types[checked.expression]
    if found != wanted:
        schema.add(path, f"must evaluate to a {wanted}, not a {found}")
        return None
    for read in unguarded(checked):
        schema.add(path, f"{read} may be absent; guard it by has({read})", Sort.UNGUARDED)
    since, what = checked.since
    if since > schema.oldest:
        schema.add(path, _newer(what, since, schema), Sort.NEWER)
    return checked


def _price(checked: Checked, path: str, place: _Place, schema: _Schema) -> None:
    times = place.times
    if times is None:  # at least a comma between two of them
        times = MAX_REQUEST // (checked.root.smallest + 1)
    cost = largest_cost(checked) * times
    schema.total += cost
    if cost > MOST_A_RULE:
        schema.add(
            path,
            f"may cost {cost}, more than {MOST_A_RULE}; simplify it, or bound lists, maps and "
            "strings by maxItems, maxProperties and maxLength",
            Sort.COST,
        )
