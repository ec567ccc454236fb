"""What the types accept, default to and refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mmrlhf_api import KINDS, FieldError, JobFileError, MMDPOJob, RewardTrainJob, parse_job
from mmrlhf_api.base import ApiModel, ServerModel
from mmrlhf_api.constants import FailureReason
from tests.unit.api.specimens import ENDPOINT, MINIMAL, PARTS, changed, job, step


@pytest.mark.parametrize("kind", KINDS)
def test_a_minimal_job_of_each_kind_is_valid(kind: str) -> None:
    assert job(kind).kind == kind


def test_defaults_are_those_of_the_paper() -> None:
    spec = job().spec
    beta = spec.objective.beta
    assert (beta.strategy, beta.initial, beta.w, beta.k) == ("dynamic", 0.1, 0.5, 0.5)
    assert spec.objective.pairs == "all"
    assert not spec.trainable.vision_tower
    assert spec.trainable.projector
    reward = job("RewardTrainJob").spec
    assert (reward.objective.critique_weight, reward.objective.score_weight) == (1.0, 1.0)
    assert reward.objective.head == "linear"
    assert (reward.inference.samples, reward.inference.temperature) == (1, 0.0)
    sample = job("ClusterSampleJob").spec
    assert (sample.ratio.long, sample.ratio.short, sample.ratio.mcq) == (4.0, 5.0, 1.0)
    assert sample.clustering.centres == 100
    assert sample.typing.long_threshold == 128


@pytest.mark.parametrize("learning_rate", [1e-7, 5e-7, 1e-6, 5e-6, 1e-5])
@pytest.mark.parametrize("sft_weight", [0, 0.1, 0.25, 0.5, 1.0])
def test_the_grid_of_the_paper_can_be_said(learning_rate: float, sft_weight: float) -> None:
    spec = job(optimizer__learningRate=learning_rate, objective__sftWeight=sft_weight).spec
    assert (spec.optimizer.learning_rate, spec.objective.sft_weight) == (learning_rate, sft_weight)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("MMDPOJob", {"reward": None, "objective__beta__strategy": "fixed"}),
        ("MMDPOJob", {"reward": None, "objective__beta__strategy": "implicit"}),
        ("MMDPOJob", {"objective__pairs": "hardest"}),
        ("MMDPOJob", {"data__train__fraction": 0.2}),
        ("MMDPOJob", {"objective__beta__w": 0, "objective__beta__k": 0}),
        ("RewardTrainJob", {"objective__critique": "raw"}),
        (
            "RewardTrainJob",
            {"objective__critique": "none", "inference__critique": "none"},
        ),
        ("RewardTrainJob", {"inference__critique": "groundTruth"}),
        ("RewardTrainJob", {"inference__samples": 8, "inference__temperature": 0.5}),
        ("RewardTrainJob", {"objective__head": "mlp", "objective__centerWeight": 0.01}),
    ],
)
def test_the_ablations_of_the_paper_can_be_said(kind: str, changes: dict[str, Any]) -> None:
    job(kind, **changes)


REFUSED = [
    # objective
    ("MMDPOJob", "objective__beta__initial", -0.1, "must be above 0"),
    ("MMDPOJob", "objective__beta__initial", 0, "must be above 0"),
    ("MMDPOJob", "objective__beta__w", -0.5, "must be at least 0"),
    ("MMDPOJob", "objective__beta__k", -0.5, "must be at least 0"),
    ("MMDPOJob", "objective__beta__k", math.nan, "must be a finite number"),
    ("MMDPOJob", "objective__beta__w", math.inf, "must be a finite number"),
    (
        "MMDPOJob",
        "objective__beta__strategy",
        "Dynamic",
        "must be one of dynamic, fixed or implicit",
    ),
    ("MMDPOJob", "objective__beta__implicitMomentum", 1.5, "must be at most 1"),
    ("MMDPOJob", "objective__beta__implicitKeepFraction", 0, "must be above 0"),
    ("MMDPOJob", "objective__sftWeight", -1, "must be at least 0"),
    ("MMDPOJob", "objective__pairs", "some", "must be one of all, hardest or extremes"),
    # optimisation
    ("MMDPOJob", "optimizer__learningRate", 0, "must be above 0"),
    ("MMDPOJob", "optimizer__learningRate", "1e-6", "must be a number"),
    ("MMDPOJob", "optimizer__beta2", 1.0, "must be below 1"),
    ("MMDPOJob", "optimizer__warmupRatio", 1.1, "must be at most 1"),
    ("MMDPOJob", "training__epochs", 0, "must be at least 1"),
    ("MMDPOJob", "training__epochs", 1.5, "must be an integer"),
    ("MMDPOJob", "training__epochs", True, "must be an integer"),
    ("MMDPOJob", "training__seed", -1, "must be at least 0"),
    ("MMDPOJob", "training__gradientCheckpointing", "yes", "must be true or false"),
    ("MMDPOJob", "training__gradientCheckpointing", 1, "must be true or false"),
    ("MMDPOJob", "parallelism__zeroStage", 4, "must be at most 3"),
    ("MMDPOJob", "adapter", {"kind": "dora"}, "must be one of lora"),
    ("MMDPOJob", "adapter", {"rank": 0}, "must be at least 1"),
    ("MMDPOJob", "adapter", {"alpha": 0.5}, "must be an integer"),
    ("MMDPOJob", "adapter", {"targetModules": []}, "needs at least 1 entries"),
    ("MMDPOJob", "data__train__fraction", 0, "must be above 0"),
    ("MMDPOJob", "data__train__fraction", 1.01, "must be at most 1"),
    ("MMDPOJob", "data__maxInvalidFraction", -0.1, "must be at least 0"),
    ("MMDPOJob", "data__train__uri", "", "must not be empty"),
    (
        "MMDPOJob",
        "data__train__uri",
        "http://example.org/x",
        "must be a path, file:///path or s3://",
    ),
    ("MMDPOJob", "data__train__uri", "file://x", "three slashes"),
    ("MMDPOJob", "data__train__uri", " x", "space"),
    ("MMDPOJob", "artifacts__uri", "s3://", "names no bucket"),
    ("MMDPOJob", "artifacts__uri", "s3://key:secret@bucket/x", "must not carry credentials"),
    ("MMDPOJob", "artifacts__endpoint", "s3.example.org", "must be a URL"),
    # resources and policy
    ("MMDPOJob", "resources__nodes", 0, "must be at least 1"),
    ("MMDPOJob", "resources__nodes", "2", "must be an integer"),
    ("MMDPOJob", "resources__cpu", "two", "must be a Kubernetes quantity"),
    ("MMDPOJob", "resources__cpu", 0, "must be a Kubernetes quantity"),
    ("MMDPOJob", "resources__memory", "-8Gi", "must be a Kubernetes quantity"),
    ("MMDPOJob", "resources__memory", "8gb", "must be a Kubernetes quantity"),
    ("MMDPOJob", "resources__sharedMemory", True, "must be a string"),
    ("MMDPOJob", "runPolicy__maxRestarts", -1, "must be at least 0"),
    ("MMDPOJob", "runPolicy__activeDeadlineSeconds", 0, "must be at least 1"),
    ("MMDPOJob", "metadata__name", "Upper", "must be a DNS-1123 label"),
    ("MMDPOJob", "metadata__name", "a.b", "must be a DNS-1123 label"),
    ("MMDPOJob", "metadata__name", "a\n", "must be a DNS-1123 label"),
    ("MMDPOJob", "metadata__name", "a" * 53, "must have at most 52 characters"),
    ("MMDPOJob", "metadata__labels", {"a b": "c"}, "must be a label key"),
    ("MMDPOJob", "metadata__labels", {"a": "c d"}, "must be a label value"),
    # reward model
    ("RewardTrainJob", "objective__critiqueWeight", -1, "must be at least 0"),
    ("RewardTrainJob", "inference__samples", 0, "must be at least 1"),
    ("RewardTrainJob", "inference__temperature", -0.1, "must be at least 0"),
    # sampling
    ("ClusterSampleJob", "target", 0, "must be above 0"),
    ("ClusterSampleJob", "sources", [], "needs at least 1 entries"),
    ("ClusterSampleJob", "clustering__centres", 0, "must be at least 1"),
    ("ClusterSampleJob", "failures__maxFraction", 2, "must be at most 1"),
    ("ClusterSampleJob", "ratio__long", -4, "must be at least 0"),
]


@pytest.mark.parametrize(("kind", "path", "value", "message"), REFUSED)
def test_a_field_out_of_bounds_is_refused_by_name(
    kind: str, path: str, value: object, message: str
) -> None:
    with pytest.raises(JobFileError) as caught:
        job(kind, **{path: value})
    (problem,) = caught.value.problems
    field = path.replace("__", ".")
    expected = field if field.startswith("metadata") else f"spec.{field}"
    assert problem.field.startswith(expected)
    assert message in problem.message


CROSS = [
    (
        "MMDPOJob",
        {"reward": None},
        "spec.reward",
        "needs reward.scoresUri, reward.modelUri or reward.jobName",
    ),
    ("MMDPOJob", {"reward": {}}, "spec.reward", "exactly one of scoresUri, modelUri and jobName"),
    (
        "MMDPOJob",
        {"reward": {"scoresUri": "/a", "jobName": "b"}},
        "spec.reward",
        "exactly one of scoresUri, modelUri and jobName",
    ),
    (
        "MMDPOJob",
        {"resources": {"gpusPerNode": 8}},
        "spec.resources.processesPerNode",
        "must equal gpusPerNode (8)",
    ),
    (
        "MMDPOJob",
        {"parallelism": {"engine": "none"}, "resources": {"nodes": 2}},
        "spec.parallelism.engine",
        "one process only",
    ),
    (
        "MMDPOJob",
        {"training": {"evaluateEverySteps": 5}},
        "spec.training.evaluateEverySteps",
        "needs data.evaluation",
    ),
    (
        "MMDPOJob",
        {"training": {"gradientCheckpointing": True, "recompute": {"languageModelEvery": 2}}},
        "spec.training.recompute",
        "give one of the two",
    ),
    (
        "MMDPOJob",
        {"trainable": {"projector": False, "languageModel": False}},
        "spec.trainable",
        "everything is frozen",
    ),
    (
        "RewardTrainJob",
        {"adapter": {"dropout": 0.05}},
        "spec.adapter.dropout",
        "must be 0: the log-ratios of policy and reference would carry the noise",
    ),
    (
        "MMDPOJob",
        {"artifacts": {"uri": "/out", "endpoint": "http://s3"}},
        "spec.artifacts.endpoint",
        "only an s3://",
    ),
    (
        "MMDPOJob",
        {"scheduling": {"topologyRequired": "rack", "topologyPreferred": "rack"}},
        "spec.scheduling.topologyPreferred",
        "not both",
    ),
    (
        "MMDPOJob",
        {"runPolicy": {"backoffSeconds": 10, "maxBackoffSeconds": 5}},
        "spec.runPolicy.maxBackoffSeconds",
        "at least backoffSeconds (10)",
    ),
    (
        "MMDPOJob",
        {"runPolicy": {"failureRules": [{"action": "FailJob"}]}},
        "spec.runPolicy.failureRules[0]",
        "exitCodes and reasons",
    ),
    (
        "MMDPOJob",
        {"podTemplate": {"env": [{"name": "PET_NNODES", "value": "3"}]}},
        "spec.podTemplate.env[0].name",
        "is set by mmrlhf or torchrun",
    ),
    (
        "MMDPOJob",
        {"podTemplate": {"env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}]}},
        "spec.podTemplate.env[0].value",
        "use secretKeyRef",
    ),
    (
        "MMDPOJob",
        {"podTemplate": {"env": [{"name": "A"}]}},
        "spec.podTemplate.env[0]",
        "exactly one of value and secretKeyRef",
    ),
    (
        "MMDPOJob",
        {"podTemplate": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        "spec.podTemplate.env[1].name",
        "given twice",
    ),
    (
        "MMDPOJob",
        {"podTemplate": {"tolerations": [{"operator": "Exists", "value": "x"}]}},
        "spec.podTemplate.tolerations[0].value",
        "Exists takes no value",
    ),
    (
        "RewardTrainJob",
        {"objective": {"critique": "none"}},
        "spec.inference.critique",
        "must be none",
    ),
    (
        "RewardTrainJob",
        {"inference": {"samples": 4}},
        "spec.inference.samples",
        "temperature above 0",
    ),
    (
        "RewardTrainJob",
        {"objective": {"critiqueWeight": 0, "scoreWeight": 0}},
        "spec.objective.scoreWeight",
        "nothing would be learned",
    ),
    (
        "ClusterSampleJob",
        {"ratio": {"long": 0, "short": 0, "mcq": 0}},
        "spec.ratio",
        "must be above 0",
    ),
    (
        "ClusterSampleJob",
        {"sources": [{"name": "a", "uri": "x"}, {"name": "a", "uri": "y"}]},
        "spec.sources[1].name",
        "given twice",
    ),
    (
        "StepJob",
        {"bench": PARTS["bench"]},
        "spec.bench",
        "is what step bench is told",
    ),
    ("StepJob", {"score": {"data": "/d"}}, "spec.score", "exactly one of model and modelJob"),
    ("StepJob", {**step("bench"), "resources": {"nodes": 2}}, "spec.resources", "as one process"),
    (
        "StepJob",
        {**step("responses"), "resources": {"gpusPerNode": 1}},
        "spec.resources.gpusPerNode",
        "step responses uses none",
    ),
    (
        "StepJob",
        step("responses", endpoints=[{**ENDPOINT, "apiKeyEnv": "MODEL_KEY"}]),
        "spec.responses.endpoints",
        "in podTemplate.env, by secretKeyRef; a local run takes it from its own environment",
    ),
    (
        "StepJob",
        step("critiques", endpoint={**ENDPOINT, "apiKeyEnv": "MODEL_KEY"}),
        "spec.critiques.endpoint",
        "give apiKeyEnv in podTemplate.env",
    ),
    (
        "StepJob",
        step("critiques", endpoint={**ENDPOINT, "maxCost": 3}),
        "spec.critiques.endpoint",
        "maxCost needs a price",
    ),
    (
        "StepJob",
        step("responses", endpoints=[ENDPOINT, ENDPOINT]),
        "spec.responses.endpoints[1].name",
        "given twice",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "field", "message"), CROSS)
def test_fields_that_do_not_fit_together_are_refused_by_name(
    kind: str, spec: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(JobFileError) as caught:
        job(kind, **spec)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert message in problem.message


def test_a_credential_is_never_repeated_in_a_message() -> None:
    env = [{"name": "HF_TOKEN", "value": "hf_verysecret"}]
    with pytest.raises(JobFileError) as caught:
        job(podTemplate__env=env)
    assert "hf_verysecret" not in str(caught.value)


def test_failure_rules_name_reasons_of_the_closed_set() -> None:
    rules = [{"reasons": ["OutOfMemory"], "action": "RestartJob"}]
    (rule,) = job(runPolicy__failureRules=rules).spec.run_policy.failure_rules
    assert rule.reasons == (FailureReason.OUT_OF_MEMORY,)


def test_jobs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        job().spec.training.epochs = 3


def test_an_object_of_the_api_server_is_understood() -> None:
    """Servers and operators of other versions add fields that this code has never seen."""
    data = changed()
    data["metadata"] |= {
        "uid": "1-2",
        "generation": 3,
        "creationTimestamp": "2026-01-31T12:00:00Z",
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        "fromTheFuture": True,
    }
    data["status"] = {
        "phase": "Running",
        "conditions": [
            {
                "type": "Running",
                "status": "True",
                "reason": "AllPodsRunning",
                "lastTransitionTime": "2026-01-31T12:00:00+01:00",
            }
        ],
        "fromTheFuture": {"a": 1},
    }
    read = MMDPOJob.model_validate(data)
    assert read.metadata.uid == "1-2"
    assert read.status is not None
    (condition,) = read.status.conditions
    assert condition.last_transition_time.isoformat() == "2026-01-31T11:00:00+00:00"


def test_a_person_is_told_of_unknown_metadata() -> None:
    data = changed()
    data["metadata"]["lables"] = {}
    with pytest.raises(JobFileError, match=r"metadata\.lables: unknown field; did you mean labels"):
        parse_job(data, source="x")


def test_python_code_constructs_with_python_names() -> None:
    spec = job("RewardTrainJob").spec
    made = RewardTrainJob(metadata=job().metadata, spec=spec)
    assert made.spec.optimizer.model_copy(update={"learning_rate": 1.0}).learning_rate == 1.0


def test_field_error_is_a_value_error() -> None:
    """Pydantic collects ValueErrors; anything else would end validation at the first problem."""
    assert issubclass(FieldError, ValueError)


def _all_models(model: type[ApiModel]) -> list[type[ApiModel]]:
    """Those of the API; other packages, imported by other tests, have models of their own."""
    ours = [sub for sub in model.__subclasses__() if sub.__module__.startswith("mmrlhf_api.")]
    return [model, *(found for sub in ours for found in _all_models(sub))]


@pytest.mark.parametrize("model", _all_models(ApiModel), ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type[ApiModel]) -> None:
    if model in {ApiModel, ServerModel}:
        return
    assert model.__doc__
    missing = [name for name in model.model_fields if not model.description(name)]
    assert not missing


def test_minimal_specs_are_minimal() -> None:
    for kind, spec in MINIMAL.items():
        for field in spec:
            with pytest.raises(JobFileError):
                job(kind, **{field: None})
