"""Jobs in queues: what is asked of Kueue, and what follows from its answers.

`Kueue` below does to a Workload what Kueue's own controllers do (apis/kueue/v1beta2 and
pkg/workload of kubernetes-sigs/kueue): it sets conditions and the admission, and waits for the
job's controller to give quota back.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from mmrlhf_api import JobFileError, parse_job
from mmrlhf_api.scheduling import Scheduling
from mmrlhf_operator.acting.queues import Queues
from mmrlhf_operator.errors import QueuesChangedError, ServerError
from mmrlhf_operator.gangs.providers import PROVIDERS, choose
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.planning.actions import Create, DeleteWorkload, PatchWorkload
from mmrlhf_operator.planning.queueing import needs_gang
from mmrlhf_operator.rendering.names import pod_name
from mmrlhf_operator.state.views import Finding, after
from tests.unit.api.specimens import changed
from tests.unit.operator.world import World, job_body

ALL = frozenset(provider.name for provider in PROVIDERS)
FLAVOR = {
    "spec": {
        "nodeLabels": {"pool": "h800"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
}


class Kueue:
    """What Kueue's controllers do to the Workload of a job."""

    def __init__(self, there: World) -> None:
        self.there = there

    @property
    def workload(self) -> dict[str, Any]:
        assert self.there.workload is not None
        return self.there.workload

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        entries = self.workload.get("status", {}).get("conditions", ())
        return {entry["type"]: entry for entry in entries}

    def says(self, kind: str, status: str, reason: str, message: str = "") -> None:
        known = self.workload.setdefault("status", {})
        kept = [entry for entry in known.get("conditions", ()) if entry["type"] != kind]
        entry = {"type": kind, "status": status, "reason": reason, "message": message}
        known["conditions"] = [*kept, {**entry, "lastTransitionTime": "2026-01-31T12:00:00Z"}]
        version = int(self.workload["metadata"]["resourceVersion"])
        self.workload["metadata"]["resourceVersion"] = str(version + 1)

    def admit(self, **assigned: Any) -> None:
        assignment = {"name": "main", "flavors": {"cpu": "h800"}, **assigned}
        self.there.flavors = {"h800": FLAVOR}
        status = self.workload.setdefault("status", {})
        status["admission"] = {"clusterQueue": "research", "podSetAssignments": [assignment]}
        self.says("QuotaReserved", "True", "QuotaReserved")
        self.says("Evicted", "False", "QuotaReserved")
        self.says("Admitted", "True", "Admitted")

    def evict(self, reason: str = "Preempted", message: str = "to accommodate vip") -> None:
        self.says("Evicted", "True", reason, message)

    def holds_quota(self) -> bool:
        """Whether pods may count on it."""
        return "admission" in self.workload.get("status", {}) and not self.is_finished()

    def is_finished(self) -> bool:
        return self.conditions.get("Finished", {}).get("status") == "True"


def queued(**changes: Any) -> tuple[World, Kueue]:
    """A job of two nodes in queue team-a, which has asked for its place."""
    wanted = {"resources__nodes": 2, "scheduling": {"queue": "team-a"}, **changes}
    there = World(job_body(**wanted), offered=frozenset({"kueue"}))
    there.settle()
    return there, Kueue(there)


def waits_in_queue(there: World) -> bool:
    return there.workload is not None


def running(**changes: Any) -> tuple[World, Kueue]:
    there, kueue = queued(**changes)
    kueue.admit()
    there.settle()
    there.run()
    there.settle()
    return there, kueue


def test_nothing_starts_before_it_is_admitted() -> None:
    there, kueue = queued()
    assert there.pods == {}
    assert (there.status["phase"], there.status["reason"]) == ("Pending", "Queued")
    assert "waits in queue team-a" in there.status["message"]
    body = kueue.workload
    assert body["spec"]["queueName"] == "team-a"
    (pods,) = body["spec"]["podSets"]
    assert (pods["name"], pods["count"]) == ("main", 2)
    assert "minCount" not in pods  # half a gang computes nothing
    assert body["metadata"]["ownerReferences"][0]["controller"]
    assert body["metadata"]["labels"]["kueue.x-k8s.io/job-uid"] == "uid-1"
    assert "finalizers" not in body["metadata"]
    kueue.says("QuotaReserved", "False", "Pending", "insufficient unused quota for nvidia.com/gpu")
    there.settle()
    assert there.pods == {}
    assert "insufficient unused quota for nvidia.com/gpu" in there.status["message"]
    assert "pendingSince" not in there.status  # the queue's time is not that of nodes and images


def test_pods_go_where_they_were_admitted_to() -> None:
    there, kueue = queued()
    kueue.admit()
    kueue.workload["status"]["admissionChecks"] = [
        {
            "name": "provisioning",
            "state": "Ready",
            "podSetUpdates": [
                {
                    "name": "main",
                    "labels": {"a": "b"},
                    "annotations": {"c": "d"},
                    "nodeSelector": {"e": "f"},
                    "tolerations": [{"key": "g", "operator": "Exists"}],
                }
            ],
        }
    ]
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    for body in there.pods.values():
        spec, metadata = body["spec"], body["metadata"]
        assert spec["nodeSelector"] == {"pool": "h800", "e": "f"}
        keys = [entry["key"] for entry in spec["tolerations"]]
        assert {"gpu", "g"} <= set(keys)
        assert metadata["annotations"]["kueue.x-k8s.io/workload"] == "mmdpo-demo"
        assert metadata["labels"]["kueue.x-k8s.io/podset"] == "main"
        assert metadata["labels"]["a"] == "b"
        assert metadata["annotations"]["c"] == "d"
        # Kueue's webhook for pods would take one with this for a gang of its own.
        assert "kueue.x-k8s.io/queue-name" not in metadata["labels"]
        assert "schedulingGates" not in spec


def test_a_flavour_that_cannot_be_read_keeps_pods_back() -> None:
    there, kueue = queued()
    kueue.admit()
    there.flavors, there.flavor_problem = {}, "the operator may not (forbidden)"
    made = there.settle()
    assert there.pods == {}
    assert made.requeue_after is not None, "nothing else tells that it can be read"
    assert "ResourceFlavor h800 cannot be read: the operator may not" in there.status["message"]


def test_kueue_places_by_topology() -> None:
    there, kueue = queued(scheduling={"queue": "team-a", "topologyRequired": "rack"})
    (pods,) = kueue.workload["spec"]["podSets"]
    assert pods["topologyRequest"] == {"required": "rack", "podIndexLabel": "mmrlhf.io/index"}
    kueue.admit(topologyAssignment={"levels": ["rack"]})
    there.settle()
    for body in there.pods.values():
        assert body["spec"]["schedulingGates"] == [{"name": "kueue.x-k8s.io/topology"}]
        required = body["metadata"]["annotations"]["kueue.x-k8s.io/podset-required-topology"]
        assert required == "rack"
        assert "affinity" not in body["spec"]


def test_priority_of_the_pods_is_that_of_the_workload() -> None:
    body = job_body(scheduling={"queue": "team-a", "priorityClass": "high"})
    there = World(body, offered=frozenset({"kueue"}), priority=1000)
    there.settle()
    spec = Kueue(there).workload["spec"]
    reference = {"group": "scheduling.k8s.io", "kind": "PriorityClass", "name": "high"}
    assert (spec["priorityClassRef"], spec["priority"]) == (reference, 1000)
    there = World(body, offered=frozenset({"kueue"}))  # nobody knows its value: Kueue's rule
    there.settle()
    assert "priorityClassRef" not in Kueue(there).workload["spec"]


@pytest.mark.parametrize("admits", [False, True], ids=["waits", "runs"])
def test_a_priority_that_was_not_to_be_read_is_added_once_it_is(admits: bool) -> None:
    body = job_body(scheduling={"queue": "team-a", "priorityClass": "high"}, resources__nodes=2)
    there = World(body, offered=frozenset({"kueue"}), priority_problem="it does not exist")
    there.settle()
    kueue = Kueue(there)
    assert (
        "it has no priority there: PriorityClass high cannot be read: it does not exist"
        in (there.status["message"])
    )
    if admits:
        kueue.admit()
        there.settle()
        there.run()
        there.settle()
    assert 0.0 < (there.plan().requeue_after or 0.0) <= 60.0, "nobody watches classes"
    there.priority, there.priority_problem = 1000, None
    there.settle()
    reference = {"group": "scheduling.k8s.io", "kind": "PriorityClass", "name": "high"}
    spec = kueue.workload["spec"]
    assert (spec["priorityClassRef"], spec["priority"]) == (reference, 1000)
    assert "no priority" not in there.status.get("message", "")
    assert there.status["phase"] == ("Running" if admits else "Pending")


def test_a_workload_that_has_finished_gets_no_priority() -> None:
    there, kueue = running(scheduling={"queue": "team-a", "priorityClass": "high"})
    for name in list(there.pods):
        there.finish(name)
    there.settle()
    assert kueue.is_finished()
    there.priority = 1000
    there.settle()
    assert "priority" not in kueue.workload["spec"]


def test_a_job_that_is_preempted_makes_way_and_queues_again() -> None:
    there, kueue = running(runPolicy={"maxRestarts": 0})
    assert kueue.conditions["PodsReady"]["status"] == "True"
    assert kueue.conditions["PodsReady"]["reason"] == "Started"
    kueue.evict()
    there.reconcile()
    assert there.status["reason"] == "Preempted"
    assert "to accommodate vip" in there.conditions["Restarting"]["message"]
    assert kueue.holds_quota()  # pods still run: nobody else may have it yet
    there.settle()
    assert kueue.holds_quota()
    there.vanish()
    there.settle()
    assert not kueue.holds_quota()
    states = {kind: kueue.conditions[kind]["status"] for kind in ("QuotaReserved", "Admitted")}
    assert states == {"QuotaReserved": "False", "Admitted": "False"}
    assert kueue.conditions["Requeued"]["status"] == "True"
    there.tick(3600)
    there.settle()
    assert there.pods == {}
    assert there.status["reason"] == "Queued"
    assert (there.status.get("restarts", 0), there.status["attempt"]) == (0, 1)
    kueue.admit()
    there.settle()
    assert set(there.pods) == {"demo-1-0", "demo-1-1"}
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"


def test_other_evictions_are_requeued_by_kueue_itself() -> None:
    there, kueue = running()
    kueue.evict("AdmissionCheck", "at least one admission check is false")
    there.settle()
    there.vanish()
    there.settle()
    assert not kueue.holds_quota()
    assert "Requeued" not in kueue.conditions


def test_a_restart_keeps_its_place() -> None:
    there, kueue = running()
    uid = kueue.workload["metadata"]["uid"]
    there.finish("demo-0-0", exit_code=137)
    there.finish("demo-0-1", exit_code=137)
    there.settle()
    assert kueue.conditions["PodsReady"]["status"] == "False"
    assert kueue.conditions["PodsReady"]["reason"] == "WaitForRecovery"
    there.tick(3600)
    there.settle()
    assert "demo-1-0" in there.pods
    assert kueue.holds_quota()
    assert kueue.workload["metadata"]["uid"] == uid
    there.run("demo-1-0", "demo-1-1")
    there.settle()
    assert kueue.conditions["PodsReady"]["reason"] == "Recovered"


def test_a_job_that_is_held_waits_until_it_is_let_go() -> None:
    there, kueue = running()
    kueue.workload["spec"]["active"] = False
    kueue.evict("Deactivated", "the workload is deactivated")
    there.settle()
    there.vanish()
    there.tick(3600)
    there.settle()
    assert not kueue.holds_quota()
    assert there.pods == {}
    assert "spec.active" in there.status["message"]
    assert there.conditions["Restarting"]["status"] == "True"  # no attempt has started
    kueue.workload["spec"]["active"] = True
    kueue.admit()
    there.settle()
    assert "demo-1-0" in there.pods


def test_suspension_leaves_the_queue_once_no_pod_runs() -> None:
    there, _ = running()
    there.edit(runPolicy={"suspend": True})
    there.settle()
    assert waits_in_queue(there)
    there.vanish()
    there.settle()
    assert not waits_in_queue(there)
    assert there.status["phase"] == "Suspended"
    there.edit(runPolicy={"suspend": False})
    there.settle()
    kueue = Kueue(there)
    assert there.pods == {}
    kueue.admit()
    there.settle()
    assert "demo-1-0" in there.pods


@pytest.mark.parametrize(("code", "reason"), [(0, "Succeeded"), (2, "Failed")])
def test_the_end_is_told_when_no_pod_runs(code: int, reason: str) -> None:
    there, kueue = running()
    there.finish("demo-0-0", exit_code=code)
    there.finish("demo-0-1", exit_code=code)
    there.settle()
    assert there.status["phase"] == reason
    assert kueue.is_finished()
    assert kueue.conditions["Finished"]["reason"] == reason
    actions = [action for made in there.history for action in made.actions]
    assert sum(isinstance(a, PatchWorkload) and "Finished" in str(a.status) for a in actions) == 1


def test_quota_is_kept_for_pods_that_run_on_after_a_cancel() -> None:
    there, kueue = running()
    there.edit(runPolicy={"cancel": True})
    there.settle()
    assert there.status["phase"] == "Failed"
    assert not kueue.is_finished()
    there.vanish()
    there.settle()
    assert kueue.is_finished()


def test_pods_stop_when_their_workload_is_gone() -> None:
    there, _ = running()
    there.workload = None
    there.reconcile()
    assert there.status["reason"] == "Preempted"
    assert "mmdpo-demo is gone" in there.conditions["Restarting"]["message"]
    there.vanish()
    there.tick(3600)
    there.settle()
    assert there.observed.workload is not None  # it asks anew
    assert not list(there.pods)


def test_a_job_that_began_without_a_queue_goes_on() -> None:
    there = World(job_body(resources__nodes=2, scheduling={"gang": "auto"}))
    there.settle()
    there.run()
    there.offered = frozenset({"kueue"})
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.observed.workload is None


def test_what_a_server_refuses_is_told() -> None:
    there = World(
        job_body(scheduling={"queue": "team-a"}),
        offered=frozenset({"kueue"}),
    )
    words = "the API server refuses Workload mmdpo-demo: no such queue"
    there.conflicts = (Finding(reason="CreationRefused", message=words),)
    there.retry_at = after(there.now, 5)
    made = there.plan()
    assert made.status.message == words
    assert not [action for action in made.actions if isinstance(action, Create)]
    assert made.requeue_after == 5


@pytest.mark.parametrize("provider", ["volcano", "coscheduling"])
def test_a_gang_is_told_to_the_scheduler_that_knows_gangs(provider: str) -> None:
    body = job_body(
        resources={"nodes": 2, "gpusPerNode": 8, "processesPerNode": 8, "cpu": "1500m"},
        scheduling={"gang": provider},
    )
    there = World(body, offered=frozenset({provider}))
    there.settle()
    group = there.groups["demo-0"]
    assert group["spec"]["minMember"] == 2
    assert group["spec"]["minResources"]["nvidia.com/gpu"] == "16"
    assert group["spec"]["minResources"]["cpu"] == "3"
    assert group["metadata"]["ownerReferences"][0]["controller"]
    for pod in there.pods.values():
        metadata, spec = pod["metadata"], pod["spec"]
        if provider == "volcano":
            assert metadata["annotations"]["scheduling.k8s.io/group-name"] == "demo-0"
            assert spec["schedulerName"] == "volcano"
        else:
            assert metadata["labels"]["scheduling.x-k8s.io/pod-group"] == "demo-0"
            assert spec["schedulerName"] == "scheduler-plugins-scheduler"
    there.run()
    there.settle()
    for index in (0, 1):
        there.finish(pod_name("demo", attempt=0, index=index), exit_code=137)
    there.settle()
    there.tick(3600)
    there.settle()
    assert set(there.groups) == {"demo-1"}
    there.run()
    there.settle()
    for index in (0, 1):
        there.finish(pod_name("demo", attempt=1, index=index))
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert there.groups == {}


def test_volcano_has_queues() -> None:
    body = job_body(scheduling={"queue": "team-a", "priorityClass": "high"})
    there = World(body, offered=frozenset({"volcano"}))
    there.settle()
    spec = there.groups["demo-0"]["spec"]
    assert (spec["queue"], spec["priorityClassName"]) == ("team-a", "high")


@pytest.mark.parametrize(
    ("scheduling", "offered", "found"),
    [
        ({}, ALL, None),
        ({"queue": "a"}, ALL, "kueue"),
        ({"queue": "a"}, {"volcano"}, "volcano"),
        ({"queue": "a"}, {"coscheduling"}, "neither Kueue nor Volcano"),
        ({"queue": "a"}, set(), "neither Kueue nor Volcano"),
        ({"gang": "none"}, ALL, None),
        ({"gang": "none", "queue": "a"}, ALL, "spec.scheduling.queue: gang is none"),
        ({"gang": "kueue"}, ALL, "spec.scheduling.queue: Kueue needs a queue"),
        ({"gang": "kueue", "queue": "a"}, ALL, "kueue"),
        ({"gang": "kueue", "queue": "a"}, {"volcano"}, "spec.scheduling.gang: this cluster has no"),
        ({"gang": "volcano"}, ALL, "volcano"),
        ({"gang": "volcano", "queue": "a"}, ALL, "volcano"),
        ({"gang": "coscheduling"}, ALL, "coscheduling"),
        ({"gang": "coscheduling", "queue": "a"}, ALL, "has no queues"),
    ],
)
def test_choice(scheduling: dict[str, str], offered: set[str], found: str | None) -> None:
    made = choose(Scheduling.model_validate(scheduling, by_alias=True), offered)
    if made.problem is not None:
        assert found is not None
        assert found in made.problem
    else:
        assert (made.provider and made.provider.name) == found


def test_a_job_without_its_provider_waits_and_says_so() -> None:
    there = World(job_body(scheduling={"queue": "team-a"}))
    there.settle()
    assert there.status["reason"] == "GangUnavailable"
    assert "neither Kueue nor Volcano" in there.status["message"]
    there.offered = frozenset({"kueue"})
    there.settle()
    assert there.status["reason"] == "Queued"


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_pods_cannot_be_put_into_queues_one_by_one(field: str) -> None:
    given = {"kueue.x-k8s.io/queue-name": "team-a", "kueue.x-k8s.io/pod-group-name": "demo"}
    body = changed("MMDPOJob", podTemplate={field: given})
    with pytest.raises(JobFileError, match=r"use spec\.scheduling\.queue") as error:
        parse_job(copy.deepcopy(body), source="job.yaml")
    assert f"spec.podTemplate.{field}" in str(error.value)
    parse_job(body, source="ConfigMap", accepted=True)  # a job that runs is not stopped by it


def test_places_are_left_once() -> None:
    there, _ = running()
    there.edit(runPolicy={"suspend": True})
    there.settle()
    there.vanish()
    there.settle()
    actions = [action for made in there.history for action in made.actions]
    assert sum(isinstance(action, DeleteWorkload) for action in actions) == 1


class Served:
    """An API server that serves some groups."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)
        self.failures = 0

    async def send(self, request: Request, *, seconds: float) -> Response:
        del seconds
        if self.failures:
            self.failures -= 1
            return Response(status=500, headers={}, body=b"{}")
        known = {provider.path: provider for provider in PROVIDERS}[request.path]
        if request.path not in self.paths:
            return Response(status=404, headers={}, body=b"{}")
        resources = {"resources": [{"name": known.plural}, {"name": f"{known.plural}/status"}]}
        return Response(status=200, headers={}, body=json.dumps(resources).encode())

    async def close(self) -> None:
        pass


async def test_a_server_that_fails_for_a_moment_is_asked_again() -> None:
    server, waits = Served("/apis/kueue.x-k8s.io/v1beta2"), list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server.failures = 3
    queues = Queues(Api(server), sleep=sleep)
    await queues.discover()
    assert (queues.offered, waits) == (frozenset({"kueue"}), [0.25, 0.5, 1.0])
    server.failures = 100
    with pytest.raises(ServerError):
        await queues.discover()


async def test_providers_are_found_by_what_the_server_serves() -> None:
    server = Served("/apis/kueue.x-k8s.io/v1beta2")
    queues = Queues(Api(server))
    await queues.discover()
    assert queues.offered == {"kueue"}
    await queues.look_again()
    server.paths.add("/apis/scheduling.volcano.sh/v1beta1")
    with pytest.raises(QueuesChangedError, match="from kueue to kueue, volcano"):
        await queues.look_again()


@pytest.mark.parametrize(
    ("stem", "attempt", "phase", "needed"),
    [
        ("demo", 0, None, {"demo-0", "demo-1", "demo-7"}),
        ("demo", 1, "Running", {"demo-1", "demo-7"}),
        ("demo", 2, "Restarting", {"demo-7"}),
        ("demo", 1, "Suspended", set()),
        ("demo", 1, "Succeeded", set()),
        ("demo", 1, "Failed", set()),
        ("mmdpo-demo", 1, "Running", {"demo-0", "demo-1", "demo-7"}),
    ],
)
def test_gangs_that_a_job_may_need(
    stem: str, attempt: int, phase: str | None, needed: set[str]
) -> None:
    groups, others = {"demo-0", "demo-1", "demo-7"}, {"demo", "demo-x", "other-0"}
    found = {
        one for one in groups | others if needs_gang(one, stem=stem, attempt=attempt, phase=phase)
    }
    assert found == needed | others
