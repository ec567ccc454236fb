"""The images as pods of the restricted kind: no root, no capability, nothing to write but /tmp."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import layout
from tests.cluster.cluster import Cluster
from tests.cluster.wait import wait_until
from tests.jobs.trainers.world import World
from tests.s3.server import S3Server, run_server

pytestmark = pytest.mark.cluster

TRAIN_PROCESSES = 2


@pytest.fixture
def s3(node: Cluster, tmp_path: Path) -> Iterator[S3Server]:
    """A server that pods reach."""
    with run_server(tmp_path / "s3", address=layout.NODE_ADDRESS) as server:
        yield server


def run_pod(
    node: Cluster,
    namespace: str,
    image: str,
    script: str,
    *,
    env: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Run a shell script in a pod; return its exit code and output."""
    path = f"/api/v1/namespaces/{namespace}"
    node.api.create(f"{path}/configmaps", {"metadata": {"name": "files"}, "data": files or {}})
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
                        "env": [
                            {"name": name, "value": value} for name, value in (env or {}).items()
                        ],
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [
                            {"name": "tmp", "mountPath": "/tmp"},
                            {"name": "files", "mountPath": "/files"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "files", "configMap": {"name": "files"}},
                ],
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


def test_the_train_image_trains_from_s3_to_s3_as_this_machine_does(
    node: Cluster, kube_namespace: str, load: Callable[[str], str], s3: S3Server, tmp_path: Path
) -> None:
    """Two processes under DeepSpeed, which must have nothing to compile.

    The sample image differs from this one by its labels only (see test_archives.py).
    """
    here = World.make(tmp_path / "here")
    run = here.run(here.job(), processes=TRAIN_PROCESSES)
    assert run.code == 0, run.stderr
    s3.create_bucket("bucket")
    inputs = s3.upload_folder(here.folder / "data", "bucket", "data").removesuffix("/data")
    s3.upload_folder(here.folder / "model", "bucket", "model")
    scores = (here.folder / "rewards.parquet").read_bytes()
    s3.client.put_object(Bucket="bucket", Key="rewards.parquet", Body=scores)
    job = here.job(
        artifacts__uri=f"{inputs}/artifacts",
        artifacts__endpoint=s3.endpoint,
        artifacts__region=s3.region,
        model__uri=f"{inputs}/model",
        data__train__uri=f"{inputs}/data/train.jsonl",
        data__evaluation__uri=f"{inputs}/data/heldout.jsonl",
        reward__scoresUri=f"{inputs}/rewards.parquet",
    )
    code, output = run_pod(
        node,
        kube_namespace,
        load("train"),
        f"""
        id -u
        if touch /opt/mmrlhf/x 2>/dev/null; then echo "the root can be written"; fi
        python -c 'import getpass; print(getpass.getuser())'
        python -m torch.distributed.run --nproc-per-node={TRAIN_PROCESSES} --master-addr=127.0.0.1 \
            -m mmrlhf_jobs mmdpo --job /files/job.yaml
        if [ -e /tmp/.cache/torch_extensions ]; then echo "something was compiled"; fi
        """,
        env={**s3.environment(), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        files={"job.yaml": yaml.safe_dump(job)},
    )
    assert code == 0, output
    assert output.startswith("65532\nmmrlhf\n")
    assert "something was compiled" not in output
    there = tmp_path / "there"
    s3.download_folder("bucket", "artifacts/default/tiny", there)
    (found,) = there.iterdir()
    expected = here.results()
    weights = "model/model.safetensors"
    assert (found / weights).read_bytes() == (expected / weights).read_bytes()
    manifests = [json.loads((one / "manifest.json").read_text()) for one in (found, expected)]
    assert manifests[0]["metrics"] == manifests[1]["metrics"]
