"""Pods run, find each other, reach the API server, and reach nothing outside."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.cluster import gpu_nodes, images, layout
from tests.cluster.access import Access
from tests.cluster.binaries import kubectl
from tests.cluster.wait import wait_until

pytestmark = pytest.mark.cluster

Manifest = dict[str, Any]


def _container(script: str, **more: Any) -> Manifest:
    return {"name": "main", "image": images.TEST.name, "args": [script], **more}


def _run(cluster: Access, namespace: str, name: str, script: str, **spec: Any) -> None:
    """Start a pod that runs a shell script once."""
    labels = spec.pop("labels", {})
    container = _container(script, **spec.pop("container", {}))
    cluster.api.create(
        f"/api/v1/namespaces/{namespace}/pods",
        {
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "containers": [container],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                **spec,
            },
        },
    )


def _wait_for_phase(cluster: Access, namespace: str, name: str, *phases: str) -> Manifest:
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    wait_until(
        lambda: cluster.api.get(path)["status"]["phase"] in phases,
        timeout=60,
        what=f"the pod {name} in phase {' or '.join(phases)}",
        interval=0.2,
    )
    return cluster.api.get(path)


def _output(cluster: Access, namespace: str, name: str) -> str:
    """What the pod has printed when it has ended; it must have ended well."""
    pod = _wait_for_phase(cluster, namespace, name, "Succeeded", "Failed")
    log = cluster.api.text(f"/api/v1/namespaces/{namespace}/pods/{name}/log")
    assert pod["status"]["phase"] == "Succeeded", log
    return log


def _service(cluster: Access, namespace: str, name: str, **spec: Any) -> None:
    cluster.api.create(
        f"/api/v1/namespaces/{namespace}/services", {"metadata": {"name": name}, "spec": spec}
    )


def test_pods_find_each_other_before_they_are_ready(
    full_cluster: Access, kube_namespace: str
) -> None:
    headless = {"clusterIP": "None", "selector": {"job": "one"}}
    _service(full_cluster, kube_namespace, "job", publishNotReadyAddresses=True, **headless)
    _service(full_cluster, kube_namespace, "ready-only", **headless)
    domain = f"{kube_namespace}.svc.{layout.DOMAIN}"
    for index in (0, 1):
        script = f"""
            for host in job-{index} job-{1 - index}; do
                until nslookup $host.job.{domain} >/tmp/answer 2>&1; do sleep 0.2; done
                sed -n 's/^Address: /'$host' is /p' /tmp/answer
            done
            nslookup ready-only.{domain} >/dev/null 2>&1 || echo ready-only has no address
            sleep 600  # the other needs this name
        """
        _run(
            full_cluster,
            kube_namespace,
            f"job-{index}",
            script,
            hostname=f"job-{index}",
            subdomain="job",
            labels={"job": "one"},
            container={"readinessProbe": {"exec": {"command": ["false"]}}},
        )
    names = ("job-0", "job-1")
    pods = [_wait_for_phase(full_cluster, kube_namespace, name, "Running") for name in names]
    told = {f"{name} is {pod['status']['podIP']}" for name, pod in zip(names, pods, strict=True)}
    told.add("ready-only has no address")

    def found(name: str) -> set[str]:
        path = f"/api/v1/namespaces/{kube_namespace}/pods/{name}/log"
        return {*full_cluster.api.text(path).splitlines()}

    wait_until(lambda: all(found(name) >= told for name in names), timeout=60, what="the addresses")
    assert [found(name) for name in names] == [told, told]


def test_projected_token_reaches_the_api_by_its_service(
    full_cluster: Access, kube_namespace: str
) -> None:
    token = {"path": "token", "audience": layout.OPERATOR_AUDIENCE, "expirationSeconds": 3600}
    _run(
        full_cluster,
        kube_namespace,
        "caller",
        """
            cat /var/run/operator/token; echo
            timeout 300 wget -q --no-check-certificate -O - \
                --header "Authorization: Bearer $(cat /var/run/operator/token)" \
                https://kubernetes.default.svc/version
        """,
        automountServiceAccountToken=False,
        container={"volumeMounts": [{"name": "operator", "mountPath": "/var/run/operator"}]},
        volumes=[
            {"name": "operator", "projected": {"sources": [{"serviceAccountToken": token}]}},
        ],
    )
    shown, _, answer = _output(full_cluster, kube_namespace, "caller").partition("\n")
    assert '"gitVersion"' in answer
    review = full_cluster.api.create(
        "/apis/authentication.k8s.io/v1/tokenreviews",
        {"spec": {"token": shown, "audiences": [layout.OPERATOR_AUDIENCE]}},
    )["status"]
    assert review["authenticated"]
    assert review["audiences"] == [layout.OPERATOR_AUDIENCE]
    assert review["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["caller"]


def test_pods_reach_each_other_by_a_service_address(
    full_cluster: Access, kube_namespace: str
) -> None:
    page = "echo hello >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    _run(full_cluster, kube_namespace, "server", page, labels={"app": "server"})
    _service(
        full_cluster, kube_namespace, "web", selector={"app": "server"}, ports=[{"port": 8080}]
    )
    # Attempts before the server listens are refused, and say so on stderr, which is in the logs.
    fetch = (
        "until timeout 10 wget -q -O - http://web:8080/index.html 2>/dev/null; do sleep 0.2; done"
    )
    _run(full_cluster, kube_namespace, "client", fetch)
    assert _output(full_cluster, kube_namespace, "client") == "hello\n"


def test_logs_exec_and_termination_message(full_cluster: Access, kube_namespace: str) -> None:
    script = """
        echo first
        until [ -e /tmp/go ]; do sleep 0.1; done
        echo last
        echo bad input >/dev/termination-log
        exit 7
    """
    _run(full_cluster, kube_namespace, "talker", script)
    _wait_for_phase(full_cluster, kube_namespace, "talker", "Running")
    where = f"--namespace={kube_namespace}"
    with subprocess.Popen(
        full_cluster.command([str(kubectl()), "logs", "--follow", where, "talker"]),
        env=full_cluster.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "first\n"
        inside = full_cluster.kubectl("exec", where, "talker", "--", "cat", "/proc/1/comm")
        assert inside.stdout == "sh\n"
        # The container may end before the command does, and take it along.
        full_cluster.kubectl("exec", where, "talker", "--", "touch", "/tmp/go", check=False)
        assert following.stdout.read() == "last\n"
    assert following.returncode == 0

    pod = _wait_for_phase(full_cluster, kube_namespace, "talker", "Failed")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (7, "bad input\n")


def test_pods_reach_nothing_outside(full_cluster: Access, kube_namespace: str) -> None:
    if not full_cluster.is_ours:
        pytest.skip("someone else's cluster may well have a way out")
    # 192.0.2.0/24 is set aside for examples, and belongs to nobody.
    script = """
        until nslookup www.example.com 2>&1 | grep NXDOMAIN; do sleep 0.2; done
        nc -w 2 192.0.2.1 80 2>&1
        true
    """
    _run(full_cluster, kube_namespace, "prisoner", script)
    told = _output(full_cluster, kube_namespace, "prisoner")
    assert "NXDOMAIN" in told
    assert "Network is unreachable" in told
    routes = subprocess.run(
        full_cluster.command(["ip", "route", "show", "default"]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert routes.stdout == ""


def test_real_node_runs_pods_that_ask_for_gpus(full_cluster: Access, kube_namespace: str) -> None:
    if not full_cluster.is_ours:
        pytest.skip("the nodes of someone else's cluster are not ours to change")
    gpu_nodes.offer(full_cluster.api, layout.NODE_NAME, {"nvidia.com/gpu": "8"})
    resources = {"limits": {"nvidia.com/gpu": "8"}}
    _run(full_cluster, kube_namespace, "gpu", "echo ran", container={"resources": resources})
    assert _output(full_cluster, kube_namespace, "gpu") == "ran\n"
