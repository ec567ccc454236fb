"""The CEL rules of the CRDs say the same as the validators of the types, and each in its turn."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mmrlhf_api import KINDS, JobFileError, parse_job
from mmrlhf_api.kinds.step_catalog import STEPS
from mmrlhf_api.schema import MUTABLE_FIELDS, kind_schema
from tests.crd_checker.evaluation import broken
from tests.crd_checker.values import problems
from tests.unit.api.specimens import ENDPOINT, PARTS, changed, step
from tests.unit.api.test_schema import Node, apply_defaults, nodes
from tests.unit.api.test_types import CROSS

# Uniqueness is the list type's business on the server, not a rule's.
RULED = [case for case in CROSS if "given twice" not in case[3]]


@functools.cache
def schema_of(kind: str) -> Node:
    spec: Node = kind_schema(KINDS[kind])["properties"]["spec"]
    return spec


def spec_of(data: dict[str, Any]) -> tuple[dict[str, Any], Node]:
    """Return a job's spec as the server has it, all defaults filled in, and its schema."""
    schema = schema_of(data["kind"])
    spec = copy.deepcopy(data["spec"])
    apply_defaults(spec, schema)
    return spec, schema


def as_written(data: dict[str, Any]) -> dict[str, Any]:
    """Return a job's spec with the defaults of its parts as they are written, none filled in."""
    schema = schema_of(data["kind"])
    written = {
        name: copy.deepcopy(child["default"])
        for name, child in schema["properties"].items()
        if "default" in child
    }

    def merge(target: dict[str, Any], given: dict[str, Any]) -> None:
        for name, value in given.items():
            if isinstance(value, dict) and isinstance(target.get(name), dict):
                merge(target[name], value)
            else:
                target[name] = value

    merge(written, copy.deepcopy(data["spec"]))
    return written


def tasked(**task: Any) -> dict[str, Any]:
    """A step of safety with some fields of its task changed."""
    return step("safety", tasks=[{**PARTS["safety"]["tasks"][0], **task}])


def judged_by(judge: dict[str, Any], **task: Any) -> dict[str, Any]:
    """The same with another judge."""
    changes = tasked(**task)
    changes["safety"]["judges"] = [{"name": "words", **judge}]
    return changes


KEYED = {**ENDPOINT, "name": "keyed", "apiKeyEnv": "MODEL_WORD"}
CRITERION = {"name": "judge", "measure": "verdicts"}


def required(*criteria: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Changes to a minimal job that make it a gate with these rules."""
    return step("gate", require={"criteria": [*criteria], **more})


def criterion(**changes: Any) -> dict[str, Any]:
    """The same with one criterion, changed."""
    return required({**CRITERION, **changes})


# One or more jobs that each rule refuses, by its message: changes to a minimal job, and changes
# that tell what it was before, for rules about changes.
Change = dict[str, Any]
SPECIMENS: dict[str, list[Change | tuple[Change, Change]]] = {
    "only an s3:// store has an endpoint; remove it or change uri": [
        {"artifacts__uri": "/out", "artifacts__endpoint": "http://s3"},
    ],
    "only an s3:// store has a region; remove it or change uri": [
        {"artifacts__uri": "/out", "artifacts__region": "eu-1"},
    ],
    "processesPerNode must equal gpusPerNode: one process drives one GPU": [
        {"resources__gpusPerNode": 8},
        {"resources__gpusPerNode": 1, "resources__processesPerNode": 2},
    ],
    "labels of kueue.x-k8s.io/ are not for pods of a job; use spec.scheduling.queue": [
        {"podTemplate__labels": {"kueue.x-k8s.io/queue-name": "a"}},
    ],
    "annotations of kueue.x-k8s.io/ are not for pods of a job; use spec.scheduling.queue": [
        {"podTemplate__annotations": {"kueue.x-k8s.io/pod-group-total-count": "2"}},
    ],
    "give topologyRequired or topologyPreferred, not both": [
        {"scheduling__topologyRequired": "rack", "scheduling__topologyPreferred": "rack"}
    ],
    "name at least one of exitCodes and reasons": [
        {"runPolicy__failureRules": [{"action": "FailJob"}]},
        {"runPolicy__failureRules": [{"action": "FailJob", "exitCodes": [], "reasons": []}]},
    ],
    "maxBackoffSeconds must be at least backoffSeconds": [
        {"runPolicy__backoffSeconds": 601},
        {"runPolicy__maxBackoffSeconds": 9},
    ],
    "cancel cannot be taken back; create a new job": [({}, {"runPolicy__cancel": True})],
    "give exactly one of value and secretKeyRef": [
        {"podTemplate__env": [{"name": "A"}]},
        {
            "podTemplate__env": [
                {"name": "A", "value": "a", "secretKeyRef": {"name": "a", "key": "a"}}
            ]
        },
    ],
    "this variable is set by mmrlhf or torchrun; remove it": [
        {"podTemplate__env": [{"name": name, "value": "1"}]}
        for name in ("PET_NNODES", "MMRLHF_X", "RANK", "MASTER_ADDR")
    ],
    "this variable is a credential; use secretKeyRef": [
        {"podTemplate__env": [{"name": "HF_TOKEN", "value": "x"}]}
    ],
    "operator Exists takes no value; remove it or use Equal": [
        {"podTemplate__tolerations": [{"operator": "Exists", "value": "x"}]}
    ],
    "operator must be Exists when there is no key": [
        {"podTemplate__tolerations": [{"operator": "Equal", "value": "x"}]}
    ],
    "tolerationSeconds only holds for effect NoExecute": [
        {"podTemplate__tolerations": [{"operator": "Exists", "tolerationSeconds": 1, **effect}]}
        for effect in ({}, {"effect": "NoSchedule"})
    ],
    "everything is frozen; set at least one part to true": [
        {"trainable__projector": False, "trainable__languageModel": False}
    ],
    "recompute says which layers gradientCheckpointing is for; give one of the two": [
        {"training__gradientCheckpointing": True, "training__recompute": {"visionTower": True}},
        {"training__gradientCheckpointing": True, "training__recompute": {}},
    ],
    "dropout must be 0: the log-ratios of policy and reference would carry the noise of a random "
    "mask": [{"adapter": {"dropout": 0.1}}],
    "adapter.quantization keeps all weights on each process, and zeroStage 3 divides them; take "
    "another stage, or no quantization": [
        {"adapter": {"quantization": "nf4"}, "parallelism__zeroStage": 3}
    ],
    "training.evaluateEverySteps needs data.evaluation": [{"training__evaluateEverySteps": 5}],
    "parallelism.engine none runs on one process only; use auto or deepspeed": [
        {"parallelism__engine": "none", "resources__nodes": 2},
        {"parallelism__engine": "none", "resources__processesPerNode": 2},
    ],
    "offload is DeepSpeed's, of zeroStage 1 to 3; take another engine or stage, or none": [
        {"parallelism": {"engine": "none", "offload": "optimizer"}},
        {"parallelism": {"zeroStage": 0, "offload": "optimizer"}},
    ],
    "offload parameters needs zeroStage 3, which alone divides weights; or take optimizer": [
        {"parallelism": {"zeroStage": 2, "offload": "parameters"}},
        {"parallelism": {"offload": "parameters"}},
    ],
    "give exactly one of scoresUri, modelUri and jobName": [
        {"reward": {}},
        {"reward__jobName": "a"},
        {"reward__modelUri": "/a"},
    ],
    "objective.beta.strategy dynamic needs reward.scoresUri, reward.modelUri or "
    "reward.jobName; or set it to fixed (plain DPO)": [({"reward": None}, {"reward": None})],
    "all losses have weight 0; nothing would be learned": [
        {"objective__scoreWeight": 0, "objective__critiqueWeight": 0},
    ],
    "more than one sample needs generated critiques and a temperature above 0": [
        {"inference__samples": 2},
        {
            "inference__samples": 2,
            "inference__temperature": 1,
            "inference__critique": "groundTruth",
        },
    ],
    "inference.critique must be none when objective.critique is none": [
        {"objective__critique": "none"}
    ],
    "at least one of long, short, mcq, safety and video must be above 0": [
        {"ratio__long": 0, "ratio__short": 0, "ratio__mcq": 0}
    ],
    "score is what step score is told: give it for that step, and no other": [
        {**step("bench"), "score": PARTS["score"]}
    ],
    **{
        f"{STEPS[name].part} is what step {name} is told: give it for that step, and no other": [
            {STEPS[name].part: part},
            {STEPS[name].part: part, **step(other)},
        ]
        for name, part in PARTS.items()
        if name != "score"
        for other in ({"bench": "critiques"}.get(name, "bench"),)
    },
    "resources: this step runs as one process; give nodes: 1 and processesPerNode: 1": [
        {**step(name), f"resources__{field}": 2}
        for name in PARTS
        if not STEPS[name].shared
        for field in ("nodes", "processesPerNode")
    ],
    "resources.gpusPerNode must be 0: this step uses none": [
        {**step(name), "resources__gpusPerNode": 1}
        for name in PARTS
        if not (STEPS[name].shared or STEPS[name].gpu)
    ],
    "give exactly one of model and modelJob": [
        {"score": {"data": "/d"}},
        {"score__modelJob": "judge"},
    ],
    "give exactly one of scores and scoresJob": [
        step("bench", scoresJob="score"),
        {**step("bench"), "bench": {"records": "/b"}},
    ],
    "others must not be called scores, as the first model is": [
        step("bench", others=[{"name": "scores", "uri": "/s"}])
    ],
    "responses.endpoints: give each apiKeyEnv in podTemplate.env, by secretKeyRef": [
        step("responses", endpoints=[ENDPOINT, KEYED]),
        {
            **step("responses", endpoints=[KEYED]),
            "podTemplate__env": [{"name": "MODEL_WORD", "value": "x"}],
        },
        {
            **step("responses", endpoints=[KEYED]),
            "podTemplate__env": [{"name": "A", "secretKeyRef": {"name": "a", "key": "a"}}],
        },
    ],
    "critiques.endpoint: give apiKeyEnv in podTemplate.env, by secretKeyRef": [
        step("critiques", endpoint=KEYED)
    ],
    "give exactly one of responses and responsesJob": [step("safety", responsesJob="answers")],
    "give exactly one of template, classifier and server": [
        judged_by({}),
        judged_by({"template": {}, "classifier": {"model": "/data/classifier"}}),
    ],
    "prompt must hold response in braces, where the answer goes": [
        judged_by({"server": {"endpoint": ENDPOINT, "prompt": "Is it safe?"}})
    ],
    "each task must name one of the judges": [tasked(judge="other")],
    "ratio needs a judge with a server: what an answer tells is no matter of patterns": [
        tasked(measures=["ratio"])
    ],
    "ratio asks another question than asr and rta; give it a task of its own": [
        judged_by({"server": {"endpoint": ENDPOINT}}, measures=["asr", "ratio"])
    ],
    "lowerIsBetter is for ratio; less of asr and more of rta are better as it is": [
        tasked(lowerIsBetter=True)
    ],
    "prompt must hold first and second in braces, where the responses go": [
        step("compare", prompt="A or B: {first}")
    ],
    "give exactly one of candidate and candidateJob": [step("compare", candidateJob="answers")],
    "give exactly one of endpoint and reward": [step("compare", reward="/data/judge")],
    "compare.endpoint: give apiKeyEnv in podTemplate.env, by secretKeyRef": [
        step("compare", endpoint=KEYED)
    ],
    "safety.judges: give each apiKeyEnv in podTemplate.env, by secretKeyRef": [
        judged_by({"server": {"endpoint": KEYED}})
    ],
    "tracking.wandb: give apiKeyEnv in podTemplate.env, by secretKeyRef; or use mode offline": [
        {"tracking__wandb": {"project": "a"}},
        {
            "tracking__wandb": {"project": "a", "apiKeyEnv": "WORD"},
            "podTemplate__env": [{"name": "WORD", "value": "x"}],
        },
        {
            "tracking__wandb": {"project": "a"},
            "podTemplate__env": [{"name": "WORD", "secretKeyRef": {"name": "a", "key": "a"}}],
        },
    ],
    "tracking.mlflow: give tokenEnv in podTemplate.env, by secretKeyRef": [
        {
            "tracking__mlflow": {
                "trackingUri": "https://a.example",
                "experiment": "a",
                "tokenEnv": "WORD",
            }
        }
    ],
    "figure is what outcomes and mean need; verdicts have none": [
        criterion(measure="outcomes"),
        criterion(figure="right"),
    ],
    "margin is what notWorse needs; no other goal has one": [
        criterion(goal="notWorse"),
        criterion(margin=0.1),
    ],
    "margin is a share of the queries, below 1, but for a mean": [
        criterion(goal="notWorse", margin=1.0)
    ],
    "limit is missing: the goal is limit": [
        criterion(measure="mean", figure="right", goal="limit")
    ],
    "limit needs a figure; verdicts have none": [criterion(limit=0.5)],
    "minQueries must be 50 or more for a mean": [
        criterion(measure="mean", figure="right", minQueries=49)
    ],
    "give at least one of maxAsr, minRta and margin": [required(safety={})],
    "reward and against need each other": [
        required(CRITERION, alarms={"reward": "judge"}),
        required(CRITERION, alarms={"reward": "judge", "against": []}),
        required(CRITERION, alarms={"against": ["judge"], "length": "length"}),
    ],
    "give reward or length": [required(CRITERION, alarms={})],
    "give criteria or safety: a gate that asks nothing promotes anything": [required()],
    "alarms must name criteria that compare both models": [
        required(CRITERION, alarms={"reward": "judge", "against": ["bench"]}),
        required(CRITERION, alarms={"reward": "bench", "against": ["judge"]}),
        required(
            CRITERION,
            {"name": "bench", "measure": "mean", "figure": "right", "goal": "limit", "limit": 1.0},
            alarms={"reward": "judge", "against": ["bench"]},
        ),
        required(safety={"maxAsr": 0.1}, alarms={"reward": "judge", "against": ["judge"]}),
    ],
    "resamples are too few for this alpha; 20 must lie beyond the bound": [
        required(CRITERION, alpha=0.001)
    ],
    "bench and candidateScores need each other": [
        step("gate", bench="/b"),
        step("gate", candidateScores="/s"),
    ],
    "championScores needs bench": [step("gate", championScores="/s")],
    "alias and artifact need each other": [
        step("gate", alias="default/vqa"),
        step("gate", artifact="/m"),
    ],
    "store needs alias: it is where that one is": [step("gate", store="/m")],
}

# The same for rules that stand at several places.
SPECIMENS_AT: dict[tuple[str, str], list[Change | tuple[Change, Change]]] = {
    ("spec.responses.endpoints[]", "maxCost needs a price"): [
        step("responses", endpoints=[{**ENDPOINT, "maxCost": 1}])
    ],
    ("spec.critiques.endpoint", "maxCost needs a price"): [
        step("critiques", endpoint={**ENDPOINT, "maxCost": 1})
    ],
    ("spec.answers", "give exactly one of policy and policyJob"): [
        step("answers", policyJob="align"),
        {**step("answers"), "answers": {"records": "/q"}},
    ],
    ("spec.preferences", "give exactly one of policy and policyJob"): [
        step("preferences", policyJob="align"),
        {**step("preferences"), "preferences": {"records": "/q"}},
    ],
    ("spec.lmmsEval", "give exactly one of policy and policyJob"): [
        step("lmms-eval", policyJob="align"),
        {**step("lmms-eval"), "lmmsEval": {"tasks": ["mme"]}},
    ],
    ("spec.compare.endpoint", "maxCost needs a price"): [
        step("compare", endpoint={**ENDPOINT, "maxCost": 1})
    ],
    ("spec.safety.judges[].server.endpoint", "maxCost needs a price"): [
        judged_by({"server": {"endpoint": {**ENDPOINT, "maxCost": 1}}})
    ],
}

# Changes that the rule of each field refuses: one, or one there and back for what may be absent.
CHANGES: dict[str, Change] = {
    "artifacts": {"artifacts__uri": "s3://bucket/other"},
    "image": {"image": "registry/other:1"},
    "resources": {"resources__nodes": 2},
    "nodePool": {"nodePool": "h800"},
    "scheduling": {"scheduling__queue": "other"},
    "checkpoint": {"checkpoint__keep": 3},
    "tracking": {"tracking__tags": {"a": "b"}},
    "podTemplate": {"podTemplate__labels": {"a": "b"}},
    "model": {"model__dtype": "bfloat16"},
    "trainable": {"trainable__visionTower": True},
    "adapter": {"adapter": {"rank": 8}},
    "data": {"data__train__uri": "/other.jsonl"},
    "optimizer": {"optimizer__beta1": 0.8},
    "training": {"training__epochs": 2},
    "parallelism": {"parallelism__zeroStage": 3},
    "objective": {"objective__pairs": "hardest"},
    "reference": {"reference__logProbsUri": "/a"},
    "reward": {"reward__scoresUri": "/other.parquet"},
    "inference": {"inference__maxNewTokens": 8},
    "benchmark": {"benchmark": {"uri": "/b.jsonl"}},
    "sources": {"sources": [{"name": "web", "uri": "/corpora/other"}]},
    "target": {"target": 7},
    "ratio": {"ratio__video": 1},
    "typing": {"typing__longThreshold": 9},
    "embedding": {"embedding__batchSize": 9},
    "clustering": {"clustering__centres": 9},
    "selection": {"selection__seed": 9},
    "failures": {"failures__perReason": {"a": 0.5}},
    "report": {"report__map": False},
    "score": {"score__seed": 1},
}
FIXED = " cannot change after the job was created; create a new job"
SPECIMENS |= {
    f"{field}{FIXED}": [(change, {}), ({}, change)]  # both ways: there and back
    for field, change in CHANGES.items()
}
OTHERWISE: dict[str, dict[str, Any]] = {
    "gate": {"onNotPromoted": "Fail"},
    "report": {"title": "Other"},
    "prune": {"last": 6},
}
"""What else a part may say; by default another limit of invalid rows."""
SPECIMENS_OF: dict[tuple[str, str], list[Change | tuple[Change, Change]]] = {}
"""Specimens of fields that kinds call alike."""
for name in PARTS:
    if name != "score":
        other = step(name, **OTHERWISE.get(name, {"maxInvalidFraction": 0.5}))
        one = step(name)
        ways: list[Change | tuple[Change, Change]] = [(one, other), (other, one)]
        if STEPS[name].part in CHANGES:
            SPECIMENS_OF["StepJob", f"{STEPS[name].part}{FIXED}"] = ways
        else:
            SPECIMENS[f"{STEPS[name].part}{FIXED}"] = ways
SPECIMENS[f"step{FIXED}"] = [(step("bench"), {}), ({}, step("bench"))]
# No step can change without its part, which has a rule of its own.
IN_COMPANY = {f"step{FIXED}": {f"score{FIXED}", f"bench{FIXED}"}}


# One rule stands at every address: a change for each place that it stands at.
ADDRESS = (
    "must be s3://bucket/key, file:///path or an absolute path: pods know no folder that a relative"
    " path starts from"
)
PLACES: dict[str, Change] = {
    "spec.artifacts.uri": {"artifacts__uri": "out"},
    "spec.model.uri": {"model__uri": "base"},
    **{
        f"spec.data.{part}.{field}": {
            f"data__{part}": {"uri": "/rows.jsonl", "mediaRoot": "/media", field: "../x"}
        }
        for part in ("train", "evaluation")
        for field in ("uri", "mediaRoot")
    },
    **{
        f"spec.data.{part}.allowedMediaRoots[]": {
            f"data__{part}": {"uri": "/rows.jsonl", "allowedMediaRoots": ["/media", "x"]}
        }
        for part in ("train", "evaluation")
    },
    "spec.reference.logProbsUri": {"reference__logProbsUri": "ftp://host/a"},
    "spec.reward.scoresUri": {"reward": {"scoresUri": "a"}},
    "spec.reward.modelUri": {"reward": {"modelUri": "file://a"}},
    "spec.benchmark.uri": {"benchmark": {"uri": "b.jsonl"}},
    "spec.benchmark.mediaRoot": {"benchmark": {"uri": "/b.jsonl", "mediaRoot": "."}},
    "spec.benchmark.allowedMediaRoots[]": {
        "benchmark": {"uri": "/b.jsonl", "allowedMediaRoots": ["."]}
    },
    "spec.sources[].allowedMediaRoots[]": {
        "sources": [{"name": "web", "uri": "/c", "allowedMediaRoots": ["m"]}]
    },
    "spec.sources[].uri": {"sources": [{"name": "web", "uri": "corpora"}]},
    "spec.sources[].mediaRoot": {"sources": [{"name": "web", "uri": "/c", "mediaRoot": "m"}]},
    "spec.embedding.model.uri": {"embedding__model__uri": "clip"},
    **{
        f"spec.score.{field}": {f"score__{field}": "../x"}
        for field in ("data", "mediaRoot", "model")
    },
    "spec.score.allowedMediaRoots[]": {"score__allowedMediaRoots": ["x"]},
    **{
        f"spec.{STEPS[name].part}.{field}": step(name, **{field: "../x"})
        for name, fields in {
            "bench": ("records", "scores"),
            "responses": ("records", "mediaRoot"),
            "critiques": ("records",),
            "answers": ("records", "mediaRoot", "policy"),
            "preferences": ("records", "mediaRoot", "policy"),
            "lmms-eval": ("policy",),
            "safety": ("responses",),
            "import": ("source", "mediaRoot"),
            "export": ("records", "mediaRoot"),
            "annotate-export": ("queries", "mediaRoot"),
            "annotate-import": ("answers", "key"),
            "improve": ("queries", "policy", "reward", "mediaRoot"),
            "compare": ("records", "mediaRoot", "candidate", "champion"),
        }.items()
        for field in fields
    },
    "spec.compare.reward": {
        **step("compare"),
        "compare": {
            **{name: uri for name, uri in PARTS["compare"].items() if name != "endpoint"},
            "reward": "../x",
        },
    },
    "spec.prune.store": step("prune", store="x"),
    "spec.prune.also[]": step("prune", also=["x"]),
    "spec.report.comparison": step("report", comparison="../x"),
    "spec.report.models[].safety": step("report", models=[{"name": "a", "safety": "../x"}]),
    "spec.report.models[].understanding[]": step(
        "report", models=[{"name": "a", "understanding": ["x"]}]
    ),
    "spec.compare.allowedMediaRoots[]": step("compare", allowedMediaRoots=["x"]),
    "spec.safety.tasks[].records": tasked(records="../x"),
    "spec.safety.judges[].classifier.model": judged_by({"classifier": {"model": "../x"}}),
    "spec.answers.allowedMediaRoots[]": step("answers", allowedMediaRoots=["x"]),
    "spec.preferences.allowedMediaRoots[]": step("preferences", allowedMediaRoots=["x"]),
    **{
        f"spec.gate.{field}": step(
            "gate",
            **{
                "bench": "/b",
                "candidateScores": "/s",
                "alias": "a",
                "artifact": "/m",
                field: "../x",
            },
        )
        for field in (
            *("verdicts", "bench", "candidateScores", "championScores", "store", "artifact"),
        )
    },
    **{
        f"spec.gate.{field}[]": step("gate", **{field: ["x"]})
        for field in ("candidate", "champion")
    },
    "spec.bench.others[].uri": step("bench", others=[{"name": "a", "uri": "x"}]),
    **{
        f"spec.{STEPS[name].part}.allowedMediaRoots[]": step(name, allowedMediaRoots=["x"])
        for name in ("responses", "export", "annotate-export", "improve")
    },
}


def specimens(kind: str, path: str, message: str) -> list[Change | tuple[Change, Change]]:
    """Return what breaks a rule of a kind at a place."""
    if (kind, message) in SPECIMENS_OF:
        return SPECIMENS_OF[kind, message]
    if message == ADDRESS:
        return [PLACES[path]]
    return SPECIMENS_AT.get((path, message)) or SPECIMENS[message]


def rules() -> Iterator[tuple[str, str, str]]:
    """Yield kind, path and message of each rule of the CRDs."""
    for kind in KINDS:
        for path, node in nodes(kind_schema(KINDS[kind])):
            for rule in node.get("x-kubernetes-validations", ()):
                yield kind, path.removeprefix("."), rule["message"]


RULES = list(rules())


def refused(spec: dict[str, Any], schema: Node, old: dict[str, Any] | None) -> list[Any]:
    """Return path, without numbers, and message of each rule that does not hold."""
    found = broken(spec, schema, "spec", old=old)
    return [(re.sub(r"\[\d+\]", "[]", path), message) for path, message in found]


@pytest.mark.parametrize(("kind", "path", "message"), RULES)
def test_each_rule_fires_alone_and_with_its_own_message(kind: str, path: str, message: str) -> None:
    """On what the server fills in as on defaults as they are written, and on nothing else."""
    told = message in SPECIMENS or (path, message) in SPECIMENS_AT
    assert told or path in PLACES, f"no specimen for the rule of {path}"
    schema = schema_of(kind)
    for specimen in specimens(kind, path, message):
        change, before = specimen if isinstance(specimen, tuple) else (specimen, None)
        for complete in (lambda data: spec_of(data)[0], as_written):
            spec = complete(changed(kind, **change))
            # a job that was so before breaks no rule about changes
            old = spec if before is None else complete(changed(kind, **before))
            company = {(path, other) for other in IN_COMPANY.get(message, ())}
            found = refused(spec, schema, old)
            assert [one for one in found if one not in company] == [(path, message)]
            assert not list(problems(spec, schema, "spec")), "the schema refuses it, too"


def test_each_specimen_is_of_a_rule() -> None:
    several = {message for _, message in SPECIMENS_AT}
    assert SPECIMENS.keys() | several | {ADDRESS} == {message for _, _, message in RULES}
    assert SPECIMENS_AT.keys() == {(path, told) for _, path, told in RULES if told in several}
    assert PLACES.keys() == {path for _, path, message in RULES if message == ADDRESS}
    assert len(set(RULES)) == len(RULES), "two rules of a kind cannot be told apart"
    assert not set(CHANGES) & MUTABLE_FIELDS
    assert set(PARTS) == set(STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_job_breaks_no_rule(kind: str) -> None:
    spec, schema = spec_of(changed(kind))
    assert not refused(spec, schema, spec)
    assert not refused(as_written(changed(kind)), schema, None)


@pytest.mark.parametrize(("kind", "change", "field", "message"), RULED)
def test_what_the_types_refuse_breaks_a_rule(
    kind: str, change: dict[str, Any], field: str, message: str
) -> None:
    del field, message
    data = changed(kind, **change)
    with pytest.raises(JobFileError):
        parse_job(data, source="x")
    spec, schema = spec_of(data)
    assert len(refused(spec, schema, None)) == 1


ADDRESSES = [
    ("MMDPOJob", "artifacts__uri", "spec.artifacts.uri"),
    ("MMDPOJob", "model__uri", "spec.model.uri"),
    ("MMDPOJob", "data__train__uri", "spec.data.train.uri"),
    ("MMDPOJob", "data__train__mediaRoot", "spec.data.train.mediaRoot"),
    ("MMDPOJob", "reward__scoresUri", "spec.reward.scoresUri"),
    ("MMDPOJob", "reference__logProbsUri", "spec.reference.logProbsUri"),
    ("RewardTrainJob", "model__uri", "spec.model.uri"),
    ("ClusterSampleJob", "embedding__model__uri", "spec.embedding.model.uri"),
    ("StepJob", "score__data", "spec.score.data"),
    ("StepJob", "score__model", "spec.score.model"),
]


@pytest.mark.parametrize(("kind", "change", "field"), ADDRESSES)
@pytest.mark.parametrize("uri", ["models/tiny", "./tiny", "tiny", "~/tiny", "../tiny"])
def test_a_relative_path_is_for_a_laptop_only(kind: str, change: str, field: str, uri: str) -> None:
    data = changed(kind, **{change: uri})
    parse_job(data, source="x")
    with pytest.raises(JobFileError) as error:
        parse_job(data, source="x", in_cluster=True)
    (problem,) = error.value.problems
    spec, schema = spec_of(data)
    assert refused(spec, schema, None) == [(problem.field, problem.message)]
    assert "an absolute path" in problem.message


@pytest.mark.parametrize(("kind", "change", "field"), ADDRESSES)
def test_the_server_refuses_addresses_that_nobody_can_read(
    kind: str, change: str, field: str
) -> None:
    data = changed(kind, **{change: "ftp://example.org/x"})
    with pytest.raises(JobFileError, match=field):
        parse_job(data, source="x")
    spec, schema = spec_of(data)
    assert refused(spec, schema, None) == [(field, ADDRESS)]


@pytest.mark.parametrize("uri", ["/shared/x", "file:///shared/x", "s3://bucket/x"])
@pytest.mark.parametrize(("kind", "change", "field"), ADDRESSES)
def test_what_pods_can_read_passes(kind: str, change: str, field: str, uri: str) -> None:
    del field
    data = changed(kind, **{change: uri})
    parse_job(data, source="x", in_cluster=True)
    spec, schema = spec_of(data)
    assert not list(broken(spec, schema))


def test_sources_are_ruled_one_by_one() -> None:
    sources = [{"name": "a", "uri": "/a"}, {"name": "b", "uri": "b", "mediaRoot": "c"}]
    data = changed("ClusterSampleJob", sources=sources)
    with pytest.raises(JobFileError) as error:
        parse_job(data, source="x", in_cluster=True)
    fields = [problem.field for problem in error.value.problems]
    assert fields == ["spec.sources[1].uri", "spec.sources[1].mediaRoot"]
    spec, schema = spec_of(data)
    assert len(list(broken(spec, schema))) == 2


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
    assert (not refused(new, schema, old)) is allowed
    assert (not refused(old, schema, new)) is allowed


def test_cancelling_is_for_good() -> None:
    running, schema = spec_of(changed())
    cancelled, _ = spec_of(changed(runPolicy__cancel=True))
    assert not refused(cancelled, schema, running)
    assert not refused(cancelled, schema, cancelled)
    message = "cancel cannot be taken back; create a new job"
    assert refused(running, schema, cancelled) == [("spec.runPolicy", message)]


@pytest.mark.parametrize("name", ["answers", "preferences", "safety", "compare", "lmms-eval"])
def test_a_step_that_runs_a_model_alone_may_have_a_gpu(name: str) -> None:
    data = changed("StepJob", **step(name), resources__gpusPerNode=1)
    assert parse_job(data, source="x").spec.resources.gpus_per_node == 1
    assert list(broken(*spec_of(data))) == []
