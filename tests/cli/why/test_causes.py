"""Each cause by itself: what is said, how sure it is, and what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.client.views import JobView
from mmrlhfctl.diagnosis.advice import ADVICE
from mmrlhfctl.diagnosis.explanation import explain
from mmrlhfctl.diagnosis.facts import Facts, Queueing
from mmrlhfctl.diagnosis.scheduler import read_verdict
from mmrlhfctl.diagnosis.words import CONTAINERS, IMAGES, REFUSALS, VOLUMES
from tests.cli.remote.specimens import ago, condition, event, job
from tests.cli.why.worlds import gpu_pod, lease, load, node, pod, status_condition, world

PVC = "PersistentVolumeClaim"
PAGE = (Path(__file__).resolve().parents[3] / "docs/troubleshooting.md").read_text()

SAYS = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: not helpful."
REFUSED = 'POST pods: 403 Forbidden: pods "digits-0-0" is forbidden: '


def waiting(**state: Any) -> Facts:
    """A pod that has a node, and whose container waits."""
    own = pod(state={"waiting": state}, spec={"nodeName": "h-0", "containers": [CONTAINER]})
    return world(pods=(own,), nodes=(node("h-0"),))


CONTAINER = {"name": "job", "image": "registry.test/mmrlhf:1"}


def refused(words: str, **facts: Any) -> Facts:
    entry = condition("Scheduled", "CreationRefused", REFUSED + words, "False")
    return world(entry, reason="CreationRefused", **facts)


def unscheduled(said: str = SAYS, **facts: Any) -> Facts:
    return world(pods=(gpu_pod(0, said=said), gpu_pod(1, said=said)), **facts)


def queued(workload: dict[str, Any] | None, **more: Any) -> Facts:
    return world(
        reason="Queued",
        spec={"scheduling": {"queue": "team-a"}},
        queueing=Queueing(workload=workload, **more),
    )


def workload(name: str = "mmdpo-digits", **status: Any) -> dict[str, Any]:
    requests = {"nvidia.com/gpu": "8", "cpu": "4"}
    template = {"spec": {"containers": [{"name": "job", "resources": {"requests": requests}}]}}
    return {
        "metadata": {"name": name, "namespace": "vision", "creationTimestamp": ago(minutes=9)},
        "spec": {
            "queueName": "team-a",
            "podSets": [{"name": "main", "count": 2, "template": template}],
        },
        "status": status,
    }


NOT_ADMITTED = workload(
    conditions=[status_condition("QuotaReserved", "Pending", "insufficient unused quota")]
)
LOCAL = {"metadata": {"name": "team-a"}, "spec": {"clusterQueue": "research"}}
HELD = workload(
    "other",
    admission={
        "clusterQueue": "research",
        "podSetAssignments": [{"resourceUsage": {"nvidia.com/gpu": "16"}}],
    },
    conditions=[status_condition("Admitted", "Admitted", "", "True")],
)
RESEARCH = {
    "metadata": {"name": "research"},
    "spec": {
        "resourceGroups": [
            {
                "flavors": [
                    {"name": "h800", "resources": [{"name": "nvidia.com/gpu", "nominalQuota": 16}]}
                ]
            }
        ]
    },
    "status": {
        "flavorsReservation": [
            {"name": "h800", "resources": [{"name": "nvidia.com/gpu", "total": "16"}]}
        ]
    },
}
CLAIMED: dict[str, Any] = {
    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "corpora"}}]
}


def gang(**status: Any) -> Facts:
    group = {
        "metadata": {"name": "digits-0"},
        "spec": {"minMember": 2, "queue": "team-a", "minResources": {"nvidia.com/gpu": "16"}},
        "status": status,
    }
    queue = {
        "metadata": {"name": "team-a"},
        "spec": {"capability": {"nvidia.com/gpu": "8"}},
        "status": {"state": "Open", "allocated": {"nvidia.com/gpu": "8"}},
    }
    other = {
        "metadata": {"name": "hog-0", "namespace": "nlp"},
        "spec": {"queue": "team-a", "minResources": {"nvidia.com/gpu": "8"}},
        "status": {"phase": "Running"},
    }
    return world(
        pods=(gpu_pod(0, schedulerName="volcano"),),
        queueing=Queueing(group=group, group_queue=queue, others=(group, other)),
    )


def claimed(claim: dict[str, Any] | None, *events: dict[str, Any]) -> Facts:
    said = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    own = gpu_pod(said=said, **CLAIMED)
    return world(pods=(own,), claims={"corpora": claim}, events=events)


def pvc(phase: str, *modes: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "corpora"},
        "spec": {"accessModes": list(modes) or ["ReadWriteMany"], "storageClassName": "nfs"},
        "status": {"phase": phase},
    }


def failed(reason: str, message: str, **more: Any) -> Facts:
    entry = condition("Failed", reason, message)
    return world(entry, phase="Failed", reason=reason, status={"message": message}, **more)


FAILED_POD = pod(
    1,
    state={"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": ago(minutes=3)}},
    spec={"nodeName": "h-3", "containers": [CONTAINER]},
)

CASES: dict[str, tuple[Facts, str, str, str, str]] = {
    # name: facts, topic, certainty, pattern of the text, pattern of fix and evidence
    "deleted": (
        world(metadata={"deletionTimestamp": ago(minutes=4), "finalizers": ["a/b"]}),
        *("Deleted", "certain", "being deleted; finalizers hold it: a/b", "owner runs"),
    ),
    "suspended": (
        world(phase="Suspended", spec={"runPolicy": {"suspend": True}}),
        *("Suspended", "certain", "is suspended", "resume it: mmrlhfctl resume mmdpo/digits"),
    ),
    "cancelled": (
        world(spec={"runPolicy": {"cancel": True}}),
        *("Cancelled", "certain", "being cancelled", "another name"),
    ),
    "no operator": (
        world(leases=(lease(hours=3),)),
        *("Operator", "certain", "no operator works", "doctor"),
    ),
    "no lease at all": (
        world(leases=()),
        *("Operator", "likely", "no operator works", "nobody holds a Lease"),
    ),
    "not seen, and nobody may know of the operator": (
        world(phase="", leases=None),
        *("Operator", "likely", "no operator has looked", "doctor"),
    ),
    "not accepted": (
        world(condition("Accepted", "NodePoolUnknown", "no pool h900; h800", "False")),
        *("NotAccepted", "certain", "NodePoolUnknown.*no pool h900", "node pools that the message"),
    ),
    "looked up": (
        world(condition("Accepted", "Checking", "data", "False")),
        *("NotAccepted", "possible", "Checking", "within a minute"),
    ),
    "another job": (
        world(
            condition("DependenciesReady", "WaitingForJob", "waits for judge", "False"),
            dependency=job("RewardTrainJob", "judge", status={"phase": "Running"}),
        ),
        *("WaitsForJob", "certain", "waits for judge", "mmrlhfctl why rtj/judge"),
    ),
    "back-off": (
        world(
            condition("Restarting", "Evicted", "node drained; next attempt in 80 s"),
            phase="Restarting",
            status={"attempt": 3, "restarts": 1, "freeRestarts": 2},
        ),
        *("BackOff", "certain", "attempt 3 waits.*Evicted.*80 s", "1 of 3 .*2 free"),
    ),
    "pods remain": (
        world(
            reason="PodsRemain",
            status={"attempt": 1},
            pods=(pod(state={"running": {}}, spec={"nodeName": "h-0"}),),
        ),
        *("PodsRemain", "certain", "pods of the one before", "on node h-0"),
    ),
    "quota": (
        refused(
            "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used:"
            " requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8",
            quotas=(
                {
                    "metadata": {"name": "gpus"},
                    "status": {
                        "hard": {"requests.nvidia.com/gpu": "8"},
                        "used": {"requests.nvidia.com/gpu": "8"},
                    },
                },
            ),
            neighbours=(load("h-0", 8, "vision/hog"),),
        ),
        *("Quota", "certain", "ResourceQuota gpus is used up", "8 of 8 used.*vision/hog: holds 8"),
    ),
    "limit range": (
        refused(
            "maximum cpu usage per Container is 2, but limit is 4",
            limits=(
                {
                    "metadata": {"name": "small"},
                    "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]},
                },
            ),
        ),
        *("Limit", "certain", "maximum of 2 cpu per Container", "limitrange/small: Container: max"),
    ),
    "pod security": (
        refused('violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)'),
        *("Policy", "certain", "Pod Security level restricted:latest", "level lowered"),
    ),
    "policy": (
        refused("ValidatingAdmissionPolicy 'small' with binding 'b' denied request: at most 2"),
        *(
            "Policy",
            "certain",
            "ValidatingAdmissionPolicy small refuses it: at most 2",
            "exception",
        ),
    ),
    "webhook refuses": (
        refused('admission webhook "guard.test" denied the request: no cost centre'),
        *("Policy", "certain", "webhook guard.test refuses it: no cost centre", "runs guard.test"),
    ),
    "webhook away": (
        world(
            condition(
                "Blocked",
                "WriteFails",
                'POST pods: 500 InternalError: failed calling webhook "guard.test": no endpoints',
            )
        ),
        *("Webhook", "certain", "guard.test does not answer", "mend or remove"),
    ),
    "service account": (
        refused("error looking up service account vision/trainer: serviceaccount not found"),
        *(
            "ServiceAccount",
            "certain",
            "no ServiceAccount trainer",
            "create serviceaccount trainer",
        ),
    ),
    "rights of the operator": (
        refused('User "op" cannot create resource "pods" in API group "" in the namespace "v"'),
        *("Rights", "certain", "operator .op. may not create pods here", "installation"),
    ),
    "the status alone": (
        world(
            condition("Scheduled", "Unschedulable", "2 of 2 pods have no node", "False"),
            reason="Unschedulable",
            status={"message": "2 of 2 pods have no node"},
        ),
        *("Scheduler", "likely", "the operator says: 2 of 2 pods have no node", "smaller"),
    ),
    "priority class": (
        refused("no PriorityClass with name urgent was found"),
        *("Refused", "certain", "no PriorityClass urgent", "priorityClass"),
    ),
    "refused in words that nobody knows": (
        refused("the moon is full"),
        *("Refused", "certain", "the moon is full", "by itself"),
    ),
    "queue": (
        queued(
            NOT_ADMITTED,
            local_queue=LOCAL,
            cluster_queue=RESEARCH,
            others=(NOT_ADMITTED, HELD),
        ),
        *("Queue", "certain", "insufficient unused quota"),
        (
            "place 1 of 1, counted.*of flavor h800: 16 of 16 given away; the job asks for 16.*"
            "workload/vision/other: holds 16"
        ),
    ),
    "place by Kueue": (
        queued(
            NOT_ADMITTED,
            pending=(
                {"metadata": {"name": "first"}},
                {
                    "metadata": {"name": "mmdpo-digits"},
                    "positionInLocalQueue": 1,
                    "positionInClusterQueue": 4,
                },
            ),
        ),
        *(
            "Queue",
            "certain",
            "insufficient unused quota",
            "place 2 of 2, and 5 in its ClusterQueue",
        ),
    ),
    "no such queue": (
        queued(None, absent=frozenset({"Workload", "LocalQueue"})),
        *("Queue", "certain", "no LocalQueue team-a in namespace vision", "create it"),
    ),
    "queue stopped": (
        queued(NOT_ADMITTED, local_queue=LOCAL | {"spec": {"stopPolicy": "Hold"}}),
        *("Queue", "certain", "LocalQueue team-a is stopped", "stopPolicy"),
    ),
    "queue inactive": (
        queued(
            NOT_ADMITTED,
            cluster_queue=RESEARCH
            | {"status": {"conditions": [status_condition("Active", "FlavorNotFound", "no h800")]}},
        ),
        *("Queue", "certain", "ClusterQueue research admits nobody: no h800", "mend"),
    ),
    "held out of the queue": (
        queued({**NOT_ADMITTED, "spec": {"active": False}}),
        *("Queue", "certain", "not active", "kubectl patch workload mmdpo-digits"),
    ),
    "admission check": (
        queued(
            workload(
                admission={"clusterQueue": "research"},
                conditions=[status_condition("QuotaReserved", "QuotaReserved", "", "True")],
                admissionChecks=[{"name": "machines", "state": "Pending", "message": "2 of 4"}],
            )
        ),
        *("Queue", "certain", "admission check machines is Pending: 2 of 4", "wait"),
    ),
    "Kueue away": (
        queued(workload()),
        *("Queue", "likely", "has not looked at", "kueue-system"),
    ),
    "gang": (
        gang(
            phase="Inqueue",
            conditions=[status_condition("Unschedulable", "NotEnough", "2/2 tasks", "True")],
        ),
        *("Gang", "certain", "gang of 2 pods cannot start as a whole: 2/2 tasks", "wait"),
    ),
    "gang not let in": (
        gang(phase="Pending"),
        *(
            "Gang",
            "likely",
            "not let the gang of 2 pods into queue team-a",
            "8 of 8 given away.*podgroup/nlp/hog-0: holds 8",
        ),
    ),
    "gang scheduler away": (gang(), "Gang", "likely", "no gang scheduler", "has no status.phase"),
    "gate": (
        world(pods=(pod(spec={"schedulingGates": [{"name": "a.test/gate"}]}),)),
        *("Gate", "certain", "gates hold the pods back: a.test/gate", "controller"),
    ),
    "claim pending": (
        claimed(pvc("Pending"), event("corpora", "ProvisioningFailed", "full", kind=PVC)),
        *("Volume", "certain", "corpora has no volume yet", "class nfs.*ProvisioningFailed: full"),
    ),
    "claim lost": (
        claimed(pvc("Lost")),
        *("Volume", "certain", "has lost its volume", "restore"),
    ),
    "claim missing": (claimed(None), "Volume", "certain", "corpora is not there", "create it"),
    "claim for one node": (
        world(
            pods=(pod(state={"running": {}}, spec={"nodeName": "h-0"}),),
            claims={"corpora": pvc("Bound", "ReadWriteOnce")},
        ),
        *("Volume", "likely", "for one node at a time, and the job has 2 pods", "ReadWriteMany"),
    ),
    "never: label": (
        unscheduled("0/1 nodes are available: 1 node(s) didn't match.", nodes=(), loads=()),
        *("NoNode", "certain", "the cluster has no nodes", "have nodes added"),
    ),
    "never: too small": (
        unscheduled(nodes=(node("a", gpus=4), node("b", gpus=4)), loads=()),
        *("NoNode", "certain", "no node of 2 nodes.*less than 8 nvidia.com/gpu", "smaller"),
    ),
    "never: too few": (
        unscheduled(nodes=(node("a"), node("b", gpus=2)), loads=()),
        *(
            "NoNode",
            "certain",
            "1 node that the job's pods fit on have room for 1 of 2, even",
            "smaller",
        ),
    ),
    "never: taint": (
        unscheduled(nodes=(node("a", taints=({"key": "t", "effect": "NoSchedule"},)),), loads=()),
        *("NoNode", "certain", "taint t:NoSchedule", "tolerations"),
    ),
    "never: cordoned": (
        unscheduled(nodes=(node("a", cordoned=True), node("b", ready=False)), loads=()),
        *("NoNode", "certain", "no node of 2 nodes.*1 is cordoned", "uncordon or mend"),
    ),
    "fragments": (
        unscheduled(
            nodes=tuple(node(name) for name in "abcd"),
            loads=tuple(load(name, 4) for name in "abcd"),
        ),
        *("NoRoom", "certain", "^16 nvidia.com/gpu are free, but no node has 8", "whole node"),
    ),
    "full": (
        unscheduled(nodes=(node("a"), node("b")), loads=(load("a", 8), load("b", 2, "nlp/x"))),
        *(
            "NoRoom",
            "certain",
            "waits for 16 nvidia.com/gpu, and 6 nvidia.com/gpu are free on the 2",
            "vision/other: holds 8.*nlp/x: holds 2",
        ),
    ),
    "words of the scheduler alone": (
        unscheduled(),
        *("NoRoom", "certain", "finds no node: 2 of 2: Insufficient nvidia.com/gpu", "smaller"),
    ),
    "nodes, but not what is on them": (
        unscheduled(nodes=(node("a"), node("b")), loads=None),
        *("NoRoom", "certain", "finds no node: 2 of 2: Insufficient nvidia.com/gpu", "smaller"),
    ),
    "room again": (
        unscheduled(nodes=(node("a"), node("b")), loads=()),
        *("Scheduler", "possible", "there is room for all 2 pods now", "ask again"),
    ),
    "another scheduler": (
        world(pods=(gpu_pod(0, schedulerName="mine"),)),
        *("Scheduler", "likely", "scheduler mine says nothing", "name mine runs"),
    ),
    "volume elsewhere": (
        unscheduled("0/2 nodes are available: 2 node(s) had volume node affinity conflict."),
        *("Volume", "certain", "where none of the fitting nodes is", "zone"),
    ),
    "image not found": (
        waiting(reason="ImagePullBackOff", message="Back-off: manifest unknown"),
        *("Image", "certain", "registry.test/mmrlhf:1 cannot be pulled.*no such image", "tag"),
    ),
    "image denied": (
        waiting(
            reason="ErrImagePull",
            message="pull access denied, repository does not exist or"
            " may require authorization: authorization failed",
        ),
        *("Image", "certain", "refuses the credentials", "imagePullSecrets"),
    ),
    "registry away": (
        waiting(reason="ErrImagePull", message="dial tcp: lookup r.test: no such host"),
        *("Image", "certain", "does not reach the registry", "DNS"),
    ),
    "secret missing": (
        waiting(reason="CreateContainerConfigError", message='secret "hub" not found'),
        *("Missing", "certain", "no secret hub in the job's namespace", "create it there"),
    ),
    "key missing": (
        waiting(
            reason="CreateContainerConfigError",
            message="couldn't find key TOKEN in Secret vision/hub",
        ),
        *("Missing", "certain", "Secret vision/hub lacks the key TOKEN", "add the key"),
    ),
    "container cannot start": (
        waiting(reason="CreateContainerError", message="weird"),
        *("Container", "certain", "CreateContainerError: weird", "kubelet"),
    ),
    "pulling": (
        world(
            pods=(
                pod(
                    state={"waiting": {"reason": "ContainerCreating"}},
                    spec={"nodeName": "h-0", "containers": [CONTAINER]},
                ),
            ),
            events=(event("digits-0-0", "Pulling", "Pulling image"),),
        ),
        *("Starting", "likely", "pulls the image", "first pull takes minutes"),
    ),
    "silence": (
        world(condition("Progressing", "NoProgressArrives", "no DNS", "Unknown"), phase="Running"),
        *("Silence", "certain", "nothing is heard of rank 0", "no DNS"),
    ),
    "no step for long": (
        world(phase="Running", status={"progress": {"step": 2, "updatedAt": ago(hours=1)}}),
        *("Silence", "likely", "no step was reported for 60m", "went silent first"),
    ),
    "some ranks hang": (
        world(phase="Running", reason="SomeRanksRemain", status={"message": "1 of 2 ended"}),
        *("Ranks", "likely", "1 of 2 ended", "stacks"),
    ),
    "failed": (
        failed(
            "OutOfMemory",
            "digits-0-1: job was killed",
            pods=(pod(0, state={"terminated": {"exitCode": 141}}), FAILED_POD),
            log=("digits-0-1", ("reading", "allocating")),
        ),
        *("Failed", "certain", "OutOfMemory: digits-0-1: job was killed"),
        (
            "resources.memory.*container job ended with exit code 137 .OOMKilled. on node h-3.*"
            "log of digits-0-1: allocating"
        ),
    ),
    "budget": (
        failed("RestartBudgetExhausted", "3 of 3; the last: Killed"),
        *("Failed", "certain", "RestartBudgetExhausted: 3 of 3", "maxRestarts"),
    ),
    "mount": (
        world(
            pods=(
                pod(
                    state={"waiting": {"reason": "ContainerCreating"}},
                    spec={"nodeName": "h-0", "containers": [CONTAINER]},
                ),
            ),
            events=(
                event(
                    "digits-0-0", "FailedMount", 'MountVolume.SetUp failed: secret "ca" not found'
                ),
            ),
        ),
        *("Missing", "likely", "no secret ca", "create it there"),
    ),
    "attached elsewhere": (
        world(
            pods=(
                pod(
                    state={"waiting": {"reason": "ContainerCreating"}},
                    spec={"nodeName": "h-0", "containers": [CONTAINER]},
                ),
            ),
            events=(
                event(
                    "digits-0-0",
                    "FailedAttachVolume",
                    'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) x',
                ),
            ),
        ),
        *("Volume", "likely", "pvc-1 is attached to another node", "ReadWriteMany"),
    ),
    "sandbox": (
        world(
            pods=(
                pod(
                    state={"waiting": {"reason": "ContainerCreating"}},
                    spec={"nodeName": "h-0", "containers": [CONTAINER]},
                ),
            ),
            events=(event("digits-0-0", "FailedCreatePodSandBox", "cni: no plugin"),),
        ),
        *("Network", "likely", "set up the network", "cni: no plugin"),
    ),
    "a pod has failed": (
        world(phase="Starting", pods=(FAILED_POD,)),
        *("Container", "likely", "a pod of the current attempt has failed"),
        "exit code 137 .OOMKilled. on node h-3",
    ),
    "a node that runs a pod is lost": (
        world(
            phase="Running",
            pods=(
                pod(
                    state={"running": {}},
                    spec={"nodeName": "h-0", "containers": [CONTAINER]},
                    conditions=[status_condition("Ready", "NodeStatusUnknown", "silent")],
                ),
            ),
        ),
        *("Node", "likely", "node h-0 does not answer", "Ready=False .NodeStatusUnknown.: silent"),
    ),
    "node not ready": (
        world(
            pods=(
                pod(
                    state={"waiting": {"reason": "ContainerCreating"}},
                    spec={"nodeName": "h-0", "containers": [CONTAINER]},
                ),
            ),
            nodes=(node("h-0", ready=False),),
        ),
        *("Node", "certain", "node h-0, which a pod is bound to, is not ready", "mend the node"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_cause_is_found_alone(name: str) -> None:
    facts, topic, certainty, text, more = CASES[name]
    causes = explain(facts).causes
    assert [(one.topic.value, one.certainty.name.lower()) for one in causes] == [
        (topic, certainty)
    ], causes
    (cause,) = causes
    assert re.search(text, cause.text), cause.text
    told = " ".join([cause.fix, *(f"{one.thing}: {one.text}" for one in cause.evidence)])
    assert re.search(more, told, re.DOTALL), told
    assert cause.evidence
    title = cause.section.replace("Alert-", "Alert ")
    assert f"\n### {title}\n" in PAGE


def test_nothing_is_found_where_nothing_is() -> None:
    beside = status_condition("Ready", "ContainersNotReady", "unready: [mesh]")
    meshed = pod(
        state={"running": {}},
        spec={"nodeName": "h-0", "containers": [CONTAINER]},
        conditions=[beside],
    )
    runs, done = world(phase="Running"), world(phase="Succeeded")
    for facts in (runs, done, world(), world(phase="Running", pods=(meshed,))):
        assert explain(facts).causes == ()
    assert "nothing is found to be in its way" in explain(world()).headline
    assert explain(world(phase="Succeeded")).headline == "it has succeeded"


def test_every_reason_has_an_advice_and_no_other_word_has() -> None:
    sections = re.findall(r"^### (\w+)\n", PAGE, re.MULTILINE)
    assert set(ADVICE) == set(sections)


def test_every_topic_is_met_in_the_table() -> None:
    from mmrlhfctl.diagnosis.answers import Topic

    assert {topic for _, topic, *_ in CASES.values()} == set(Topic)


@pytest.mark.parametrize("one", [*REFUSALS, *IMAGES, *CONTAINERS, *VOLUMES], ids=lambda s: s.text)
def test_texts_name_only_what_their_patterns_find(one: Any) -> None:
    groups = set(re.compile(one.pattern).groupindex)
    assert set(re.findall(r"{(\w+)}", one.text + one.fix)) <= groups


def test_two_at_once_come_by_certainty_and_then_by_when_a_job_meets_them() -> None:
    facts = refused(
        "the moon is full",
        leases=(lease(hours=1),),
        spec={"runPolicy": {"suspend": True}},
        pods=(gpu_pod(0, schedulerName="mine"),),
    )
    topics = [one.topic.value for one in explain(facts).causes]
    assert topics == ["Suspended", "Operator", "Refused", "Scheduler"]


def test_what_is_certain_comes_before_what_a_job_meets_earlier() -> None:
    said = unscheduled(leases=None)
    body = {**said.job.body, "status": {}}
    causes = explain(replace(said, job=JobView.read(body))).causes
    assert [one.topic.value for one in causes] == ["NoRoom", "Operator"]


def test_pods_that_say_the_same_are_one_cause_with_the_evidence_of_each() -> None:
    state = {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}
    spec = {"nodeName": "h-0", "containers": [CONTAINER]}
    pods = tuple(pod(rank, state=state, spec=spec) for rank in (0, 1))
    (cause,) = explain(world(pods=pods)).causes
    assert [one.thing for one in cause.evidence] == ["pod/digits-0-0 (job)", "pod/digits-0-1 (job)"]


def test_an_event_of_an_earlier_pod_of_the_name_is_no_evidence() -> None:
    old = event("digits-0-0", "FailedScheduling", SAYS)
    old["involvedObject"]["uid"] = "another"
    facts = world(pods=(gpu_pod(0),), events=(old,), nodes=(node("a"),), loads=())
    assert all(SAYS not in one.text for cause in explain(facts).causes for one in cause.evidence)


def test_places_are_counted_by_priority_and_then_age() -> None:
    mine = workload(conditions=NOT_ADMITTED["status"]["conditions"])
    older = workload("older", conditions=NOT_ADMITTED["status"]["conditions"])
    older["metadata"]["creationTimestamp"] = ago(hours=9)
    urgent = workload("urgent", conditions=NOT_ADMITTED["status"]["conditions"])
    urgent["spec"]["priority"] = 100
    foreign = workload("foreign", conditions=NOT_ADMITTED["status"]["conditions"])
    foreign["metadata"]["namespace"] = "nlp"
    done = workload("done", conditions=[status_condition("Finished", "Done", "", "True")])
    facts = queued(mine, others=(mine, older, urgent, foreign, done, HELD))
    (cause,) = explain(facts).causes
    assert "place 3 of 3, counted" in " ".join(one.text for one in cause.evidence)


def test_a_job_of_another_version_is_told_of_as_far_as_it_is_understood() -> None:
    strange = JobView.read(
        {
            "kind": "MMDPOJob",
            "metadata": {"name": "x", "namespace": "t"},
            "status": {
                "phase": "Dreaming",
                "reason": "Asleep",
                "conditions": ["no", {"type": "Failed"}],
            },
        }
    )
    facts = world()
    assert explain(Facts(job=strange, now=facts.now)).headline.startswith("it is Dreaming (Asleep)")


@pytest.mark.parametrize(
    ("said", "reasons", "preemption"),
    [
        (
            (
                "0/5 nodes are available: 1 Insufficient cpu, 2 node(s) had taint {a: b}, that the"
                " pod didn't tolerate."
            ),
            [
                (1, "Insufficient cpu"),
                (2, "node(s) had taint {a: b}, that the pod didn't tolerate"),
            ],
            "",
        ),
        (
            (
                "0/5 nodes are available: 3 Insufficient nvidia.com/gpu, 2 node(s) had untolerated"
                " taint(s). no new claims to deallocate, preemption: 0/5 nodes are available: 5"
                " Preemption is not helpful for scheduling."
            ),
            [(3, "Insufficient nvidia.com/gpu"), (2, "node(s) had untolerated taint(s)")],
            "0/5 nodes are available: 5 Preemption is not helpful for scheduling",
        ),
        (
            '0/2 nodes are available: persistentvolumeclaim "x" not found. preemption: 0/2 no.',
            [(2, 'persistentvolumeclaim "x" not found')],
            "0/2 no",
        ),
        (
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint"
                " {node.kubernetes.io/unreachable: }."
            ),
            [(1, "node(s) had untolerated taint {node.kubernetes.io/unreachable: }")],
            "",
        ),
    ],
)
def test_words_of_schedulers_old_and_new(
    said: str, reasons: list[tuple[int, str]], preemption: str
) -> None:
    verdict = read_verdict(said)
    assert verdict is not None
    assert list(verdict.reasons) == reasons
    assert verdict.preemption == preemption
    assert read_verdict("something else") is None
