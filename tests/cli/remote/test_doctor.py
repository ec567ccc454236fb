"""``doctor`` on a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.cli.remote.conftest import Ctl
from tests.cluster import gpu_nodes

pytestmark = pytest.mark.cluster


@pytest.fixture
def nodes(ctl: Ctl) -> Iterator[None]:
    names = [f"h800-{ctl.namespace}-{number}" for number in (0, 1)]
    labels = {**gpu_nodes.H800_LABELS, "pool": ctl.namespace}
    with gpu_nodes.gpu_nodes(
        ctl.cluster.api, names, labels=labels, heartbeat=not ctl.cluster.is_ours
    ):
        yield


@pytest.mark.usefixtures("nodes")
def test_a_cluster_that_is_ready(ctl: Ctl, operator_traces: Callable[..., None]) -> None:
    pools = {
        "h800": {"nodeSelector": {"pool": ctl.namespace}},
        "moon": {"nodeSelector": {"a": "b"}},
    }
    operator_traces(pools=pools)
    done = ctl("doctor", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = {one["check"]: (one["state"], one["text"]) for one in json.loads(done.stdout)}
    assert {check for check, (state, _) in found.items() if state == "failed"} == set()
    for kind in ("MMDPOJob", "RewardTrainJob", "ClusterSampleJob"):
        assert found[f"CRD {kind}"] == ("ok", "installed, and of this version")
    loaded = subprocess.run(
        ctl.cluster.command([sys.executable, "-X", "importtime", "-m", "mmrlhfctl", "doctor"]),
        env=ctl.cluster.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mmrlhf_api.schema_digests" in loaded.stderr
    assert "pydantic" not in loaded.stderr  # which only differences need
    assert found["permission mmdpojobs"][0] == "ok"
    assert "1 of 1 replicas ready, image example.test/operator:1" in found["operator"][1]
    assert "held by operator-0" in found["operator lease"][1]
    assert "16 x NVIDIA-H800 on 2 nodes" in found["nodes"][1]
    assert found["node pool h800"] == ("ok", "2 nodes fit")
    assert found["node pool moon"][0] == "warning"
    assert found["gang providers"][0] == "info"
    text = ctl("doctor").stdout
    assert "ok       CRD MMDPOJob: installed, and of this version" in text


@pytest.mark.usefixtures("nodes")
def test_an_operator_that_is_silent(ctl: Ctl, operator_traces: Callable[..., None]) -> None:
    operator_traces(renewed="2020-01-01T00:00:00.000000Z")
    done = ctl("doctor")
    assert done.returncode == 1
    assert "failed   operator lease: operator-0 in namespace" in done.stdout
    assert done.stderr == "error: not ready to run jobs: operator lease\n"


def test_someone_who_may_do_nothing(ctl: Ctl, kubeconfig: Callable[..., str], token: str) -> None:
    done = ctl("doctor", "--kubeconfig", kubeconfig(user={"token": token}))
    assert done.returncode == 1
    lines = done.stdout
    denied = "you may not get, list, watch, create, patch, delete mmdpojobs"
    assert f"failed   permission mmdpojobs: {denied} in namespace {ctl.namespace}" in lines
    assert "info     CRD MMDPOJob: installed; its version is not compared" in lines
    assert "info     operator: not checked: you may not list deployments elsewhere" in lines
    assert "info     nodes: not checked" in lines
    assert "Traceback" not in done.stderr
