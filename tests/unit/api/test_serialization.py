"""The canonical form and the digest of a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_api import MMDPOJob, job_json, spec_digest
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
    """Runs on disk are named after it: a change here strands their checkpoints."""
    expected = "6c9a00b0b83c47f19310c9cc77b20a95700d67a56f4ce47e499f7c775c52c040"
    sources = [{"name": "web", "uri": "corpora/web"}]
    local = job("ClusterSampleJob", sources=sources, embedding__model__uri="models/clip")
    assert spec_digest(local) == expected
