"""Jobs of earlier kinds under the kinds of today, and back again.

The kinds in ``earlier/`` are those of the first version that people could install. What is written
in the API server's store stays as it was written until the next write; what a kind does not know,
the server leaves out of what it answers, and loses with that write.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api import KINDS, parse_job
from mmrlhf_api.constants import LABEL_JOB
from tests.cluster.access import Access
from tests.cluster.errors import ApiError
from tests.cluster.kinds import CRDS, apply_kinds, forget_kinds
from tests.cluster.wait import wait_until
from tests.manifests import load_all
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until

pytestmark = pytest.mark.cluster

Manifest = dict[str, Any]

EARLIER = Path(__file__).parent / "earlier"
JOBS: list[Manifest] = yaml.safe_load((EARLIER / "jobs.yaml").read_text())


@pytest.fixture
def earlier(control_plane: Access, driver: Driver) -> Driver:
    """A namespace on a server that knows the earlier kinds."""
    if not control_plane.is_ours:
        pytest.skip("the kinds of someone else's cluster are not ours to change")
    apply_earlier(control_plane)
    return driver


def earlier_kinds() -> list[Manifest]:
    return list(load_all((EARLIER / "kinds.yaml").read_text()))


def apply_earlier(cluster: Access) -> None:
    forget_kinds(cluster)
    for body in earlier_kinds():
        cluster.api.apply(f"{CRDS}/{body['metadata']['name']}", body)
    wait_until(lambda: knows_no_logs(cluster), timeout=60, what="the earlier kinds", interval=0.2)


def knows_logs(cluster: Access) -> bool:
    """Whether the server has taken up all kinds of today, which it does one after another."""
    return set(answers(cluster)) == {True}


def knows_no_logs(cluster: Access) -> bool:
    """Whether it has taken up all earlier kinds."""
    return set(answers(cluster)) == {False}


def answers(cluster: Access) -> Iterator[bool | None]:
    """Of each kind, whether the server fills in what it defaults today; None if it has none."""
    for body in JOBS:
        if not body["metadata"]["name"].startswith("fresh"):
            continue
        path = f"/apis/mmrlhf.io/v1alpha1/namespaces/default/{KINDS[body['kind']].plural}"
        try:
            look = {**body, "metadata": {"name": "a-look"}}
            seen = cluster.api.create(path, look, dry_run=True)["spec"]
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            yield None
        else:
            yield "keepLogs" in seen.get("runPolicy", {})


def create(driver: Driver, body: Manifest) -> Manifest:
    """A job as a user made it, and what an operator wrote of it."""
    path = driver.path(body["kind"], body["metadata"]["name"])
    made = copy.deepcopy(body)
    status = made.pop("status", None)
    driver.api.create(path.rpartition("/")[0], made)
    if status is not None:
        driver.api.patch(f"{path}/status", {"status": status})
    return driver.api.get(path)


def within(old: Any, new: Any) -> bool:
    """Whether all that was there is there, as it was."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(k in new and within(v, new[k]) for k, v in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(within, old, new))
    return bool(old == new)


async def test_jobs_of_earlier_kinds_are_read_changed_and_run_to_their_end(
    earlier: Driver, control_plane: Access, start_operator: StartOperator
) -> None:
    before = [create(earlier, body) for body in JOBS]
    apply_kinds(control_plane)
    wait_until(lambda: knows_logs(control_plane), timeout=60, what="the kinds", interval=0.2)
    for body, old in zip(JOBS, before, strict=True):
        kind, name = body["kind"], body["metadata"]["name"]
        new = earlier.job(kind, name)
        for part in ("spec", "status"):
            assert within(old.get(part, {}), new.get(part, {})), (name, part)
        assert within(body["spec"], new["spec"]), name
        assert new["metadata"]["uid"] == old["metadata"]["uid"]
        parse_job({key: new[key] for key in ("apiVersion", "kind", "metadata", "spec")}, source="")
        # As kubectl edit and apply write: the whole object.
        new["metadata"].setdefault("labels", {})["seen"] = "yes"
        new["spec"]["runPolicy"]["maxRestarts"] = 7
        changed = earlier.api.replace(earlier.path(kind, name), new)
        assert changed["spec"]["runPolicy"]["maxRestarts"] == 7
        assert changed.get("status") == new.get("status")
    # By their names: what else it knows of kinds, kubectl keeps in a file for a while.
    names = ",".join(kind.plural for kind in KINDS.values())
    listed = control_plane.kubectl("get", names, f"--namespace={earlier.namespace}").stdout
    assert all(body["metadata"]["name"] in listed for body in JOBS)

    ended = {
        body["metadata"]["name"]: earlier.status(body["kind"], body["metadata"]["name"])
        for body in JOBS
        if body.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    }
    async with start_operator():
        for name, kind in (
            ("fresh", "MMDPOJob"),
            ("fresh-reward", "RewardTrainJob"),
            ("fresh-sample", "ClusterSampleJob"),
        ):
            await to_its_end(earlier, kind, name)
        earlier.api.patch(
            earlier.path("MMDPOJob", "full"), {"spec": {"runPolicy": {"suspend": False}}}
        )
        await to_its_end(earlier, "MMDPOJob", "full")
    for body in JOBS:
        name = body["metadata"]["name"]
        if name in ended:
            now = earlier.status(body["kind"], name)
            for field in ("phase", "reason", "attempt", "restarts", "artifacts", "metrics"):
                assert now.get(field) == ended[name].get(field), (name, field)
            assert not [pod for pod in earlier.all_pods() if pod.startswith(f"{name}-")]


def pods_of(driver: Driver, kind: str, name: str) -> list[str]:
    path = f"/api/v1/namespaces/{driver.namespace}/pods"
    items = driver.api.get(path, labelSelector=LABEL_JOB)["items"]
    uid = driver.job(kind, name)["metadata"]["uid"]
    return sorted(
        item["metadata"]["name"]
        for item in items
        if item["metadata"]["ownerReferences"][0]["uid"] == uid
        and item["status"].get("phase") not in {"Succeeded", "Failed"}
    )


async def to_its_end(driver: Driver, kind: str, name: str) -> None:
    nodes = driver.job(kind, name)["spec"]["resources"]["nodes"]
    await until(
        lambda: len(pods_of(driver, kind, name)) == nodes,
        what=lambda: f"the pods of {name}: {driver.status(kind, name)}",
        seconds=20,
    )
    pods = pods_of(driver, kind, name)
    driver.run(*pods)
    for pod in pods:
        driver.finish(pod)
    await until(
        lambda: driver.status(kind, name).get("phase") == "Succeeded",
        what=lambda: f"the end of {name}: {driver.status(kind, name)}",
        seconds=20,
    )


def paths(body: Any, where: str = "") -> set[str]:
    if not isinstance(body, dict):
        return {where}
    return {one for key, value in body.items() for one in paths(value, f"{where}.{key}")}


async def test_back_to_earlier_kinds_a_job_loses_what_they_do_not_know_and_no_more(
    earlier: Driver, control_plane: Access, start_operator: StartOperator
) -> None:
    apply_kinds(control_plane)
    wait_until(lambda: knows_logs(control_plane), timeout=60, what="the kinds", interval=0.2)
    body = next(copy.deepcopy(one) for one in JOBS if one["metadata"]["name"] == "fresh-reward")
    body["metadata"]["name"] = "later"
    body["spec"]["data"]["train"]["allowedMediaRoots"] = ["/data"]
    body["spec"]["runPolicy"] = {"keepLogs": False, "backoffSeconds": 0}
    create(earlier, body)
    kind, path = "RewardTrainJob", earlier.path("RewardTrainJob", "later")
    async with start_operator():
        await until(lambda: pods_of(earlier, kind, "later"), what="its pod", seconds=20)
        earlier.run(*pods_of(earlier, kind, "later"))
        await until(
            lambda: earlier.status(kind, "later").get("phase") == "Running", what="that it runs"
        )
    whole = earlier.job(kind, "later")

    apply_earlier(control_plane)
    seen = earlier.api.get(path)
    lost = {part: paths(whole[part]) - paths(seen[part]) for part in ("spec", "status")}
    assert lost["spec"] == {
        ".data.train.allowedMediaRoots",
        ".parallelism.offload",
        ".runPolicy.hangTimeoutSeconds",
        ".runPolicy.keepLogs",
        ".runPolicy.maxFreeRestarts",
        ".tracking.reportSamples",
        ".tracking.reportTokens",
        ".training.compile",
    }
    assert {one.split(".")[1] for one in lost["status"]} <= {
        *("message", "podStem", "reporter", "freeRestarts", "pendingSince", "nodeFaults"),
        *("endedWell", "lost", "price"),
    }
    # What is not written is not lost: forward again, all of it is back.
    apply_kinds(control_plane)
    wait_until(lambda: knows_logs(control_plane), timeout=60, what="the kinds", interval=0.2)
    assert earlier.api.get(path)["spec"] == whole["spec"]
    assert earlier.api.get(path)["status"] == whole["status"]

    # Written in between, it is gone; the job, its pod and its results are not.
    apply_earlier(control_plane)
    earlier.api.patch(f"{path}/status", {"status": {"observedGeneration": 1}})
    apply_kinds(control_plane)
    wait_until(lambda: knows_logs(control_plane), timeout=60, what="the kinds", interval=0.2)
    assert "allowedMediaRoots" not in json.dumps(earlier.api.get(path)["spec"])
    pods = pods_of(earlier, kind, "later")
    async with start_operator():
        for pod in pods:
            earlier.finish(pod)
        await until(
            lambda: earlier.status(kind, "later").get("phase") == "Succeeded",
            what=lambda: f"its end: {earlier.status(kind, 'later')}",
        )
    # It ran on as it was accepted, and says that its spec is another one.
    status = earlier.status(kind, "later")
    assert (status["attempt"], status["restarts"]) == (0, 0)
    assert status["artifacts"]["uri"].endswith(f"/later/{whole['metadata']['uid']}")
    assert earlier.condition("Accepted", kind, "later")["reason"] == "SpecChanged"
