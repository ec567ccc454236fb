"""The pods of a job are reached by each other, and by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_api import KINDS
from mmrlhf_operator.config import OperatorConfig, load_config
from mmrlhf_operator.planning.actions import Create
from mmrlhf_operator.rendering.manifests import pods
from mmrlhf_operator.rendering.network import network_policy
from tests.unit.operator.world import CONFIG, World, job_body, world

OFF = CONFIG.model_copy(update={"network_policies": False})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_policy_chooses_the_pods_of_the_job_and_lets_them_in(kind: str) -> None:
    job = World(job_body(kind)).job.job
    assert job is not None
    policy = network_policy(job)
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    for attempt in (0, 7):
        for pod in pods(job, attempt=attempt, config=CONFIG):
            assert chosen.items() <= pod["metadata"]["labels"].items()
    assert policy["spec"] == {
        "podSelector": {"matchLabels": chosen},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": chosen}}]}],
    }
    (owner,) = policy["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("uid-1", True)
    # Another job, whatever its name and kind, is not meant.
    for other in KINDS:
        stranger = World(job_body(other, metadata__name=f"{job.metadata.name}-2")).job.job
        assert stranger is not None
        for pod in pods(stranger, attempt=0, config=CONFIG):
            assert not chosen.items() <= pod["metadata"]["labels"].items()


def test_it_is_there_before_the_first_pod() -> None:
    made = [a.kind for a in world().plan().actions if isinstance(a, Create)]
    assert made == ["ConfigMap", "NetworkPolicy", "Service", "Pod", "Pod"]


def test_one_that_was_taken_away_is_made_again_and_the_job_runs_on() -> None:
    there = world()
    there.settle()
    there.run()
    there.settle()
    there.network_policy = None
    made = there.plan()
    assert [a.kind for a in made.actions if isinstance(a, Create)] == ["NetworkPolicy"]
    there.settle()
    assert there.observed.network_policy is not None
    assert there.status["phase"] == "Running"


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    there = World(job_body(resources__nodes=2), config=OFF)
    there.settle()
    assert there.network_policy is None
    assert len(there.pods) == 2
    assert OperatorConfig().network_policies
    path = tmp_path / "config.yaml"
    path.write_text("networkPolicies: false\n")
    assert not load_config(path, environ={}).network_policies
