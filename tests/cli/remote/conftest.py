"""The command against a real API server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api import KINDS
from mmrlhf_api.crd import crd
from mmrlhf_api.pipelines.resources import resource_of
from tests.cli.conftest import SERVER, Result, run_command
from tests.cluster.access import Access
from tests.cluster.api import STRATEGIC_PATCH
from tests.cluster.errors import ApiError
from tests.cluster.kinds import CRDS, know_kinds, wait_until_served
from tests.cluster.wait import wait_until
from tests.unit.api.specimens import changed


@dataclass
class Ctl:
    """The command in one namespace of a cluster."""

    cluster: Access
    namespace: str
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __call__(
        self, *arguments: str, stdin: str | None = None, namespace: bool = True, **env: str
    ) -> Result:
        """Run the command to its end."""
        return run_command(
            replace(SERVER, within=tuple(self.cluster.command([]))),
            self.words(*arguments, namespace=namespace),
            {**self.cluster.environment(), **env},
            folder=self.folder,
            stdin=stdin,
        )

    def words(self, *arguments: str, namespace: bool = True) -> list[str]:
        return [*(["-n", self.namespace] if namespace else []), *arguments]

    def argv(self, *arguments: str, namespace: bool = True) -> list[str]:
        words = self.words(*arguments, namespace=namespace)
        return self.cluster.command([sys.executable, "-m", "mmrlhfctl", *words])

    def start(self, *arguments: str) -> Running:
        """Start the command and leave it running."""
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as err:
            process = subprocess.Popen(
                self.argv(*arguments),
                cwd=self.folder,
                env=self.cluster.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.started.append(process)
        return Running(process, self.folder)

    def path(self, kind: str, name: str = "") -> str:
        plural = resource_of(kind).plural
        base = f"/apis/mmrlhf.io/v1alpha1/namespaces/{self.namespace}/{plural}"
        return f"{base}/{name}" if name else base

    def job(self, kind: str = "MMDPOJob", name: str = "digits", **changes: Any) -> dict[str, Any]:
        """Make a job, without the command."""
        body = changed(kind, **changes)
        body["metadata"]["name"] = name
        return self.cluster.api.create(self.path(kind), body)

    def set_status(self, kind: str, name: str, **status: Any) -> None:
        """Play the operator."""
        body = {"observedGeneration": 1, **status}
        self.cluster.api.patch(f"{self.path(kind, name)}/status", {"status": body})

    def suspended(self, name: str = "digits") -> bool:
        body = self.cluster.api.get(self.path("MMDPOJob", name))
        return bool(body["spec"]["runPolicy"]["suspend"])


@dataclass
class Running:
    """The command while it runs."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def out(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "stderr").read_text()

    def wait_for(self, text: str, *, stream: str = "stdout") -> None:
        """Wait until it has written something."""

        def written() -> bool:
            content = (self.folder / stream).read_text()
            if text not in content and self.process.poll() is not None:
                pytest.fail(f"it ended ({self.process.returncode}) without {text!r}: {content}")
            return text in content

        wait_until(written, timeout=60, what=f"{text!r} on {stream}")

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        return self.process.wait(timeout=300)


@pytest.fixture
def crds(cluster: Access) -> None:
    """The kinds are known to the cluster."""
    know_kinds(cluster)


def install(cluster: Access, body: dict[str, Any]) -> None:
    """Install or replace a CRD and wait until the server speaks it."""
    cluster.api.apply(f"{CRDS}/{body['metadata']['name']}", body, manager="cli-tests")
    wait_until_served(cluster, body)


@contextmanager
def replaced(ctl: Ctl, body: dict[str, Any]) -> Iterator[None]:
    """Another CRD of MMDPOJob for the length of a ``with`` block, and ours again after it.

    A server goes on with the schema before for a moment: the next test must not meet it.
    """
    probe = changed(metadata__name="probe", training__epochs=11, runPolicy={"cancel": True})

    def is_ours() -> bool:
        try:
            kept = ctl.cluster.api.create(ctl.path("MMDPOJob"), probe, dry_run=True)
        except ApiError:
            return False
        return "cancel" in kept["spec"]["runPolicy"]

    install(ctl.cluster, body)
    try:
        wait_until(lambda: not is_ours(), timeout=30, what="the other schema")
        yield
    finally:
        install(ctl.cluster, crd(KINDS["MMDPOJob"], cel=ctl.cluster.knows_rules))
        wait_until(is_ours, timeout=30, what="our schema")


@pytest.fixture
def ctl(cluster: Access, crds: None, kube_namespace: str, tmp_path: Path) -> Iterator[Ctl]:
    """The command, where the kinds are installed and the namespace is the test's own."""
    command = Ctl(cluster, kube_namespace, tmp_path)
    yield command
    for process in command.started:
        process.kill()
        process.wait()


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[..., str]:
    """Write a job file and return its path."""

    def write(kind: str = "MMDPOJob", /, name: str = "digits", **changes: Any) -> str:
        data = changed(kind, **changes)
        data["metadata"]["name"] = name
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(data, indent=2))
        return str(path)

    return write


@pytest.fixture
def kubeconfig(ctl: Ctl, tmp_path: Path) -> Callable[..., str]:
    """Write a kubeconfig like the cluster's own with another user, server or context."""

    def write(
        user: dict[str, Any] | None = None, server: str | None = None, namespace: str | None = None
    ) -> str:
        config = yaml.safe_load(ctl.cluster.kubeconfig.read_text())
        if user is not None:
            config["users"][0]["user"] = user
        if server is not None:
            config["clusters"][0]["cluster"]["server"] = server
        if namespace is not None:
            config["contexts"][0]["context"]["namespace"] = namespace
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return str(path)

    return write


@pytest.fixture
def token(ctl: Ctl) -> str:
    """Token of an account that may do nothing."""
    namespace = f"/api/v1/namespaces/{ctl.namespace}"
    ctl.cluster.api.create(f"{namespace}/serviceaccounts", {"metadata": {"name": "nobody"}})
    request: dict[str, Any] = {"spec": {}}
    answer = ctl.cluster.api.create(f"{namespace}/serviceaccounts/nobody/token", request)
    return str(answer["status"]["token"])


@pytest.fixture
def operator_traces(ctl: Ctl) -> Callable[..., None]:
    """Leave what a living operator leaves: a Deployment that is ready, and a Lease."""
    api, namespace = ctl.cluster.api, ctl.namespace

    leases = "/apis/coordination.k8s.io/v1/leases"

    def none_elsewhere() -> bool:  # those of other tests go with their namespaces
        names = {lease["metadata"]["name"] for lease in api.get(leases)["items"]}
        return "mmrlhf-operator" not in names

    if not ctl.cluster.is_ours and not none_elsewhere():
        pytest.skip("an operator lives in this cluster already")
    wait_until(none_elsewhere, timeout=60, what="the end of other operators")

    def leave(*, renewed: str | None = None, pools: dict[str, Any] | None = None) -> None:
        labels = {"app": "operator"}
        container = {"name": "operator", "image": "example.test/operator:1"}
        volume = {"name": "config", "configMap": {"name": "mmrlhf-operator-7h2b9k"}}
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "volumes": [volume]},
            },
        }
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        api.create(path, {"metadata": {"name": "mmrlhf-operator"}, "spec": spec})
        # The controller manager would count pods; without a kubelet there are none.
        pods = f"/api/v1/namespaces/{namespace}/pods"
        wait_until(lambda: api.get(pods)["items"], timeout=30, what="the operator's pod")
        pod = api.get(pods)["items"][0]["metadata"]["name"]
        ready = {"type": "Ready", "status": "True"}
        api.patch(
            f"{pods}/{pod}/status",
            {"status": {"phase": "Running", "conditions": [ready]}},
            kind=STRATEGIC_PATCH,
        )
        wait_until(
            lambda: api.get(f"{path}/mmrlhf-operator")["status"].get("readyReplicas"),
            timeout=150,
            what="a ready replica",
        )
        renewed = renewed or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = {
            "holderIdentity": "operator-0",
            "leaseDurationSeconds": 86400,
            "renewTime": renewed,
        }
        api.create(
            f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
            {"metadata": {"name": "mmrlhf-operator"}, "spec": lease},
        )
        config = {"config.yaml": yaml.safe_dump({"nodePools": pools or {}})}
        api.create(
            f"/api/v1/namespaces/{namespace}/configmaps",
            {"metadata": {"name": "mmrlhf-operator-7h2b9k"}, "data": config},
        )

    return leave
