"""The control plane does what a real one does, and tests of all kinds reach it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.cluster import gpu_nodes, layout, scripted_pods
from tests.cluster.access import Access
from tests.cluster.errors import ApiError
from tests.cluster.wait import wait_until

Manifest = dict[str, Any]

_NETWORK = Path("/proc/thread-self/ns/net")
_OUTSIDE = _NETWORK.readlink()

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.mmrlhf.io}
spec:
  group: test.mmrlhf.io
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {size: {type: integer, minimum: 1, default: 3}}
"""

in_cluster = pytest.mark.cluster


def _pod(name: str, **spec: Any) -> Manifest:
    container = {"name": "main", "image": "example.test/none", **spec.pop("container", {})}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def _gpu_pod(name: str, gpus: int, **spec: Any) -> Manifest:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return _pod(name, container={"resources": resources}, **spec)


def _node_of(cluster: Access, pod: str) -> str | None:
    node: str | None = cluster.api.get(pod)["spec"].get("nodeName")
    return node


@pytest.fixture
def gpu_node(control_plane: Access, kube_namespace: str) -> Iterator[str]:
    name = f"h800-{kube_namespace}"
    labels = {**gpu_nodes.H800_LABELS, "test": kube_namespace}
    with gpu_nodes.gpu_nodes(
        control_plane.api, [name], labels=labels, heartbeat=not control_plane.is_ours
    ):
        yield name


@in_cluster
def test_api_is_healthy(control_plane: Access) -> None:
    assert control_plane.api.text("/readyz") == "ok"
    assert "Server Version" in control_plane.kubectl("version").stdout


@in_cluster
async def test_event_loops_live_inside(control_plane: Access) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(server.hostname, server.port, ssl=tls)
    writer.write(b"GET /version HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 ")
    writer.close()
    await writer.wait_closed()


def test_other_tests_run_outside() -> None:
    assert _NETWORK.readlink() == _OUTSIDE


@in_cluster
def test_crd_is_applied_server_side(control_plane: Access, kube_namespace: str) -> None:
    control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=CRD)
    try:
        control_plane.kubectl(
            "wait", "--for=condition=Established", "crd/widgets.test.mmrlhf.io", "--timeout=300s"
        )
        path = f"/apis/test.mmrlhf.io/v1/namespaces/{kube_namespace}/widgets"
        body = {"apiVersion": "test.mmrlhf.io/v1", "kind": "Widget", "metadata": {"name": "one"}}
        assert control_plane.api.create(path, {**body, "spec": {}})["spec"] == {"size": 3}
        with pytest.raises(ApiError, match="should be greater than or equal to 1"):
            control_plane.api.create(path, {**body, "spec": {"size": 0}})
    finally:
        control_plane.kubectl("delete", "crd/widgets.test.mmrlhf.io")


@in_cluster
def test_pod_is_scripted(control_plane: Access, kube_namespace: str, gpu_node: str) -> None:
    api, pods = control_plane.api, f"/api/v1/namespaces/{kube_namespace}/pods"
    api.create(pods, _pod("one", nodeName=gpu_node))

    def shown() -> str:
        row = control_plane.kubectl("get", "pod/one", f"--namespace={kube_namespace}")
        return " ".join(row.stdout.splitlines()[1].split()[:3])

    assert shown() == "one 0/1 Pending"
    scripted_pods.wait_in(api, kube_namespace, "one", reason="ImagePullBackOff")
    assert shown() == "one 0/1 ImagePullBackOff"
    scripted_pods.run(api, kube_namespace, "one", address="10.201.9.9")
    assert shown() == "one 1/1 Running"
    scripted_pods.finish(api, kube_namespace, "one", exit_code=3, message="broken")
    assert shown() == "one 0/1 Error"
    ended = api.get(f"{pods}/one")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (3, "broken")

    api.delete(f"{pods}/one")
    scripted_pods.vanish(api, kube_namespace, "one")
    assert not api.exists(f"{pods}/one")


@in_cluster
def test_scheduler_counts_gpus(control_plane: Access, kube_namespace: str, gpu_node: str) -> None:
    api, pods = control_plane.api, f"/api/v1/namespaces/{kube_namespace}/pods"
    here = {"test": kube_namespace}
    api.create(pods, _gpu_pod("fits", 6, nodeSelector=here))
    wait_until(lambda: _node_of(control_plane, f"{pods}/fits"), timeout=60, what="a node")
    assert _node_of(control_plane, f"{pods}/fits") == gpu_node

    api.create(pods, _gpu_pod("too-large", 4, nodeSelector=here))

    def verdict() -> str:
        conditions = api.get(f"{pods}/too-large")["status"].get("conditions", ())
        return "".join(c["message"] for c in conditions if c["type"] == "PodScheduled")

    wait_until(verdict, timeout=60, what="the scheduler's verdict")
    assert "1 Insufficient nvidia.com/gpu" in verdict()
    assert api.get(f"{pods}/too-large")["status"]["phase"] == "Pending"


@in_cluster
def test_lost_node_evicts_its_pods(
    control_plane: Access, kube_namespace: str, gpu_node: str
) -> None:
    api, pods = control_plane.api, f"/api/v1/namespaces/{kube_namespace}/pods"
    impatient = {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 0,
    }
    api.create(pods, _gpu_pod("one", 8, nodeName=gpu_node, tolerations=[impatient]))
    scripted_pods.run(api, kube_namespace, "one")
    healthy = f"healthy-{kube_namespace}"
    with gpu_nodes.gpu_nodes(api, [healthy], heartbeat=not control_plane.is_ours):
        gpu_nodes.set_ready(api, gpu_node, status="Unknown")
        wait_until(
            lambda: "deletionTimestamp" in api.get(f"{pods}/one")["metadata"],
            timeout=30,
            what="the eviction of the lost node's pod",
        )


@in_cluster
def test_dependents_are_collected(control_plane: Access, kube_namespace: str) -> None:
    api, path = control_plane.api, f"/api/v1/namespaces/{kube_namespace}/configmaps"
    uid = api.create(path, {"metadata": {"name": "owner"}})["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    api.create(path, {"metadata": {"name": "dependent", "ownerReferences": [owner]}})
    api.delete(f"{path}/owner")
    wait_until(lambda: not api.exists(f"{path}/dependent"), timeout=30, what="the collection")


@in_cluster
def test_service_accounts_have_only_their_rights(
    control_plane: Access, kube_namespace: str
) -> None:
    api, namespace = control_plane.api, f"/api/v1/namespaces/{kube_namespace}"
    request = {"spec": {"audiences": [layout.OPERATOR_AUDIENCE]}}
    token = api.create(f"{namespace}/serviceaccounts/default/token", request)["status"]["token"]

    def reviewed(audience: str) -> Manifest:
        body = {"spec": {"token": token, "audiences": [audience]}}
        status: Manifest = api.create("/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]
        return status

    accepted = reviewed(layout.OPERATOR_AUDIENCE)
    assert accepted["authenticated"]
    assert accepted["user"]["username"] == f"system:serviceaccount:{kube_namespace}:default"
    assert not reviewed("someone-else").get("authenticated", False)

    if control_plane.is_ours:  # elsewhere the server need not accept the operator's audience
        with pytest.raises(ApiError, match="cannot list resource"):
            api.with_token(token).get(f"{namespace}/pods")
