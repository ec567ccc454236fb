"""Each rule says the same in CEL, to the API server, and in Python, to everyone else."""

from __future__ import annotations

import copy
import itertools
import re
import types
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from mmrlhf_api import KINDS
from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.schema import kind_schema
from mmrlhf_api.yamltree import FieldPath
from tests.crd_checker.evaluation import broken
from tests.unit.api.specimens import ENDPOINT, PARTS
from tests.unit.api.test_schema import Node, apply_defaults

STRINGS = ("a", "/data/a", "s3://bucket/a", "RANK", "MMRLHF_A", "HF_TOKEN", "https://a.example")
ABSENT = object()


_KEYED = {**ENDPOINT, "apiKeyEnv": "KEY"}
_SECRET = {"podTemplate": {"env": [{"name": "KEY", "secretKeyRef": {"name": "a", "key": "b"}}]}}
_TASK = PARTS["safety"]["tasks"][0]
_SPEC = {"artifacts": {"uri": "/out"}}
_TRAIN = {**_SPEC, "model": {"uri": "/m"}, "data": {"train": {"uri": "/d"}}}
_FLOW = {"trackingUri": "https://a", "experiment": "a"}
WRITTEN: dict[str, list[dict[str, Any]]] = {
    "responses.endpoints: give each apiKeyEnv in podTemplate.env, by secretKeyRef": [
        {**_SPEC, "step": "responses", "responses": {"records": "/q", "endpoints": [one]}, **pods}
        for one in (ENDPOINT, _KEYED)
        for pods in ({}, _SECRET)
    ],
    "critiques.endpoint: give apiKeyEnv in podTemplate.env, by secretKeyRef": [
        {**_SPEC, "step": "critiques", "critiques": {"records": "/q", "endpoint": one}, **pods}
        for one in (ENDPOINT, _KEYED)
        for pods in ({}, _SECRET)
    ],
    "safety.judges: give each apiKeyEnv in podTemplate.env, by secretKeyRef": [
        {
            **_SPEC,
            "step": "safety",
            "safety": {**PARTS["safety"], "judges": [{"name": "words", "server": server}]},
            **pods,
        }
        for server in ({"endpoint": ENDPOINT}, {"endpoint": _KEYED})
        for pods in ({}, _SECRET)
    ],
    **{
        message: [{**PARTS["safety"], "tasks": [{**_TASK, **task}]} for task in tasks]
        for message, tasks in {
            "each task must name one of the judges": ({}, {"judge": "other"}),
            "ratio needs a judge with a server: what an answer tells is no matter of patterns": (
                {},
                {"measures": ["ratio"]},
                {"measures": ["ratio"], "judge": "other"},
            ),
        }.items()
    },
    "ratio asks another question than asr and rta; give it a task of its own": [
        {**_TASK, "measures": measures} for measures in (["ratio"], ["ratio", "asr"], ["asr"])
    ],
    "compare.endpoint: give apiKeyEnv in podTemplate.env, by secretKeyRef": [
        {**_SPEC, "step": "compare", "compare": {**PARTS["compare"], "endpoint": one}, **pods}
        for one in (ENDPOINT, _KEYED)
        for pods in ({}, _SECRET)
    ],
    **{
        message: [PARTS["compare"], {**PARTS["compare"], **more}]
        for message, more in {
            "prompt must hold first and second in braces, where the responses go": {
                "prompt": "{second}"
            },
            "give exactly one of candidate and candidateJob": {"candidateJob": "a"},
            "give exactly one of endpoint and reward": {"reward": "/a"},
        }.items()
    },
    "give exactly one of responses and responsesJob": [
        {**PARTS["safety"], "responses": "/a", "responsesJob": "a"},
        PARTS["safety"],
    ],
    "prompt must hold response in braces, where the answer goes": [
        {"endpoint": ENDPOINT, **prompt}
        for prompt in ({}, {"prompt": "a"}, {"prompt": "a {response}"})
    ],
    "tracking.wandb: give apiKeyEnv in podTemplate.env, by secretKeyRef; or use mode offline": [
        {**_TRAIN, "tracking": {"wandb": {"project": "a", **one}}, **pods}
        for one in ({"apiKeyEnv": "KEY"}, {"mode": "offline"}, {"mode": "online"})
        for pods in ({}, _SECRET)
    ],
    "tracking.mlflow: give tokenEnv in podTemplate.env, by secretKeyRef": [
        {**_TRAIN, "tracking": {"mlflow": {**_FLOW, **one}}, **pods}
        for one in ({}, {"tokenEnv": "KEY"})
        for pods in ({}, _SECRET)
    ],
    "adapter.quantization keeps all weights on each process, and zeroStage 3 divides them; take "
    "another stage, or no quantization": [
        {**_TRAIN, "adapter": adapter, "parallelism": {"zeroStage": stage}}
        for adapter in ({}, {"quantization": "nf4"})
        for stage in (2, 3)
    ],
    "others must not be called scores, as the first model is": [
        {"records": "/r", "scores": "/s", "others": [{"name": name, "uri": "/s"}]}
        for name in ("scores", "other")
    ],
    **{
        message: [
            {"require": {"safety": {"maxAsr": 0.1}}, **dict.fromkeys(given, "/a"), **named}
            for given in chosen
            for named in ({}, {"alias": "default/vqa", "artifact": "/m"})
        ]
        for message, chosen in (
            (
                "bench and candidateScores need each other",
                ((), ("bench",), ("candidateScores",), ("bench", "candidateScores")),
            ),
            (
                "championScores needs bench",
                ((), ("bench",), ("championScores",), ("bench", "championScores")),
            ),
            ("store needs alias: it is where that one is", ((), ("store",))),
        )
    },
    "alias and artifact need each other": [
        {"require": {"safety": {"maxAsr": 0.1}}, **given}
        for given in ({}, {"alias": "a"}, {"artifact": "/m"}, {"alias": "a", "artifact": "/m"})
    ],
    "resamples are too few for this alpha; 20 must lie beyond the bound": [
        {"safety": {"maxAsr": 0.1}, **given}
        for given in (
            {},
            {"alpha": 0.001},
            {"resamples": 1000},
            {"alpha": 0.01, "resamples": 1000},
            {"alpha": 0.001, "resamples": 20_000},
        )
    ],
    "margin is a share of the queries, below 1, but for a mean": [
        {"name": "a", "measure": measure, "figure": "f", "goal": "notWorse", "margin": margin}
        for measure in ("outcomes", "mean")
        for margin in (0.5, 1.0)
    ],
    "alarms must name criteria that compare both models": [
        {
            "criteria": [
                {"name": "a", "measure": "verdicts"},
                {"name": "b", "measure": "mean", "figure": "b", "goal": goal, **more},
            ],
            "alarms": {"reward": reward, "against": [against]},
        }
        for goal, more in (("better", {}), ("limit", {"limit": 0.5}))
        for reward in "abc"
        for against in "abc"
    ],
    "maxCost needs a price": [
        {**ENDPOINT, **price, "maxCost": 1.0}
        for price in ({}, {"price": {"input": 1, "output": 1}})
    ],
}
"""Specimens of rules that look into lists, or whose objects cannot be made up."""


def ruled(annotation: Any, node: Node) -> Iterator[tuple[type[ApiModel], Node]]:
    """Every model with rules below a type, with the schema that the CRD has of it."""
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        if annotation.rules:
            yield annotation, node
        for field in annotation.model_fields.values():
            if field.alias in node.get("properties", {}):
                yield from ruled(field.annotation, node["properties"][field.alias])
    for argument in getattr(annotation, "__args__", ()):
        yield from ruled(argument, node.get("items", node))


def _cases() -> dict[str, tuple[type[ApiModel], Node, Rule]]:
    found = {}
    for kind in KINDS.values():
        spec = kind_schema(kind)["properties"]["spec"]
        for model, node in ruled(kind.model.model_fields["spec"].annotation, spec):
            for rule in model.rules:
                found[f"{model.__name__}: {rule.message}"] = (model, node, rule)
    return found


CASES = _cases()
CHECKED = {name: case for name, case in CASES.items() if case[2].check is not None}


def values(node: Node) -> list[Any]:
    """Values of a node that a rule could tell apart, not all of them valid."""
    if "enum" in node:
        return list(node["enum"])
    low = node.get("minimum", 0)
    match node["type"]:
        case "boolean":
            return [False, True]
        case "integer":
            return [low, low + 1, low + 7]
        case "number":
            return [0.0, 0.5]
        case "array":
            some = [[value] for value in values(node["items"])[:2]]
            return some if node.get("minItems") else [[], *some]
        case "object" if "additionalProperties" in node:
            return [{}, {"a": "b"}, {"kueue.x-k8s.io/queue-name": "b"}]
        case "object":
            return [smallest(node)]
    return list(STRINGS)


def smallest(node: Node) -> Node:
    """An object with its required fields only."""
    properties = node.get("properties", {})
    return {name: values(properties[name])[0] for name in node.get("required", ())}


def named(cel: str, node: Node) -> Iterator[tuple[FieldPath, Node, bool]]:
    """Fields that a rule names, with their schemas and whether they must be there."""
    for text in sorted(set(re.findall(r"self((?:\.\w+)+)", cel))):
        path: list[str] = []
        here, required = node, True
        for name in text.split(".")[1:]:
            if name not in here.get("properties", {}):
                break  # a method of CEL
            required = name in here.get("required", ())
            here = here["properties"][name]
            path.append(name)
        yield tuple(path), here, required


def specimens(model: type[ApiModel], node: Node, rule: Rule) -> Iterator[tuple[ApiModel, Node]]:
    """Objects that differ in what a rule names, valid but for the rules of their own type."""
    free: type[ApiModel] = types.new_class(
        model.__name__, (model,), exec_body=lambda body: body.update(rules=())
    )
    for data in copy.deepcopy(WRITTEN.get(rule.message, [])):
        read = free.model_validate(data)
        apply_defaults(data, node)
        yield read, data
    fields = list(named(rule.cel, node))
    choices = [[*values(child), *([] if needed else [ABSENT])] for _, child, needed in fields]
    for chosen in itertools.product(*choices):
        data = smallest(node)
        for (path, _, _), value in zip(fields, chosen, strict=True):
            if value is ABSENT:
                continue
            holder = data
            for part in path[:-1]:
                holder = holder.setdefault(str(part), {})
            holder[str(path[-1])] = copy.deepcopy(value)
        try:
            read = free.model_validate(data)
        except ValidationError:
            continue
        apply_defaults(data, node)
        yield read, data


@pytest.mark.parametrize("name", CHECKED)
def test_check_and_cel_agree(name: str) -> None:
    model, node, rule = CHECKED[name]
    assert rule.check is not None
    alone = {**node, "x-kubernetes-validations": [{"rule": rule.cel, "message": rule.message}]}
    seen = set()
    for read, data in specimens(model, node, rule):
        holds = ("self", rule.message) not in broken(data, alone)
        assert bool(rule.check(read)) is holds, data
        seen.add(holds)
    assert seen == {True, False}, "specimens that keep and that break it"


def test_every_rule_of_the_crds_is_looked_at() -> None:
    """A rule without a check is about changes, which only the API server sees."""
    unchecked = [case[2] for name, case in CASES.items() if name not in CHECKED]
    assert all("oldSelf" in rule.cel for rule in unchecked)
    assert len(CHECKED) >= 20


@pytest.mark.parametrize("name", CHECKED)
def test_a_breach_is_told_with_its_field(name: str) -> None:
    """Fields are wire names of the object, and what is told repeats neither field nor braces."""
    model, node, rule = CHECKED[name]
    assert rule.check is not None
    here = node
    for part in filter(None, rule.field.split(".")):
        here = here["properties"][part]
    read = next(read for read, _ in specimens(model, node, rule) if not rule.check(read))
    breach = rule.breach(read)
    assert breach is not None
    assert breach.field == rule.field
    assert not re.search(r"[{}]", breach.message)
    assert not rule.field or not breach.message.startswith(f"{rule.field} ")
