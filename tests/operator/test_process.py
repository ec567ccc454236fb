"""The operator as a process: replicas that take turns, and an end when asked to."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.cluster.access import Access
from tests.cluster.wait import wait_until
from tests.operator.metrics_page import Page
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.cluster


def test_the_next_replica_takes_over_from_one_that_is_told_to_end(
    control_plane: Access, kinds: None, kube_namespace: str, tmp_path: Path
) -> None:
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{kube_namespace}/leases/mmrlhf-operator"

    def holder() -> str:
        if not control_plane.api.exists(lease):
            return ""
        identity: str = control_plane.api.get(lease)["spec"]["holderIdentity"]
        return identity.partition("_")[0]

    with ExitStack() as stack:
        one, one_port = start(stack, control_plane, kube_namespace, tmp_path / "one")
        wait_until(lambda: holder() == "one", timeout=60, what="a leader")
        assert health(one_port) == (200, "ok")
        two, two_port = start(stack, control_plane, kube_namespace, tmp_path / "two")
        wait_until(lambda: answers(two_port), timeout=60, what="the health of who stands by")
        assert health(two_port) == (200, "ok")
        assert health(two_port, "/readyz") == (200, "ok")
        assert holder() == "one"

        wait_until(lambda: "leads" in log(tmp_path / "one"), timeout=30, what="its work")
        one.terminate()
        assert one.wait(timeout=600) == 0, log(tmp_path / "one")
        wait_until(lambda: holder() == "two", timeout=60, what="the next leader")
        two.terminate()
        assert two.wait(timeout=600) == 0, log(tmp_path / "two")
        assert holder() == ""


def test_who_has_no_right_to_the_lease_is_well_but_not_ready(
    control_plane: Access, kube_namespace: str, tmp_path: Path
) -> None:
    account = f"/api/v1/namespaces/{kube_namespace}/serviceaccounts/default/token"
    token = control_plane.api.create(account, {"spec": {}})["status"]["token"]
    kubeconfig = yaml.safe_load(control_plane.kubeconfig.read_text())
    for user in kubeconfig["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    address = f"127.0.0.1:{free_port()}"
    tries = partial(Page(address).value, "mmrlhf_lease_tries_total", result="failed")
    with ExitStack() as stack:
        _, port = start(
            stack,
            control_plane,
            kube_namespace,
            tmp_path / "one",
            settings={"metricsAddress": address},
            KUBECONFIG=str(path),
        )
        wait_until(lambda: answers(port), timeout=60, what="its health")
        wait_until(lambda: health(port, "/readyz")[0] == 500, timeout=30, what="its refusal")
        assert ": 403 " in health(port, "/readyz")[1]
        wait_until(lambda: tries() >= 3, timeout=60, what="its third try")
        assert health(port) == (200, "ok")
    # Not the bare code: the namespace's name, which is drawn, can hold its digits.
    told = [line for line in log(tmp_path / "one").splitlines() if "the Lease cannot be" in line]
    assert len(told) == 1
    assert ": 403 " in told[0]


def start(
    stack: ExitStack,
    access: Access,
    namespace: str,
    folder: Path,
    *,
    settings: Mapping[str, object] | None = None,
    **env: str,
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a replica named as its folder; returns it and the port of its health."""
    port = free_port()
    folder.mkdir()
    config = {
        **(settings or {}),
        "namespaces": [namespace],
        "healthAddress": f"127.0.0.1:{port}",
        # Long, so that only one who gives the Lease up is followed within the test's patience.
        "leaderElection": {"namespace": namespace, "duration": 300.0, "retry": 0.2},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    with (folder / "log").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmrlhf_operator", f"--config={folder}/config.yaml",
             "--leader-elect"],
            env={**access.environment(), "HOSTNAME": folder.name, **env},
            stderr=file,
        )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process, port


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def answers(port: int) -> bool:
    try:
        health(port)
    except OSError:
        return False
    return True


def health(port: int, path: str = "/healthz") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60 * PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
