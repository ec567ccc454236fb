"""A small model of a cluster: what the API server, scheduler and kubelets do to a job's pods."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mmrlhf_api import KINDS
from mmrlhf_api.base import wire_dict
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.planning.actions import (
    Check,
    Create,
    DeleteJob,
    DeletePod,
    DeleteService,
    DeleteWorkload,
    Disband,
    PatchWorkload,
    Plan,
    RankWorkload,
)
from mmrlhf_operator.planning.notes import notes
from mmrlhf_operator.planning.plan import plan
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.planning.refusals import patience
from mmrlhf_operator.rendering.names import pod_name
from mmrlhf_operator.state.pods import PodView, see
from mmrlhf_operator.state.views import (
    CheckResult,
    ConfigMapView,
    DependencyView,
    Finding,
    JobView,
    NetworkPolicyView,
    Observed,
    ProgressReport,
    ServiceView,
)
from mmrlhf_operator.state.workloads import FlavorView, WorkloadView
from tests.unit.api.specimens import changed

START = datetime(2026, 1, 31, 12, tzinfo=UTC)

CONFIG = OperatorConfig.model_validate(
    {"images": dict.fromkeys(KINDS, "example.org/train:1"), "nodePools": {"h800": {}}}
)


def job_body(kind: str = "MMDPOJob", /, **changes: Any) -> dict[str, Any]:
    """A job as the API server returns it."""
    body = changed(kind, artifacts__uri="/shared/runs", **changes)
    body["metadata"] |= {
        "namespace": "default",
        "uid": "uid-1",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": format_time(START),
    }
    return body


@dataclass
class World:
    """One job, its pods, and the time."""

    body: dict[str, Any] = field(default_factory=job_body)
    config: OperatorConfig = CONFIG
    now: datetime = START
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    service: dict[str, Any] | None = None
    config_map: dict[str, Any] | None = None
    network_policy: dict[str, Any] | None = None
    offered: frozenset[str] = frozenset()
    workload: dict[str, Any] | None = None
    flavors: dict[str, dict[str, Any]] = field(default_factory=dict)
    flavor_problem: str | None = None
    priority: int | None = None
    priority_problem: str | None = None
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    reward_job: dict[str, Any] | None = None
    check: CheckResult | None = None
    progress: ProgressReport | None = None
    listening_since: datetime | None = None
    lost_nodes: set[str] = field(default_factory=set)
    quota: int | None = None
    conflicts: tuple[Finding, ...] = ()
    blocked: Finding | None = None
    namesake: bool = False
    retry_at: datetime | None = None
    refusals: int = 0
    deleted: bool = False
    history: list[Plan] = field(default_factory=list)
    news: list[tuple[str, str]] = field(default_factory=list)
    made: dict[str, str] = field(default_factory=dict)
    perhaps_made: set[str] = field(default_factory=set)
    views: dict[str, PodView] = field(default_factory=dict)
    _uid: int = 0

    @property
    def job(self) -> JobView:
        return JobView.read(KINDS[self.body["kind"]], copy.deepcopy(self.body))

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.body.get("status", {})
        return status

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        return {entry["type"]: entry for entry in self.status.get("conditions", ())}

    @property
    def observed(self) -> Observed:
        nodes = {p["spec"]["nodeName"] for p in self.pods.values() if "nodeName" in p["spec"]}
        return Observed(
            pods=self.look(),
            service=None if self.service is None else ServiceView.read(self.service),
            config_map=None if self.config_map is None else ConfigMapView.read(self.config_map),
            network_policy=(
                None if self.network_policy is None else NetworkPolicyView.read(self.network_policy)
            ),
            dependency=None if self.reward_job is None else DependencyView.read(self.reward_job),
            offered=self.offered,
            workload=None if self.workload is None else WorkloadView.read(self.workload),
            flavors={name: FlavorView.read(body) for name, body in self.flavors.items()},
            flavor_problem=self.flavor_problem,
            priority=self.priority,
            priority_problem=self.priority_problem,
            check=self.check,
            conflicts=self.conflicts,
            blocked=self.blocked,
            namesake=self.namesake,
            retry_at=self.retry_at,
            progress=self.progress,
            listening_since=self.listening_since,
            lost_nodes=frozenset(self.lost_nodes),
            known_nodes=frozenset(nodes),
            made=self.made,
            perhaps_made=frozenset(self.perhaps_made),
        )

    def look(self) -> tuple[PodView, ...]:
        """The pods as a watch sees them, at once."""
        found = [view for pod in self.pods.values() if (view := PodView.read(pod)) is not None]
        seen = [see(view, self.views.get(view.uid), self.now) for view in found]
        self.views = {view.uid: view for view in seen}
        return tuple(seen)

    def plan(self, job: JobView | None = None) -> Plan:
        """What the operator would do; `job` spares another look at the body, if one was taken."""
        return plan(job or self.job, self.observed, now=self.now, config=self.config)

    def reconcile(self, *, steps: int | None = None) -> Plan:
        """Carry out a plan; only its first `steps` steps, when the operator crashes after them.

        What the operator remembers of refusals it forgets by a crash.
        """
        job = self.job
        before = {note.key for note in notes(job.status)}
        made = self.plan(job)
        self.history.append(made)
        self.news = [
            (note.type, note.reason) for note in notes(made.status) if note.key not in before
        ]
        work: list[Any] = [made.status] if made.status != job.status else []
        work.extend(made.actions)
        refused: Finding | None = None
        for step in work[:steps]:
            if isinstance(step, Create) and step.kind == "Pod":
                refused = refused or self._refusal(step)
                if refused is not None:
                    continue
            self._apply(step)
        if any(isinstance(step, Create) for step in work):
            self._remember(refused)
        if steps is not None and steps < len(work):
            self.forget()
        return made

    def forget(self) -> None:
        """Another operator takes over from this one."""
        self.conflicts, self.retry_at, self.refusals = (), None, 0
        self.made.clear()
        if "phase" in self.status:
            name = self.body["metadata"]["name"]
            self.perhaps_made = {pod_name(name, attempt=self.status.get("attempt", 0), index=0)}

    def _refusal(self, step: Create) -> Finding | None:
        """What the API server says of a pod for which there is no quota."""
        if step.name in self.pods or self.quota is None or len(self.pods) < self.quota:
            return None
        message = f"the API server refuses Pod {step.name}: exceeded quota: {self.quota} pods"
        return Finding(reason=OperatorReason.CREATION_REFUSED, message=message)

    def _remember(self, refused: Finding | None) -> None:
        self.conflicts = () if refused is None else (refused,)
        self.refusals = 0 if refused is None else self.refusals + 1
        seconds = patience(self.body["metadata"]["uid"], self.refusals) if refused else 0.0
        self.retry_at = self.now + timedelta(seconds=seconds) if refused else None

    def settle(self, limit: int = 20) -> Plan:
        """Reconcile until there is nothing to do."""
        for _ in range(limit):
            self.reconcile()
            job = self.job
            again = self.plan(job)
            if self.deleted:
                return again
            if not again.actions and again.status == job.status:
                return again
        raise AssertionError(f"does not settle: {self.history[-2:]}")

    def tick(self, seconds: float) -> None:
        self.look()
        self.now += timedelta(seconds=seconds)

    def edit(self, **spec: Any) -> None:
        """Change the spec, as a user does."""
        for path, value in spec.items():
            holder = self.body["spec"]
            *parts, last = path.split("__")
            for part in parts:
                holder = holder.setdefault(part, {})
            if holder.get(last) != value:
                holder[last] = value
                self.body["metadata"]["generation"] += 1

    def train_reward(self, phase: str, *, uid: str = "uid-r", reason: str = "Completed") -> None:
        """A RewardTrainJob of the name that the job waits for is in a phase."""
        status: dict[str, Any] = {"phase": phase, "reason": reason}
        if phase in {"Succeeded", "Failed"}:
            status |= {"artifacts": {"uri": f"/shared/runs/default/judge/{uid}"}}
        self.reward_job = {"metadata": {"name": "judge", "uid": uid}, "status": status}

    def bind(self, name: str, node: str = "") -> None:
        pod = self.pods[name]
        pod["spec"].setdefault("nodeName", node or f"node-{name}")
        self._condition(pod, "PodScheduled", "True")

    def unschedulable(self, name: str, message: str) -> None:
        self._condition(self.pods[name], "PodScheduled", "False", "Unschedulable", message)

    def run(self, *names: str) -> None:
        for name in names or tuple(self.pods):
            self.bind(name)
            pod = self.pods[name]
            if pod["status"]["phase"] in {"Succeeded", "Failed"}:
                continue
            pod["status"]["phase"] = "Running"
            self._condition(pod, "Ready", "True")
            self._state(pod, {"running": {"startedAt": format_time(self.now)}})

    def wait(self, name: str, reason: str, message: str = "") -> None:
        self.bind(name)
        self._state(self.pods[name], {"waiting": {"reason": reason, "message": message}})

    def finish(self, name: str, exit_code: int = 0, *, reason: str = "", message: str = "") -> None:
        pod = self.pods[name]
        if pod["status"]["phase"] in {"Succeeded", "Failed"}:
            return
        self.bind(name)
        pod["status"]["phase"] = "Failed" if exit_code else "Succeeded"
        self._condition(pod, "Ready", "False")
        ended = {
            "exitCode": exit_code,
            "reason": reason or ("Error" if exit_code else "Completed"),
            "message": message,
            "finishedAt": format_time(self.now),
            "startedAt": format_time(self.now),
        }
        self._state(pod, {"terminated": ended})

    def containers(self, name: str, **states: dict[str, Any]) -> None:
        """Each container of a pod is in a state; those that end are no end of the pod."""
        pod = self.pods[name]
        pod["status"]["containerStatuses"] = [
            {"name": container, "state": state} for container, state in states.items()
        ]

    def begin_with(self, name: str, container: str, state: dict[str, Any], **spec: Any) -> None:
        """An init container of a pod is in a state; the job's waits for it."""
        pod = self.pods[name]
        self.bind(name)
        pod["spec"].setdefault("initContainers", []).append({"name": container, **spec})
        known = pod["status"].setdefault("initContainerStatuses", [])
        known.append({"name": container, "state": state})
        self._state(pod, {"waiting": {"reason": "PodInitializing"}})

    def fail(self, name: str, *, reason: str, message: str = "", begun: bool = True) -> None:
        """The kubelet gives a pod up; it knows of no container where none was begun."""
        status = self.pods[name]["status"]
        status |= {"phase": "Failed", "reason": reason, "message": message}
        if not begun:
            status.pop("containerStatuses", None)

    def ended(self, exit_code: int, reason: str = "", message: str = "") -> dict[str, Any]:
        """The state of a container that has ended now."""
        return {
            "terminated": {
                "exitCode": exit_code,
                "reason": reason or ("Error" if exit_code else "Completed"),
                "message": message,
                "finishedAt": format_time(self.now),
                "startedAt": format_time(self.now),
            }
        }

    def set_condition(self, name: str, kind: str, status: str, reason: str = "") -> None:
        """A condition of a pod is set."""
        self._condition(self.pods[name], kind, status, reason)

    def disrupt(self, name: str, reason: str = "PreemptionByScheduler") -> None:
        self._condition(self.pods[name], "DisruptionTarget", "True", reason, "made room")

    def delete(self, name: str) -> None:
        """Somebody deletes a pod."""
        self._apply(DeletePod(name=name, uid=self.pods[name]["metadata"]["uid"]))

    def vanish(self, name: str | None = None) -> None:
        """The kubelet is done with the pods that are being deleted, or a pod is simply gone."""
        for key, pod in list(self.pods.items()):
            if key == name or (name is None and "deletionTimestamp" in pod["metadata"]):
                del self.pods[key]

    def attempts_alive(self) -> set[int]:
        """Attempts with pods that have not finished."""
        views = [PodView.read(pod) for pod in self.pods.values()]
        return {view.attempt for view in views if view is not None and not view.finished}

    def _apply(self, step: Any) -> None:
        if isinstance(step, Create):
            self._create(step.manifest)
        elif isinstance(step, DeletePod):
            pod = self.pods.get(step.name)
            if pod is None or pod["metadata"]["uid"] != step.uid:
                return
            gone = step.force or "nodeName" not in pod["spec"] or self._is_done(pod)
            if gone and not pod["metadata"].get("finalizers"):
                del self.pods[step.name]
            elif "deletionTimestamp" not in pod["metadata"]:
                grace = 0 if gone else pod["spec"].get("terminationGracePeriodSeconds", 30)
                pod["metadata"]["deletionTimestamp"] = format_time(
                    self.now + timedelta(seconds=grace)
                )
                pod["metadata"]["deletionGracePeriodSeconds"] = grace
        elif isinstance(step, DeleteService):
            if self.service is not None and self.service["metadata"]["uid"] == step.uid:
                self.service = None
        elif isinstance(step, DeleteWorkload):
            if self.workload is not None and self.workload["metadata"]["uid"] == step.uid:
                self.workload = None
        elif isinstance(step, Disband):
            self.groups.pop(step.name, None)
        elif isinstance(step, PatchWorkload):
            self._patch_workload(step)
        elif isinstance(step, RankWorkload):
            self._rank_workload(step)
        elif isinstance(step, DeleteJob):
            self.deleted = True
        elif isinstance(step, Check):
            pass
        else:
            self.body["status"] = wire_dict(step)

    def _patch_workload(self, step: PatchWorkload) -> None:
        known = self.workload
        if known is None or known["metadata"]["resourceVersion"] != step.version:
            return
        status = known.setdefault("status", {})
        for key, value in copy.deepcopy(step.status).items():
            if value is None:
                status.pop(key, None)
            else:
                status[key] = value
        known["metadata"]["resourceVersion"] = str(int(step.version) + 1)

    def _rank_workload(self, step: RankWorkload) -> None:
        known = self.workload
        if known is None or known["metadata"]["resourceVersion"] != step.version:
            return
        known["spec"] |= copy.deepcopy(step.spec)
        known["metadata"]["resourceVersion"] = str(int(step.version) + 1)

    def _is_done(self, pod: dict[str, Any]) -> bool:
        return pod["status"]["phase"] in {"Succeeded", "Failed"}

    def _create(self, manifest: dict[str, Any]) -> None:
        body = copy.deepcopy(manifest)
        self._uid += 1
        body["metadata"] |= {
            "uid": f"child-{self._uid}",
            "creationTimestamp": format_time(self.now),
            "resourceVersion": "1",
        }
        if body["kind"] == "Pod":
            name = body["metadata"]["name"]
            if name not in self.pods:
                self.pods[name] = {**body, "status": {"phase": "Pending"}}
                self.made[name] = body["metadata"]["uid"]
        elif body["kind"] == "Service":
            self.service = self.service or body
        elif body["kind"] == "Workload":
            self.workload = self.workload or body
        elif body["kind"] == "PodGroup":
            self.groups.setdefault(body["metadata"]["name"], body)
        elif body["kind"] == "NetworkPolicy":
            self.network_policy = self.network_policy or body
        else:
            self.config_map = self.config_map or body

    def _condition(
        self, pod: dict[str, Any], kind: str, status: str, reason: str = "", message: str = ""
    ) -> None:
        kept = [c for c in pod["status"].get("conditions", ()) if c["type"] != kind]
        entry = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": format_time(self.now),
        }
        pod["status"]["conditions"] = [*kept, entry]

    def _state(self, pod: dict[str, Any], state: dict[str, Any]) -> None:
        pod["status"]["containerStatuses"] = [{"name": "job", "state": state}]


def world(kind: str = "MMDPOJob", /, **changes: Any) -> World:
    """A cluster with a new job of two nodes."""
    return World(job_body(kind, **{"resources__nodes": 2, **changes}))


def running(**changes: Any) -> World:
    """A cluster whose job runs."""
    there = world(**changes)
    there.reconcile()
    there.run()
    there.settle()
    return there
