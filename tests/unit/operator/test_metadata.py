"""Labels and annotations of others make no job invalid, and labels on pods hide none."""

from __future__ import annotations

import pytest

from mmrlhf_operator.state.watches import CHILDREN, SELECTOR
from tests.unit.operator.world import running, world

FOREIGN = {
    "kapp.k14s.io/original": "x" * 33_000,
    "Example.com/owner": "someone",
    **{f"tool.example.org/n{number}": "y" for number in range(65)},
}


def test_annotations_of_others_make_no_job_invalid() -> None:
    there = world()
    there.body["metadata"]["annotations"] = {**FOREIGN, "mmrlhf.io/note": "kept"}
    there.reconcile()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    job = there.job.job
    assert job is not None
    assert job.metadata.annotations["mmrlhf.io/note"] == "kept"
    assert len(job.metadata.annotations) == 64


def test_nor_do_they_trouble_one_that_runs() -> None:
    there = running()
    before = there.status["conditions"]
    there.body["metadata"]["annotations"] = FOREIGN
    there.settle()
    assert there.status["conditions"] == before


def test_those_that_fit_stay_as_they_are() -> None:
    there = world()
    there.body["metadata"] |= {"labels": {"team": "a"}, "annotations": {"b.example.org/c": "d"}}
    job = there.job.job
    assert job is not None
    assert (job.metadata.labels, job.metadata.annotations) == (
        {"team": "a"},
        {"b.example.org/c": "d"},
    )


@pytest.mark.parametrize("plural", sorted(CHILDREN))
def test_pods_are_found_by_labels_that_nobody_else_writes(plural: str) -> None:
    expected = "mmrlhf.io/job-name" if plural == "pods" else SELECTOR
    assert CHILDREN[plural].selector == expected
