"""Names, labels and annotations of others make no job invalid, and labels on pods hide none."""

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


def test_of_two_jobs_of_one_name_and_different_kinds_the_later_one_gives_way() -> None:
    there = world()
    there.namesake = True
    there.reconcile()
    assert set(there.pods) == {"mmdpo-demo-0-0", "mmdpo-demo-0-1"}
    first = there.pods["mmdpo-demo-0-0"]["spec"]
    assert first["hostname"] == "mmdpo-demo-0-0"
    (container,) = there.pods["mmdpo-demo-0-1"]["spec"]["containers"]
    address = next(e["value"] for e in container["env"] if e["name"] == "PET_MASTER_ADDR")
    assert address.startswith("mmdpo-demo-0-0.mmdpo-demo.")
    there.namesake = False
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"
    there.vanish("mmdpo-demo-0-1")
    there.settle()
    assert there.status["reason"] == "PodDeleted"


def test_a_job_that_was_first_keeps_its_names() -> None:
    there = running()
    there.namesake = True
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    assert "podStem" not in there.status


def test_where_names_would_be_too_long_nothing_is_put_before_them() -> None:
    there = world(metadata__name="a" * 52)
    there.namesake = True
    there.reconcile()
    assert set(there.pods) == {f"{'a' * 52}-0-0", f"{'a' * 52}-0-1"}
