"""What each kind says that it reads, and what the operator looks up of it."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_api import KINDS
from mmrlhf_operator.acting.preflight import locations
from tests.unit.api.specimens import changed, job, step

TRAINING = {
    "model": {"uri": "s3://b/base"},
    "data": {"train": {"uri": "s3://b/train"}, "evaluation": {"uri": "s3://b/held-out"}},
}
MODEL = ("spec.model.uri", "s3://b/base", "MODEL_INCOMPLETE", "config.json")
RECORDS = [
    ("spec.data.train.uri", "s3://b/train", "DATA_MISSING", None),
    ("spec.data.evaluation.uri", "s3://b/held-out", "DATA_MISSING", None),
]
REFERENCE = ("spec.reference.logProbsUri", "s3://b/logps", "DATA_MISSING", None)


@pytest.mark.parametrize(
    ("kind", "spec", "wanted"),
    [
        ("MMDPOJob", TRAINING | {"reward": {"jobName": "judge"}}, [MODEL, *RECORDS]),
        (
            "MMDPOJob",
            TRAINING
            | {"reference": {"logProbsUri": "s3://b/logps"}, "reward": {"scoresUri": "s3://b/s"}},
            [
                MODEL,
                *RECORDS,
                REFERENCE,
                ("spec.reward.scoresUri", "s3://b/s", "DATA_MISSING", None),
            ],
        ),
        (
            "MMDPOJob",
            TRAINING | {"reward": {"modelUri": "s3://b/judge"}},
            [
                MODEL,
                *RECORDS,
                (
                    "spec.reward.modelUri",
                    "s3://b/judge",
                    "MODEL_INCOMPLETE",
                    "reward_model.json",
                ),
            ],
        ),
        ("RewardTrainJob", TRAINING, [MODEL, *RECORDS]),
        ("RewardTrainJob", TRAINING | {"model": {"uri": "/models/base"}}, RECORDS),
        (
            "ClusterSampleJob",
            {
                "embedding": {"model": {"uri": "s3://b/clip"}},
                "sources": [{"name": "a", "uri": "/data/a"}, {"name": "b", "uri": "s3://b/b"}],
            },
            [
                ("spec.embedding.model.uri", "s3://b/clip", "MODEL_INCOMPLETE", "config.json"),
                ("spec.sources[1].uri", "s3://b/b", "DATA_MISSING", None),
            ],
        ),
    ],
)
def test_what_lies_on_an_object_store_is_looked_up(
    kind: str, spec: dict[str, Any], wanted: list[tuple[str, str, str, str | None]]
) -> None:
    bucket = ("spec.artifacts.uri", "s3://runs", "BUCKET_MISSING", None)
    found = [
        (place.field, place.uri, place.reason.name, place.child)
        for place in locations(job(kind, artifacts__uri="s3://runs/all", **spec))
    ]
    assert found == [bucket, *wanted]


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if kind.needs], ids=lambda kind: kind.name
)
def test_what_a_kind_waits_for_is_of_a_kind_that_there_is(kind: Any) -> None:
    assert {need.kind for need in kind.needs} <= set(KINDS)


@pytest.mark.parametrize(
    ("kind", "changes", "left"),
    [
        ("MMDPOJob", {}, ["model", "report.html"]),
        ("RewardTrainJob", {"adapter": {}}, ["model", "adapter", "report.html"]),
        ("ClusterSampleJob", {}, ["queries.jsonl"]),
        ("StepJob", {}, ["scores.parquet"]),
        ("StepJob", step("bench"), ["bench.json", "bench.html"]),
        ("StepJob", step("answers"), ["answers.jsonl"]),
        ("StepJob", step("preferences"), ["results.json", "preferences.json"]),
        ("StepJob", step("safety"), ["results.json", "safety.json"]),
        ("StepJob", step("lmms-eval"), ["lmms_eval.json"]),
        ("StepJob", step("gate"), ["gate.json"]),
        ("StepJob", step("import"), ["records.jsonl"]),
        ("StepJob", step("export"), ["export.jsonl"]),
        ("StepJob", step("annotate-export"), ["tasks", "key.jsonl"]),
        ("StepJob", step("annotate-import"), ["records.jsonl", "unresolved.jsonl"]),
        ("StepJob", step("improve"), ["records.jsonl", "scores.parquet"]),
        (
            "StepJob",
            step("compare"),
            ["verdicts.json", "candidate.json", "champion.json", "comparison.json"],
        ),
        ("StepJob", step("report"), ["evaluation.json", "evaluation.html"]),
    ],
)
def test_what_each_kind_leaves_has_a_name_and_a_path(
    kind: str, changes: dict[str, Any], left: list[str]
) -> None:
    made = job(kind, **changes)
    outputs = list(KINDS[kind].outputs(made.spec))
    assert [one.path for one in outputs] == left
    assert len({one.name for one in outputs}) == len(outputs)


@pytest.mark.parametrize(
    ("kind", "changes", "takes"),
    [
        (
            "MMDPOJob",
            TRAINING | {"reward": {"modelUri": "/judge"}},
            {
                "model.uri": "model",
                "data.train.uri": "records",
                "data.evaluation.uri": "records",
                "reward.modelUri": "model",
            },
        ),
        ("MMDPOJob", {}, {"reward.scoresUri": "scores"}),
        ("StepJob", {}, {"model": "model", "data": "records"}),
        ("StepJob", step("responses"), {"records": "queries records"}),
        ("StepJob", step("critiques"), {"records": "records"}),
        ("StepJob", step("answers"), {"records": "queries records", "policy": "model"}),
        ("StepJob", step("preferences"), {"records": "records", "policy": "model"}),
        ("StepJob", step("lmms-eval"), {"policy": "model"}),
        (
            "StepJob",
            step("report", models=[{"name": "a", "understanding": ["/a.json"]}]),
            {"models[0].understanding[0]": "figures"},
        ),
        (
            "StepJob",
            step("safety"),
            {"responses": "queries", "tasks[0].records": "queries records"},
        ),
        ("StepJob", step("import"), {"source": "rows"}),
        ("StepJob", step("export"), {"records": "records"}),
        ("StepJob", step("export", format="vlguard"), {"records": "queries"}),
        ("StepJob", step("annotate-export"), {"queries": "queries"}),
        ("StepJob", step("annotate-import"), {"answers": "", "key": "key"}),
        (
            "StepJob",
            step("improve"),
            {"queries": "queries records", "policy": "model", "reward": "model"},
        ),
        (
            "StepJob",
            step("bench", others=[{"name": "a", "uri": "/s"}]),
            {"records": "records", "scores": "scores", "others[0].uri": "scores"},
        ),
        (
            "StepJob",
            step(
                "gate",
                verdicts="/v",
                bench="/b",
                candidateScores="/s",
                championScores="/s",
                alias="a",
                artifact="/m",
            ),
            {
                "candidate[0]": "results",
                "champion[0]": "results",
                "verdicts": "verdicts",
                "bench": "records",
                "candidateScores": "scores",
                "championScores": "scores",
                "artifact": "model adapter",
            },
        ),
    ],
)
def test_what_takes_the_place_of_an_output_says_of_which(
    kind: str, changes: dict[str, Any], takes: dict[str, str]
) -> None:
    """Only fields that a change names are compared, of a part of a step all."""
    made = job(kind, **changes)
    found = {
        one.field.partition(".")[2] if kind == "StepJob" else one.field: one
        for one in KINDS[kind].inputs(made.spec)
    }
    assert {field: " ".join(found[field].takes) for field in takes} == takes
    if kind == "StepJob":
        assert found.keys() == takes.keys()


@pytest.mark.parametrize(
    ("format", "content"),
    [("trl", "records"), ("vlguard", "queries"), ("safety-bench", "queries")],
)
def test_what_an_import_leaves_depends_on_what_it_reads(format: str, content: str) -> None:  # noqa: A002
    made = job("StepJob", **step("import", format=format))
    assert [one.content for one in KINDS["StepJob"].outputs(made.spec)] == [content]


def test_what_is_taken_takes_the_place_of_the_name() -> None:
    (needs,) = KINDS["MMDPOJob"].needs
    waiting = job(
        reward={"jobName": "judge"},
        runPolicy={
            "failureRules": [{"reasons": ["OutOfMemory"], "exitCodes": [3], "action": "FailJob"}]
        },
    )
    assert needs.named(changed(reward={"jobName": "judge"})["spec"]) == "judge"
    ready = needs.take(waiting.spec, "/runs/judge/model")
    assert (
        ready
        == job(
            reward={"modelUri": "/runs/judge/model"},
            runPolicy={
                "failureRules": [
                    {"reasons": ["OutOfMemory"], "exitCodes": [3], "action": "FailJob"}
                ]
            },
        ).spec
    )
    assert needs.taken(ready) == "/runs/judge/model"
    assert needs.taken(waiting.spec) is None
