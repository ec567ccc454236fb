"""What is applied to install the operator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_operator.config import load_config
from mmrlhf_operator.installation.__main__ import main
from mmrlhf_operator.installation.files import files

FILES = files("1.2.3")


def objects(folder: str) -> list[dict[str, Any]]:
    return [
        body
        for name, text in FILES.items()
        if name.startswith(f"{folder}/") and name.rpartition("/")[2] != "config.yaml"
        for body in yaml.safe_load_all(text)
        if body["kind"] != "Kustomization"
    ]


def deployment(folder: str) -> dict[str, Any]:
    (found,) = [body for body in objects(folder) if body["kind"] == "Deployment"]
    return found


@pytest.mark.parametrize("folder", ["cluster", "namespace"])
def test_the_pod_meets_the_restricted_standard(folder: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    pod = deployment(folder)["spec"]["template"]["spec"]
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {key for volume in pod["volumes"] for key in volume} == {"name", "configMap", "emptyDir"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPort" in port for port in container["ports"])


def test_an_operator_for_one_namespace_has_nothing_outside_of_it() -> None:
    assert {body["metadata"]["namespace"] for body in objects("namespace")} == {"mmrlhf"}
    kinds = [body["kind"] for body in objects("namespace")]
    assert sorted(kinds) == ["Deployment", "Role", "RoleBinding", "ServiceAccount"]


def test_nothing_is_granted_by_wildcard() -> None:
    for body in [*objects("cluster"), *objects("namespace")]:
        assert "*" not in str(body.get("rules", ""))


@pytest.mark.parametrize("folder", ["cluster", "namespace"])
def test_kustomize_changes_nothing_but_the_name_of_the_configuration(
    folder: str, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir()
    for name, text in FILES.items():
        if name.startswith(f"{folder}/"):
            (tmp_path / name).write_text(text)
    done = subprocess.run(
        [Path(sys.executable).parent / "kubectl", "kustomize", tmp_path / folder],
        capture_output=True,
        text=True,
        check=True,
    )
    made = {key(body): body for body in yaml.safe_load_all(done.stdout)}
    (config,) = (body for body in made.values() if body["kind"] == "ConfigMap")
    name = config["metadata"]["name"]
    assert name.startswith("mmrlhf-operator-config-")
    assert config["data"] == {"config.yaml": FILES[f"{folder}/config.yaml"]}
    del made[key(config)]
    (pod,) = (
        body["spec"]["template"]["spec"] for body in made.values() if body["kind"] == "Deployment"
    )
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "config")
    assert volume["configMap"]["name"] == name
    volume["configMap"]["name"] = "mmrlhf-operator-config"
    assert made == {key(body): body for body in objects(folder)}


def key(body: dict[str, Any]) -> tuple[str, str]:
    return body["kind"], body["metadata"]["name"]


@pytest.mark.parametrize("folder", ["cluster", "namespace"])
def test_the_operator_reads_its_configuration(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FILES[f"{folder}/config.yaml"])
    (container,) = deployment(folder)["spec"]["template"]["spec"]["containers"]
    environ = {one["name"]: one.get("value", "a-namespace") for one in container["env"]}
    config = load_config(path, environ=environ)
    assert config.images["MMDPOJob"] == "mmrlhf/train:1.2.3"
    assert config.node_pools["h800"].resources == {"rdma/hca": "1"}
    assert config.health_address == "0.0.0.0:8080"
    assert (config.progress_url is not None) == (folder == "cluster")
    assert config.namespaces == (() if folder == "cluster" else ("a-namespace",))


def test_drift_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--output-dir={tmp_path}"]) == 0
    assert main([f"--output-dir={tmp_path}", "--check"]) == 0
    (tmp_path / "cluster/access.yaml").write_text("---\n")
    (tmp_path / "namespace/extra.yaml").write_text("---\n")
    capsys.readouterr()
    assert main([f"--output-dir={tmp_path}", "--check"]) == 1
    told = capsys.readouterr().err
    assert "cluster/access.yaml" in told
    assert "namespace/extra.yaml" in told
