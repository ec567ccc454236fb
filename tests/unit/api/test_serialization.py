"""The canonical form and the digest of a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_api import MMDPOJob, job_json, run_digest, spec_digest
from mmrlhf_api.runs import laptop_uid
from tests.unit.api.specimens import changed, job


def test_defaults_and_wire_names_are_written() -> None:
    data = json.loads(job_json(job()))
    assert data["spec"]["optimizer"]["learningRate"] == 1e-6
    assert data["spec"]["runPolicy"]["maxRestarts"] == 3
    assert "status" not in data


def test_unset_fields_are_left_out() -> None:
    data = json.loads(job_json(job()))
    assert "maxSteps" not in data["spec"]["training"]
    assert "image" not in data["spec"]


def test_what_the_server_adds_is_left_out_but_identity_stays() -> None:
    data = changed()
    data["metadata"] |= {"uid": "1-2", "generation": 4, "resourceVersion": "99"}
    data["status"] = {"phase": "Running"}
    written = json.loads(job_json(MMDPOJob.model_validate(data)))
    assert written["metadata"] == {
        "name": "demo",
        "namespace": "default",
        "labels": {},
        "annotations": {},
        "uid": "1-2",
        "generation": 4,
    }
    assert "status" not in written


def test_a_default_written_out_changes_nothing() -> None:
    explicit = job(training__epochs=1, resources__cpu=2, optimizer__weightDecay=0)
    assert job_json(explicit) == job_json(job())
    assert spec_digest(explicit) == spec_digest(job())


@pytest.mark.parametrize(
    "change",
    [
        {"metadata__name": "other"},
        {"metadata__labels": {"a": "b"}},
        {"runPolicy__suspend": True},
        {"runPolicy__maxRestarts": 9},
    ],
)
def test_the_digest_ignores_what_may_change_while_the_job_runs(change: dict[str, Any]) -> None:
    assert spec_digest(job(**change)) == spec_digest(job())


@pytest.mark.parametrize(
    "change",
    [
        {"training__epochs": 2},
        {"training__seed": 1},
        {"data__train__uri": "other.jsonl"},
        {"objective__beta__w": 0.4},
        {"resources__nodes": 2},
    ],
)
def test_the_digest_follows_what_is_computed(change: dict[str, Any]) -> None:
    assert spec_digest(job(**change)) != spec_digest(job())


def test_the_digest_is_stable_between_releases() -> None:
    """Jobs that a cluster has accepted are held against it."""
    expected = "6c9a00b0b83c47f19310c9cc77b20a95700d67a56f4ce47e499f7c775c52c040"
    sources = [{"name": "web", "uri": "corpora/web"}]
    local = job("ClusterSampleJob", sources=sources, embedding__model__uri="models/clip")
    assert spec_digest(local) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"resources__memory": "64Gi"},
        {"resources__processesPerNode": 2},
        {"tracking__logEverySteps": 7},
        {"tracking__tags": {"team": "a"}},
        {"checkpoint__everySteps": 3},
        {"podTemplate__env": [{"name": "A", "value": "b"}]},
        {"scheduling__queue": "fast"},
        {"nodePool": "h800"},
        {"image": "registry/train:2"},
        {"runPolicy__maxRestarts": 9},
    ],
)
def test_where_and_how_a_run_runs_does_not_make_another_run(change: dict[str, Any]) -> None:
    assert run_digest(job(**change)) == run_digest(job())
    assert laptop_uid(job(**change)) == laptop_uid(job())


@pytest.mark.parametrize(
    "change",
    [
        {"training__epochs": 2},
        {"model__dtype": "bfloat16"},
        {"parallelism__zeroStage": 3},
        {"data__train__uri": "other.jsonl"},
        {"artifacts__uri": "elsewhere"},
    ],
)
def test_what_is_computed_makes_another_run(change: dict[str, Any]) -> None:
    assert run_digest(job(**change)) != run_digest(job())


def test_runs_on_disk_keep_their_names_between_releases() -> None:
    """A change here strands their checkpoints."""
    sources = [{"name": "web", "uri": "corpora/web"}]
    local = job("ClusterSampleJob", sources=sources, embedding__model__uri="models/clip")
    assert laptop_uid(local) == "a3ad62389331"
