"""The chart on a real API server, by Helm itself: from nothing to a job's result, and away again.

No node is there on which the operator could start: it runs here, with the rights and by the
configuration that Helm has put into the cluster.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client

from mmrlhf_api import KINDS
from mmrlhf_operator.config import load_config
from mmrlhf_operator.installation.access import GRANTS, Scope
from mmrlhf_operator.installation.files import files
from mmrlhf_operator.operator import Operator
from tests.cluster.access import Access
from tests.cluster.control_plane import accepts_pods
from tests.cluster.kinds import forget_kinds
from tests.cluster.wait import wait_until
from tests.e2e.platform import Platform, traces
from tests.helm.program import NAMESPACE, HelmError, Release
from tests.manifests import load_all
from tests.operator.driver import Driver, until
from tests.operator.recording import Recording, recorded
from tests.operator.test_earlier_kinds import earlier_kinds, knows_logs, knows_no_logs
from tests.operator.test_installation import path as path_of
from tests.unit.api.specimens import changed

pytestmark = pytest.mark.cluster

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:mmrlhf-operator"
VALUES: dict[str, Any] = {
    "registry": "registry.example.org",
    "nodeSelector": {"there": "is-none"},  # no kubelet would end the pods
    "config": {
        "images": dict.fromkeys(KINDS, "example.test/train:1"),
        "resyncSeconds": 3600,
        "deadlines": {"settle": 2},
    },
}


@pytest.fixture
def release(control_plane: Access, tmp_path: Path) -> Iterator[Release]:
    """A cluster without a trace of ours."""
    if not control_plane.is_ours:
        pytest.skip("the kinds of someone else's cluster, and the jobs, are not ours to delete")
    platform = Platform.prepare(control_plane, tmp_path, image="example.org/operator:1", config={})
    forget_kinds(control_plane)
    if traces(control_plane):
        platform.remove()
        wait_until(lambda: not traces(control_plane), timeout=120, what="a cluster without a trace")
    yield Release(control_plane)
    platform.remove()


def live(cluster: Access, kind: str, name: str) -> dict[str, Any]:
    made = cluster.kubectl("get", kind, name, f"--namespace={NAMESPACE}", "--output=yaml").stdout
    found: dict[str, Any] = yaml.safe_load(made)
    return found


async def test_the_chart_runs_a_job_to_its_end_and_leaves_what_is_the_users(
    driver: Driver, release: Release, control_plane: Access, tmp_path: Path
) -> None:
    tried = release.install(VALUES, dry_run="server", create_namespace=True)
    assert traces(control_plane) == []
    done = release.install(VALUES, create_namespace=True)
    assert done["status"] == "deployed"
    assert "mmrlhfctl doctor" in done["notes"]
    rendered = [body for body in load_all(done["manifest"]) if body]
    assert [one for one in load_all(tried["manifest"]) if one] == rendered
    assert {path_of(body) for body in rendered} <= set(traces(control_plane))
    (container,) = live(control_plane, "deployment", "mmrlhf-operator")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"].startswith("registry.example.org/mmrlhf/operator:")
    for namespace, scopes in (
        (driver.namespace, {Scope.JOBS, Scope.CLUSTER}),
        (NAMESPACE, set(Scope)),
    ):
        wait_until(
            lambda where=namespace, which=scopes: may(control_plane, where) == granted(which),  # type: ignore[misc]
            timeout=30,
            what="the rights",
        )

    config = tmp_path / "config.yaml"
    config.write_text(
        live(control_plane, "configmap", "mmrlhf-operator-config")["data"]["config.yaml"]
    )
    driver.submit()
    async with operator(control_plane, config) as recording:
        await driver.pods_are("demo-0-0", "demo-0-1")
        driver.run()
        await driver.phase("Running")
        for index in (0, 1):
            driver.finish(f"demo-0-{index}")
        await driver.phase("Succeeded")
    # Whose finalizers an account may set, a server knows of new kinds after up to half a minute.
    passing = ("NamespaceTerminating", "no matches for kind")
    refused = [line for line in recording.refused if not any(word in line for word in passing)]
    assert not refused, "\n".join(refused)

    secrets = f"/api/v1/namespaces/{driver.namespace}/secrets"
    driver.api.create(secrets, {"metadata": {"name": "of-a-user"}})
    before = driver.job()
    objects = driver.objects()
    told = release.uninstall()
    kept = {
        *(f"customresourcedefinitions/{body['metadata']['name']}" for body in earlier_kinds()),
        *(f"clusterroles/mmrlhf-{role}" for role in ("view", "edit", "admin")),
    }
    assert all(one.rpartition("/")[2] in told["info"] for one in kept)
    wait_until(
        lambda: not [name for name in traces(control_plane) if "/mmrlhf-operator" in name],
        timeout=60,
        what="the end of the operator",
    )
    assert kept <= set(traces(control_plane))
    assert driver.job() == before
    assert driver.objects() == objects
    assert driver.api.exists(f"{secrets}/of-a-user")

    # The next release of the name finds what it had left.
    assert release.install(VALUES)["status"] == "deployed"
    assert driver.job() == before


@asynccontextmanager
async def operator(cluster: Access, config: Path) -> AsyncIterator[Recording]:
    """The operator as its account, by a configuration."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/mmrlhf-operator/token"
    token = cluster.api.create(path, {"spec": {}})["status"]["token"]
    bearer = cluster.api.with_token(token)
    async with recorded(bearer.server, token, bearer.tls) as recording:
        configuration = client.Configuration()
        configuration.host = recording.url
        ready = asyncio.Event()
        task = asyncio.create_task(
            Operator(configuration, load_config(config, environ={})).run(ready=ready)
        )
        try:
            await until(ready.is_set, what="the operator")
            yield recording
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


Rights = dict[tuple[str, str], set[str]]


def granted(scopes: set[Scope]) -> Rights:
    """Verbs by resource and names, as the table has them."""
    found: Rights = {}
    for grant in GRANTS:
        if grant.scope in scopes:
            for resource in grant.resources:
                plural, _, sub = resource.partition("/")
                whole = f"{plural}.{grant.group}" if grant.group else plural
                key = f"{whole}/{sub}" if sub else whole, " ".join(grant.names)
                found.setdefault(key, set()).update(grant.verbs)
    return found


def may(cluster: Access, namespace: str) -> Rights:
    """The same as `kubectl auth can-i --list` says it, without what every account may."""
    ours, all_of_them = (
        listed(cluster, namespace, who) for who in (ACCOUNT, f"{ACCOUNT}-of-nobody")
    )
    return {
        key: rest for key, verbs in ours.items() if (rest := verbs - all_of_them.get(key, set()))
    }


def listed(cluster: Access, namespace: str, who: str) -> Rights:
    text = cluster.kubectl(
        *("auth", "can-i", "--list", f"--namespace={namespace}", f"--as={who}"),
        *("--as-group=system:serviceaccounts", "--as-group=system:authenticated"),
    ).stdout
    found: Rights = {}
    for line in text.splitlines()[1:]:
        resource, (_, names, verbs) = line.split(" ", 1)[0], re.findall(r"\[([^\]]*)\]", line)
        if resource:
            found.setdefault((resource, names), set()).update(verbs.split())
    return found


def test_upgrade_and_rollback_take_the_kinds_along(
    release: Release, kube_namespace: str, control_plane: Access, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    write_older(older)
    release.install({}, chart=older, create_namespace=True)
    wait_until(lambda: knows_no_logs(control_plane), timeout=30, what="the older kinds")
    jobs = f"/apis/mmrlhf.io/v1alpha1/namespaces/{kube_namespace}/mmdpojobs"
    control_plane.api.create(jobs, changed("MMDPOJob"))
    before = control_plane.api.get(f"{jobs}/demo")

    def image() -> str:
        body = live(control_plane, "deployment", "mmrlhf-operator")
        found: str = body["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    assert image() == "mmrlhf/operator:0.0.9"
    release.upgrade({"replicas": 3}, dry_run="server")
    assert knows_no_logs(control_plane)
    release.upgrade({"replicas": 3})
    wait_until(lambda: knows_logs(control_plane), timeout=30, what="the new kinds")
    assert image() != "mmrlhf/operator:0.0.9"
    assert live(control_plane, "deployment", "mmrlhf-operator")["spec"]["replicas"] == 3
    assert control_plane.api.get(f"{jobs}/demo")["metadata"] == before["metadata"]

    release.rollback()
    wait_until(lambda: knows_no_logs(control_plane), timeout=30, what="the old kinds")
    assert image() == "mmrlhf/operator:0.0.9"
    assert live(control_plane, "deployment", "mmrlhf-operator")["spec"]["replicas"] == 2
    assert control_plane.api.get(f"{jobs}/demo") == before


def write_older(folder: Path) -> None:
    """An earlier version of the chart: older images, and older kinds."""
    for name, text in files("0.0.9").items():
        if name.startswith("chart/") and "/crds/" not in name:
            path = folder / name.removeprefix("chart/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (folder / "files/crds").mkdir()
    for body in earlier_kinds():
        (folder / f"files/crds/{body['metadata']['name']}.yaml").write_text(yaml.safe_dump(body))


def test_the_chart_takes_over_what_one_file_had_installed(
    release: Release, kube_namespace: str, control_plane: Access, tmp_path: Path
) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    platform = Platform.prepare(control_plane, folder, image="mmrlhf/operator:0.1.0", config={})
    control_plane.kubectl("create", "namespace", NAMESPACE)
    wait_until(
        lambda: accepts_pods(control_plane.api, NAMESPACE),
        timeout=30,
        what="all that a namespace has by itself",
    )
    before = traces(control_plane)
    control_plane.kubectl("apply", "--server-side", "--dry-run=server", f"--kustomize={folder}")
    assert traces(control_plane) == before
    platform.apply()
    wait_until(lambda: knows_logs(control_plane), timeout=30, what="the kinds")
    jobs = f"/apis/mmrlhf.io/v1alpha1/namespaces/{kube_namespace}/mmdpojobs"
    control_plane.api.create(jobs, changed("MMDPOJob"))
    platform.remove_operator()
    wait_until(
        lambda: not control_plane.api.exists(f"/api/v1/namespaces/{NAMESPACE}"),
        timeout=60,
        what="the end of the operator",
    )

    with pytest.raises(HelmError, match="invalid ownership metadata"):
        release.install({}, create_namespace=True)
    release.take_over()
    release.install({}, create_namespace=True)
    assert control_plane.api.exists(f"{jobs}/demo")
    assert live(control_plane, "deployment", "mmrlhf-operator")["spec"]["replicas"] == 2
