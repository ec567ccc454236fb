"""Every way in which a node leaves or refuses a pod, as Kubernetes 1.20 to 1.36 tell of it."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_operator.planning.causes import CAUSES
from mmrlhf_operator.state.pods import PodView
from tests.unit.operator.world import World, running

LOW = (
    "The node was low on resource: ephemeral-storage. Threshold quantity: 20Gi, available: 19Gi."
    " Container job was using 24Ki, request is 0, has larger consumption of ephemeral-storage."
)
OWN = [
    'Usage of EmptyDir volume "tmp" exceeds the limit "200Gi". ',
    'Container job exceeded its local ephemeral storage limit "1Gi". ',
    "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
    "pod ephemeral local storage usage exceeds the total limit of containers 1Gi",
]
PRESSURE = [
    LOW,
    (
        "The node was low on resource: ephemeral-storage. Container job was using 8Gi, which"
        " exceeds its request of 0. "
    ),  # until 1.25
    "The node was low on resource: memory. ",
    "The node was low on resource: inodes. ",
    "The node was low on resource: pids. ",
]
STATUSES: list[tuple[str, str, bool, str]] = [
    *(("Evicted", message, True, "StorageFull") for message in OWN),
    *(("Evicted", message, True, "Evicted") for message in PRESSURE),
    ("Evicted", "Pod The node had condition: [DiskPressure]. ", False, "NodeRefused"),
    ("Preempting", "Preempted in order to admit critical pod", True, "Preempted"),
    ("Shutdown", "Node is shutting, evicting pods", True, "NodeLost"),
    (
        "Shutdown",
        "Pod Node is in progress of shutting down, not admitting any new pods",
        False,
        "NodeRefused",
    ),
    (
        "Terminated",
        "Pod was terminated in response to imminent node shutdown.",
        True,
        "NodeLost",
    ),
    ("NodeShutdown", "Pod was rejected as the node is shutting down.", False, "NodeRefused"),
    ("NodeLost", "Node a which was running pod b is unresponsive", True, "NodeLost"),
    (
        "UnexpectedAdmissionError",
        "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu",
        False,
        "NodeRefused",
    ),
    ("OutOfnvidia.com/gpu", "Node didn't have enough resource", False, "NodeRefused"),
    ("OutOfcpu", "Node didn't have enough resource: cpu", False, "NodeRefused"),
    ("OutOfephemeral-storage", "Node didn't have enough resource", False, "NodeRefused"),
    ("OutOfpods", "Node didn't have enough resource: pods", False, "NodeRefused"),
    ("NodeAffinity", "Predicate NodeAffinity failed", False, "NodeRefused"),
    ("MatchNodeSelector", "Predicate MatchNodeSelector failed", False, "NodeRefused"),
    ("NodePorts", "Predicate NodePorts failed", False, "NodeRefused"),
    ("TaintToleration", "Predicate TaintToleration failed", False, "NodeRefused"),
    ("TopologyAffinityError", "Resources cannot be allocated", False, "NodeRefused"),
    ("SMTAlignmentError", "SMT Alignment Error", False, "NodeRefused"),
    ("InvalidNodeInfo", "Kubelet cannot get node info.", False, "NodeRefused"),
    ("PodOSNotSupported", "Failed to admit pod", False, "NodeRefused"),
    ("VolumeAttachmentLimitExceeded", "too many volumes", False, "NodeRefused"),
    ("AppArmor", "Cannot enforce AppArmor", False, "NodeRefused"),
    ("SysctlForbidden", "forbidden sysctl", False, "NodeRefused"),
    ("OfAKubernetesToCome", "nobody knows yet", False, "NodeRefused"),
    ("OfAKubernetesToCome", "nobody knows yet", True, "Evicted"),
    ("", "", True, "Evicted"),
]
CONDITIONS = [
    ("PreemptionByScheduler", "Preempted"),
    ("DeletionByTaintManager", "NodeLost"),
    ("DeletionByDeviceTaintManager", "Evicted"),
    ("EvictionByEvictionAPI", "Evicted"),
    ("DeletionByPodGC", "NodeLost"),
    ("TerminationByKubelet", "Evicted"),
    ("OfAKubernetesToCome", "Evicted"),
]
ENDS: list[tuple[dict[str, Any], str, int]] = [
    ({"exit_code": 137, "reason": "ContainerStatusUnknown"}, "NodeLost", 0),
    ({"exit_code": 255, "reason": "Unknown"}, "NodeLost", 0),
    ({"exit_code": 255}, "Killed", 1),
    ({"exit_code": 137}, "Killed", 1),
]


def outcome(there: World) -> tuple[str, int]:
    there.tick(61)
    there.settle()
    return there.status["reason"], there.status["restarts"]


@pytest.mark.parametrize(("status", "message", "begun", "reason"), STATUSES)
def test_what_a_kubelet_says(status: str, message: str, begun: bool, reason: str) -> None:
    there = running()
    there.fail("demo-0-1", reason=status, message=message, begun=begun)
    assert outcome(there) == (reason, 0)
    assert there.status["phase"] == ("Failed" if reason == "StorageFull" else "Restarting")


@pytest.mark.parametrize(("condition", "reason"), CONDITIONS)
def test_what_a_condition_says(condition: str, reason: str) -> None:
    there = running()
    there.disrupt("demo-0-1", condition)
    there.finish("demo-0-1", exit_code=143)
    assert outcome(there) == (reason, 0)


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        ("Preempting", "Preempted in order to admit critical pod", "Preempted"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "NodeLost"),
        ("Evicted", LOW, "Evicted"),
    ],
)
def test_the_status_is_more_exact_than_the_one_condition_of_kubelets(
    status: str, message: str, reason: str
) -> None:
    there = running()
    there.finish("demo-0-1", exit_code=137)
    there.disrupt("demo-0-1", "TerminationByKubelet")
    there.fail("demo-0-1", reason=status, message=message)
    assert outcome(there) == (reason, 0)


@pytest.mark.parametrize(("end", "reason", "restarts"), ENDS)
def test_what_a_container_says(end: dict[str, Any], reason: str, restarts: int) -> None:
    there = running()
    there.finish("demo-0-1", **end)
    assert outcome(there) == (reason, restarts)


def test_each_row_is_met_by_an_example_and_has_its_source() -> None:
    views = []
    for status, message, begun, _ in STATUSES:
        there = running()
        there.fail("demo-0-1", reason=status, message=message, begun=begun)
        views.append(PodView.read(there.pods["demo-0-1"]))
    for condition, _ in CONDITIONS:
        there = running()
        there.disrupt("demo-0-1", condition)
        views.append(PodView.read(there.pods["demo-0-1"]))
    for end, _, _ in ENDS:
        there = running()
        there.finish("demo-0-1", **end)
        views.append(PodView.read(there.pods["demo-0-1"]))
    met = {
        next((n for n, cause in enumerate(CAUSES) if view and cause.fits(view)), None)
        for view in views
    }
    assert set(range(len(CAUSES))) <= met
    assert all(cause.source and cause.versions for cause in CAUSES)
