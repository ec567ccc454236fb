"""The CEL rules of the CRDs say the same as the validators of the types."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from mmrlhf_api import KINDS, JobFileError, parse_job
from mmrlhf_api.schema import kind_schema
from tests.unit.api.specimens import changed
from tests.unit.api.test_schema import apply_defaults
from tests.unit.api.test_types import CROSS

celpy = pytest.importorskip("celpy", reason="needs cel-python, a CEL interpreter")

# Uniqueness is the list type's business on the server, not a rule's.
RULED = [case for case in CROSS if "given twice" not in case[3]]


def broken(value: Any, node: dict[str, Any], old: Any = None) -> Iterator[str]:
    """Yield the messages of the rules that do not hold, everywhere below ``value``."""
    for entry in node.get("x-kubernetes-validations", ()):
        if "oldSelf" in entry["rule"] and old is None:
            continue  # transition rules run on updates only
        environment = celpy.Environment()
        program = environment.program(environment.compile(entry["rule"]))
        given = {"self": celpy.json_to_cel(value)}
        if old is not None:
            given["oldSelf"] = celpy.json_to_cel(old)
        if not program.evaluate(given):
            yield entry["message"]
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            if name in value:
                yield from broken(value[name], child, None if old is None else old.get(name))
    elif isinstance(value, list):
        for entry in value:
            yield from broken(entry, node["items"])


def as_server(value: Any, node: dict[str, Any]) -> Any:
    """Give numbers their schema's type, as the API server does before it evaluates a rule."""
    if isinstance(value, dict):
        children = node.get("properties", {})
        return {name: as_server(child, children.get(name, {})) for name, child in value.items()}
    if isinstance(value, list):
        return [as_server(entry, node["items"]) for entry in value]
    return float(value) if node.get("type") == "number" else value


def spec_of(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    schema = kind_schema(KINDS[data["kind"]])["properties"]["spec"]
    spec = copy.deepcopy(data["spec"])
    apply_defaults(spec, schema)
    return as_server(spec, schema), schema


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_job_breaks_no_rule(kind: str) -> None:
    spec, schema = spec_of(changed(kind))
    assert not list(broken(spec, schema, old=spec))


@pytest.mark.parametrize(("kind", "change", "field", "message"), RULED)
def test_what_the_types_refuse_breaks_a_rule(
    kind: str, change: dict[str, Any], field: str, message: str
) -> None:
    del field, message
    data = changed(kind, **change)
    with pytest.raises(JobFileError):
        parse_job(data, source="x")
    spec, schema = spec_of(data)
    assert len(list(broken(spec, schema))) == 1


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"runPolicy__suspend": True}, True),
        ({"runPolicy__activeDeadlineSeconds": 5}, True),
        ({"training__epochs": 2}, False),
        ({"image": "other:1"}, False),
        ({"resources__nodes": 2}, False),
    ],
)
def test_only_run_policy_may_change(change: dict[str, Any], allowed: bool) -> None:
    old, schema = spec_of(changed())
    new, _ = spec_of(changed(**change))
    assert (not list(broken(new, schema, old=old))) is allowed
    assert (not list(broken(old, schema, old=new))) is allowed


def test_cancelling_is_for_good() -> None:
    running, schema = spec_of(changed())
    cancelled, _ = spec_of(changed(runPolicy__cancel=True))
    assert not list(broken(cancelled, schema, old=running))
    assert not list(broken(cancelled, schema, old=cancelled))
    message = "cancel cannot be taken back; create a new job"
    assert list(broken(running, schema, old=cancelled)) == [message]
