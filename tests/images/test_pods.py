"""The images as pods of the restricted kind: no root, no capability, nothing to write but /tmp."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from images.recipes import IMAGES, REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.wait import wait_until

pytestmark = pytest.mark.cluster


def run_pod(node: Cluster, namespace: str, image: str, script: str) -> tuple[int, str]:
    """Run a shell script in a pod; return its exit code and output."""
    path = f"/api/v1/namespaces/{namespace}"
    node.api.create(
        f"{path}/pods",
        {
            "metadata": {"name": "one"},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "main",
                        "image": image,
                        "imagePullPolicy": "Never",
                        "command": ["sh", "-euc", script],
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    )

    def ended() -> dict[str, Any] | None:
        status = node.api.get(f"{path}/pods/one")["status"]
        (container,) = status.get("containerStatuses") or [{"state": {}}]
        waiting = container["state"].get("waiting", {})
        assert "Image" not in waiting.get("reason", ""), waiting
        found: dict[str, Any] | None = container["state"].get("terminated")
        return found

    state = wait_until(ended, timeout=300, what="the end of the pod", interval=0.2)
    assert state is not None
    return state["exitCode"], node.api.text(f"{path}/pods/one/log")


def test_the_operator_image_runs_the_operator_and_the_command_line(
    node: Cluster, kube_namespace: str, load: Callable[[str], str]
) -> None:
    code, output = run_pod(
        node,
        kube_namespace,
        load("operator"),
        """
        id -u
        if touch /opt/mmrlhf/x 2>/dev/null; then echo "the root can be written"; fi
        mmrlhfctl version
        kubectl-mmrlhf version > /dev/null
        python -m mmrlhf_operator --help > /dev/null
        python -c 'import importlib.util as u; print("torch:", u.find_spec("torch"))'
        """,
    )
    assert code == 0, output
    assert output.startswith("65532\n")
    assert "the root can be written" not in output
    assert "mmrlhf" in output.splitlines()[1]
    assert output.splitlines()[-1] == "torch: None"


def test_the_train_image_runs_a_job(
    node: Cluster, kube_namespace: str, load: Callable[[str], str]
) -> None:
    """That it trains, from an object store to it, is seen in tests/e2e.

    The sample image has a layer more than this one (see test_contents.py); tests/e2e runs it too.
    """
    code, output = run_pod(
        node,
        kube_namespace,
        load("train"),
        """
        id -u
        if touch /opt/mmrlhf/x 2>/dev/null; then echo "the root can be written"; fi
        python -c 'import getpass; print(getpass.getuser())'
        python -m mmrlhf_jobs mmdpo --job /files/none.yaml && exit 1 || test $? = 2
        """,
    )
    assert code == 0, output
    assert output.startswith("65532\nmmrlhf\n")
    assert "the root can be written" not in output
    assert "/files/none.yaml" in output.splitlines()[-1]


@pytest.mark.parametrize("image", IMAGES)
def test_pods_run_the_code_of_this_tree_as_it_is_now(
    node: Cluster, kube_namespace: str, load: Callable[[str], str], image: str
) -> None:
    """Layers are kept from build to build and from node to node: none of them is an old one."""
    code, output = run_pod(
        node,
        kube_namespace,
        load(image),
        """
        cd /opt/mmrlhf/lib/python3.11/site-packages
        find mmrlhf_api mmrlhf_jobs mmrlhf_operator mmrlhfctl mmrlhf -name '*.py' | xargs sha256sum
        """,
    )
    assert code == 0, output
    rows = (line.split() for line in output.splitlines())
    found = {name: digest for digest, name in rows}
    ours = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (REPOSITORY / name for name in ("crds", "jobs", "operator", "cli", "sdk"))
        for path in folder.rglob("*.py")
    }
    assert len(ours) > 500
    assert found == ours
