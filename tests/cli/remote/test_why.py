"""``why`` on a real API server, with its real scheduler, quota and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_INDEX, LABEL_JOB, LABEL_KIND
from tests.cli.remote.conftest import Ctl
from tests.cluster import gpu_nodes, scripted_pods
from tests.cluster.errors import ApiError
from tests.cluster.wait import wait_until
from tests.operator import kueue
from tests.operator.kueue import Kueue

pytestmark = pytest.mark.cluster

GPU = "nvidia.com/gpu"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(autouse=True)
def operator(ctl: Ctl) -> None:
    """What a living operator leaves, for as long as a test may take."""
    renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {"holderIdentity": "op-0", "leaseDurationSeconds": 86400, "renewTime": renewed}
    ctl.cluster.api.create(
        f"/apis/coordination.k8s.io/v1/namespaces/{ctl.namespace}/leases",
        {"metadata": {"name": "mmrlhf-operator"}, "spec": lease},
    )


@pytest.fixture
def nodes(ctl: Ctl) -> Iterator[list[str]]:
    """Two machines with eight GPUs each, of a pool that only this test uses."""
    names = [f"why-{ctl.namespace}-{number}" for number in (0, 1)]
    labels = {**gpu_nodes.H800_LABELS, "pool": ctl.namespace}
    beat = not ctl.cluster.is_ours
    with gpu_nodes.gpu_nodes(ctl.cluster.api, names, labels=labels, heartbeat=beat):
        yield names


def pod(
    ctl: Ctl, owner: dict[str, Any], rank: int = 0, *, gpus: int = 0, **spec: Any
) -> dict[str, Any]:
    """A pod of a job, as the operator makes them."""
    metadata = owner["metadata"]
    resources = {"limits": {GPU: gpus}} if gpus else {}
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "metadata": {
            "name": f"{metadata['name']}-0-{rank}",
            "labels": {
                LABEL_KIND: owner["kind"],
                LABEL_JOB: metadata["name"],
                LABEL_ATTEMPT: "0",
                LABEL_INDEX: str(rank),
            },
            "ownerReferences": [reference],
        },
        "spec": {
            "containers": [{"name": "job", "image": "example.test/none", "resources": resources}],
            "restartPolicy": "Never",
            **spec,
        },
    }


def pods_path(ctl: Ctl, name: str = "") -> str:
    return f"/api/v1/namespaces/{ctl.namespace}/pods" + (f"/{name}" if name else "")


def asked(ctl: Ctl, *arguments: str) -> dict[str, Any]:
    done = ctl("why", *arguments, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def said(cause: dict[str, Any]) -> str:
    return " ".join(f"{one['object']}: {one['text']}" for one in cause["evidence"])


def test_the_schedulers_own_words_and_a_look_at_the_nodes(ctl: Ctl, nodes: list[str]) -> None:
    api = ctl.cluster.api
    hog = ctl.job(name="hog")
    for rank, node in enumerate(nodes):
        api.create(pods_path(ctl), pod(ctl, hog, rank, gpus=4, nodeName=node))
    owner = ctl.job()
    ctl.set_status("MMDPOJob", "digits", phase="Pending", reason="Unschedulable")
    selector: dict[str, Any] = {"nodeSelector": {"pool": ctl.namespace}}
    api.create(pods_path(ctl), pod(ctl, owner, gpus=8, **selector))

    def refused() -> bool:
        entries = api.get(pods_path(ctl, "digits-0-0"))["status"].get("conditions") or ()
        return any(one.get("reason") == "Unschedulable" for one in entries)

    wait_until(refused, timeout=60, what="the scheduler's refusal")
    found = asked(ctl, "mmdpo/digits")
    (cause,) = found["causes"]
    assert (cause["topic"], cause["certainty"]) == ("NoRoom", "certain")
    assert cause["text"] == f"8 {GPU} are free, but no node has 8 {GPU}"
    assert f"Insufficient {GPU}" in said(cause)
    assert f"holder/{ctl.namespace}/hog: holds 8 {GPU}" in said(cause)
    assert cause["see"] == "docs/troubleshooting.md#unschedulable"
    assert found["unread"] == []
    text = ctl("why", "digits").stdout
    assert "1. certain: 8 nvidia.com/gpu are free, but no node has 8" in text
    assert max(map(len, text.splitlines())) <= 80
    as_yaml = yaml.safe_load(ctl("why", "mmdpo", "digits", "-o", "yaml").stdout)
    assert [one["topic"] for one in as_yaml["causes"]] == ["NoRoom"]


def test_a_pool_that_no_node_is_of(ctl: Ctl, nodes: list[str]) -> None:
    owner = ctl.job()
    ctl.set_status("MMDPOJob", "digits", phase="Pending", reason="Unschedulable")
    ctl.cluster.api.create(pods_path(ctl), pod(ctl, owner, nodeSelector={"pool": "moon"}))
    (cause,) = [one for one in asked(ctl, "digits")["causes"] if one["topic"] == "NoNode"]
    assert "without label pool=moon" in cause["text"]
    assert cause["certainty"] == "certain"


def test_quota_in_the_servers_words_with_who_holds_it(ctl: Ctl) -> None:
    api = ctl.cluster.api
    hard = {"spec": {"hard": {"pods": "1"}}}
    quotas = f"/api/v1/namespaces/{ctl.namespace}/resourcequotas"
    api.create(quotas, {"metadata": {"name": "few"}, **hard})
    few = f"{quotas}/few"
    wait_until(lambda: api.get(few).get("status", {}).get("hard"), timeout=60, what="the quota")
    hog, owner = ctl.job(name="hog"), ctl.job()
    elsewhere: dict[str, Any] = {"nodeSelector": {"test.mmrlhf.io/never": "there"}}
    api.create(pods_path(ctl), pod(ctl, hog, **elsewhere))

    def refusal() -> str:
        try:
            api.create(pods_path(ctl), pod(ctl, owner, **elsewhere), dry_run=True)
        except ApiError as error:
            return str(error)
        return ""

    wait_until(lambda: "exceeded quota" in refusal(), timeout=60, what="the quota to be used up")
    scheduled = {
        "type": "Scheduled",
        "status": "False",
        "reason": "CreationRefused",
        "message": refusal(),
        "lastTransitionTime": "2026-11-23T12:00:00Z",
    }
    ctl.set_status("MMDPOJob", "digits", phase="Pending", conditions=[scheduled])
    (cause,) = asked(ctl, "digits")["causes"]
    assert (cause["topic"], cause["certainty"]) == ("Quota", "certain")
    assert cause["text"].startswith("ResourceQuota few is used up: a pod asks for pods=1")
    assert "resourcequota/few: pods: 1 of 1 used" in said(cause)
    assert f"holder/{ctl.namespace}/hog: holds 1 pods" in said(cause)


def test_what_a_user_may_not_read_is_told_and_not_taken_for_nothing(
    ctl: Ctl, kubeconfig: Callable[..., str], token: str
) -> None:
    api, space = ctl.cluster.api, ctl.namespace
    rules = [
        {"apiGroups": ["mmrlhf.io"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    role = f"{RBAC}/namespaces/{space}"
    api.create(f"{role}/roles", {"metadata": {"name": "little"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "nobody", "namespace": space}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "little"}
    body = {"metadata": {"name": "little"}, "subjects": [subject], "roleRef": reference}
    api.create(f"{role}/rolebindings", body)
    owner = ctl.job(scheduling={"queue": "team-a"})
    ctl.set_status("MMDPOJob", "digits", phase="Pending", reason="WaitingForPods")
    api.create(pods_path(ctl), pod(ctl, owner, nodeSelector={"test.mmrlhf.io/never": "there"}))
    config = kubeconfig(user={"token": token})

    def knows_the_role() -> bool:
        """Whether the server goes by the role: one that is new is no right at once."""
        return ctl("get", "--kubeconfig", config).returncode == 0

    wait_until(knows_the_role, timeout=60, what="the role")
    unread = {one["what"]: one for one in asked(ctl, "digits", "--kubeconfig", config)["unread"]}
    assert set(unread) == {"events", "nodes", "the operator's signs of life"}
    assert unread["nodes"]["needs"] == "list nodes (cluster)"
    assert "may not list nodes in the whole cluster" in unread["nodes"]["why"]
    text = ctl("why", "digits", "--kubeconfig", config).stdout
    assert "\nCould not look at:\n  events: user system:serviceaccount:" in text


def test_a_queue_says_the_place_the_quota_and_who_holds_it(ctl: Ctl) -> None:
    api, space = ctl.cluster.api, ctl.namespace
    owner = ctl.job(scheduling={"queue": "team-a"}, resources={"nodes": 2, "gpusPerNode": 8})
    ctl.set_status("MMDPOJob", "digits", phase="Pending", reason="Queued")
    with kueue.served(ctl.cluster):
        absent = asked(ctl, "digits")["causes"]
        assert [one["text"] for one in absent] == [
            f"there is no LocalQueue team-a in namespace {space}"
        ]
        resource = {"name": GPU, "nominalQuota": 16}
        flavors = [{"name": "h800", "resources": [resource]}]
        api.create(
            f"{kueue.ROOT}/clusterqueues",
            {
                "apiVersion": f"{kueue.GROUP}/v1beta2",
                "kind": "ClusterQueue",
                "metadata": {"name": "research"},
                "spec": {"resourceGroups": [{"coveredResources": [GPU], "flavors": flavors}]},
            },
        )
        used = {"name": "h800", "resources": [{"name": GPU, "total": "16", "borrowed": "0"}]}
        status = {"status": {"flavorsReservation": [used]}}
        api.patch(f"{kueue.ROOT}/clusterqueues/research/status", status)
        api.create(
            f"{kueue.ROOT}/namespaces/{space}/localqueues",
            {
                "apiVersion": f"{kueue.GROUP}/v1beta2",
                "kind": "LocalQueue",
                "metadata": {"name": "team-a"},
                "spec": {"clusterQueue": "research"},
            },
        )
        template = pod(ctl, owner, gpus=8)
        for name in ("mmdpo-digits", "mmdpo-hog"):
            sets = [{"name": "main", "count": 2, "template": {"spec": template["spec"]}}]
            api.create(
                f"{kueue.ROOT}/namespaces/{space}/workloads",
                {
                    "apiVersion": f"{kueue.GROUP}/v1beta2",
                    "kind": "Workload",
                    "metadata": {"name": name},
                    "spec": {"queueName": "team-a", "podSets": sets},
                },
            )
        Kueue(api, space, "mmdpo-hog").admit("h800")
        usage = [{"name": "main", "resourceUsage": {GPU: "16"}}]
        admission = {"clusterQueue": "research", "podSetAssignments": usage}
        path = f"{kueue.ROOT}/namespaces/{space}/workloads/mmdpo-hog/status"
        api.patch(path, {"status": {"admission": admission}})
        Kueue(api, space, "mmdpo-digits").refuse("insufficient unused quota for nvidia.com/gpu")
        (cause,) = asked(ctl, "digits")["causes"]
        shown = ctl("status", "digits").stdout
    assert re.search(r"^Queue: +localqueue/team-a: place 1 of 1, counted", shown, re.MULTILINE)
    assert f"\n             workload/{space}/mmdpo-hog: holds 16 {GPU}\n" in shown
    assert (cause["topic"], cause["certainty"]) == ("Queue", "certain")
    assert "insufficient unused quota for nvidia.com/gpu" in cause["text"]
    told = said(cause)
    assert "localqueue/team-a: place 1 of 1, counted from its pending Workloads" in told
    assert f"{GPU} of flavor h800: 16 of 16 given away; the job asks for 16" in told
    assert f"workload/{space}/mmdpo-hog: holds 16 {GPU}" in told


def test_an_image_that_cannot_be_pulled(ctl: Ctl, nodes: list[str]) -> None:
    owner = ctl.job()
    ctl.set_status("MMDPOJob", "digits", phase="Pending", reason="WaitingForPods")
    ctl.cluster.api.create(pods_path(ctl), pod(ctl, owner, nodeName=nodes[0]))
    evil = "Back-off pulling image: not found \x1b[2J\nfake: line"
    scripted_pods.wait_in(
        ctl.cluster.api, ctl.namespace, "digits-0-0", reason="ImagePullBackOff", message=evil
    )
    (cause,) = asked(ctl, "digits")["causes"]
    assert (cause["topic"], cause["certainty"]) == ("Image", "certain")
    assert cause["text"] == (
        "image example.test/none cannot be pulled: the registry has no such image"
    )
    text = ctl("why", "digits").stdout
    assert "\x1b" not in text
    assert "\nfake: line" not in text


def test_why_a_job_failed(ctl: Ctl, nodes: list[str]) -> None:
    owner = ctl.job()
    ctl.cluster.api.create(pods_path(ctl), pod(ctl, owner, nodeName=nodes[0]))
    scripted_pods.finish(
        ctl.cluster.api, ctl.namespace, "digits-0-0", exit_code=7, message="loss is not a number"
    )
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "ApplicationError",
        "message": "digits-0-0: exit code 7",
        "lastTransitionTime": "2026-11-23T12:00:00Z",
    }
    ctl.set_status(
        "MMDPOJob", "digits", phase="Failed", reason="ApplicationError", conditions=[failed]
    )
    found = asked(ctl, "digits")
    (cause,) = found["causes"]
    assert cause["topic"] == "Failed"
    assert cause["text"] == "ApplicationError: digits-0-0: exit code 7"
    assert cause["fix"].endswith("mmrlhfctl logs mmdpo/digits")
    assert "container job ended with exit code 7 (Error) on node" in said(cause)
    assert "loss is not a number" in said(cause)
    assert [one["what"] for one in found["unread"]] == ["the log of digits-0-0"]


def test_nothing_wrong_and_no_such_job(ctl: Ctl) -> None:
    ctl.job()
    ctl.set_status("MMDPOJob", "digits", phase="Running", reason="AllPodsRunning")
    found = asked(ctl, "digits")
    assert found["causes"] == []
    assert found["answer"] == "it runs, and nothing is found to be wrong"
    done = ctl("why", "digit")
    assert done.returncode == 3
    assert "did you mean digits?" in done.stderr
    assert ctl("why", "digits", "other").returncode == 2
