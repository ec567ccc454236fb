"""What is applied to install the operator."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.config import load_config
from mmrlhf_operator.installation.__main__ import main
from mmrlhf_operator.installation.files import BUNDLE, files
from tests.crd_checker import check
from tests.manifests import load_all

ROOT = Path(__file__).resolve().parents[3]
FILES = files("1.2.3")


def objects(folder: str) -> list[dict[str, Any]]:
    return [
        body
        for name, text in FILES.items()
        if name.startswith(f"{folder}/") and name.rpartition("/")[2] != "config.yaml"
        for body in load_all(text)
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
    assert sorted(kinds) == [
        "Deployment",
        "NetworkPolicy",
        "Role",
        "RoleBinding",
        "ServiceAccount",
    ]


@pytest.mark.parametrize("folder", ["cluster", "namespace"])
def test_the_operator_is_reached_by_pods_of_jobs_where_it_takes_progress_and_by_who_measures(
    folder: str,
) -> None:
    (policy,) = [body for body in objects(folder) if body["kind"] == "NetworkPolicy"]
    pod = deployment(folder)["spec"]["template"]
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen.items() <= pod["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (container,) = pod["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    jobs = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "mmrlhf-operator"}},
    }
    readers = {"namespaceSelector": {"matchLabels": {"mmrlhf.io/metrics": "read"}}}
    let_in = {
        port["port"]: rule["from"] for rule in policy["spec"]["ingress"] for port in rule["ports"]
    }
    wanted = {"progress": [jobs], "metrics": [readers]}
    assert let_in == {ports[name]: peers for name, peers in wanted.items() if name in ports}
    assert ("progress" in ports) == (folder == "cluster")


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
    made = {key(body): body for body in load_all(done.stdout)}
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
    assert config.health_address == ":8080"
    assert config.metrics_address == ":8082"
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


PAGE = (ROOT / "docs/install.md").read_text()


@cache
def bundle() -> list[dict[str, Any]]:
    return list(load_all(FILES[BUNDLE]))


def test_the_bundle_is_the_kinds_and_the_operator_for_the_whole_cluster() -> None:
    made = {key(body): body for body in bundle()}
    assert len(made) == len(bundle())
    for path in (ROOT / "crds").glob("*.yaml"):
        (kind,) = load_all(path.read_text())
        assert made.pop(key(kind)) == kind
    config = made.pop(("ConfigMap", "mmrlhf-operator-config"))
    assert config["data"] == {"config.yaml": FILES["cluster/config.yaml"]}
    assert config["metadata"]["namespace"] == "mmrlhf-system"
    assert made == {key(body): body for body in objects("cluster")}


SERVED = {
    "v1": {"Namespace", "ServiceAccount", "ConfigMap", "Service"},
    "apps/v1": {"Deployment"},
    "networking.k8s.io/v1": {"NetworkPolicy"},
    "rbac.authorization.k8s.io/v1": {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition"},
}
"""What every API server from 1.20 to 1.36 serves, of what is installed.

https://kubernetes.io/docs/reference/using-api/deprecation-guide/
"""
CLUSTER_SCOPED = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def test_api_servers_that_judge_rules_take_the_kinds_of_the_bundle() -> None:
    """As the test of ``crds/`` has it, on what people apply."""
    kinds = [body for body in bundle() if body["kind"] == "CustomResourceDefinition"]
    assert len(kinds) == len(all_resources())
    assert [check(body) for body in kinds] == [[]] * len(kinds)
    # the judge is awake: a default that breaks a rule is found in the same file
    broken = copy.deepcopy(kinds[0])
    schema = broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["runPolicy"]["default"] = {}
    assert check(broken)


def test_a_cluster_that_has_nothing_takes_the_bundle_from_top_to_bottom() -> None:
    namespaces: set[str] = set()
    accounts: set[tuple[str, str]] = set()
    roles: set[tuple[str, str]] = set()
    for body in bundle():
        kind, where = body["kind"], body["metadata"]
        assert kind in SERVED[body["apiVersion"]]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", where["name"])
        assert ("namespace" in where) == (kind not in CLUSTER_SCOPED)
        assert where.get("namespace", "mmrlhf-system") == "mmrlhf-system"
        assert "namespace" not in where or where["namespace"] in namespaces
        assert "status" not in body
        if kind == "Namespace":
            namespaces.add(where["name"])
        elif kind == "ServiceAccount":
            accounts.add((where["namespace"], where["name"]))
        elif kind.endswith("Role"):
            roles.add((kind, where["name"]))
        elif kind.endswith("RoleBinding"):
            assert (body["roleRef"]["kind"], body["roleRef"]["name"]) in roles
            assert {(one["namespace"], one["name"]) for one in body["subjects"]} <= accounts
    pod = deployment("cluster")["spec"]["template"]["spec"]
    assert ("mmrlhf-system", pod["serviceAccountName"]) in accounts


def test_every_port_has_all_of_its_key() -> None:
    """Seen on 1.20: `kubectl apply --server-side` refuses a port without protocol."""
    (service,) = (body for body in bundle() if body["kind"] == "Service")
    (container,) = deployment("cluster")["spec"]["template"]["spec"]["containers"]
    assert {port["protocol"] for port in [*service["spec"]["ports"], *container["ports"]]} == {
        "TCP"
    }


def test_the_label_of_the_operator_is_on_all_but_the_kinds_and_the_roles_of_their_users() -> None:
    """Or else `kubectl delete --selector`, which removes the operator alone, removed the jobs."""
    users = {"mmrlhf-view", "mmrlhf-edit", "mmrlhf-admin"}
    assert users < {body["metadata"]["name"] for body in bundle()}
    label = ("app.kubernetes.io/name", "mmrlhf-operator")
    for body in bundle():
        labels = body["metadata"].get("labels", {})
        stays = body["kind"] == "CustomResourceDefinition" or body["metadata"]["name"] in users
        assert (label in labels.items()) == (not stays)


def test_old_servers_get_the_bundle_without_the_rules_that_they_do_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "x-kubernetes-validations" in FILES[BUNDLE]
    assert main(["--without-cel", f"--output-dir={tmp_path}"]) == 0
    text = (tmp_path / BUNDLE).read_text()
    assert "x-kubernetes-validations" not in text
    assert text.count("kind: CustomResourceDefinition") == len(all_resources())
    with pytest.raises(SystemExit):
        main(["--without-cel"])
    assert "--output-dir" in capsys.readouterr().err


def test_the_command_of_the_page_names_every_image_of_a_registry() -> None:
    (expression,) = re.findall(r"^sed -E '(.+)' deploy/install\.yaml \|$", PAGE, re.MULTILINE)
    made = subprocess.run(
        ["sed", "-E", expression], input=FILES[BUNDLE], capture_output=True, text=True, check=True
    ).stdout
    names = set(re.findall(r"[\w./]*mmrlhf/\w+:1\.2\.3", made))
    assert names == {
        f"registry.example.org/mmrlhf/{image}:1.2.3" for image in ("operator", "train", "sample")
    }
    assert made.replace("registry.example.org/", "") == FILES[BUNDLE]


def test_the_kustomization_of_the_page_changes_image_and_configuration_and_no_more(
    tmp_path: Path,
) -> None:
    (text,) = re.findall(r"```yaml\n(resources:\n  - install\.yaml\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(text)
    (tmp_path / "config.yaml").write_text("progressSeconds: 1.0\n")
    (tmp_path / BUNDLE).write_text(FILES[BUNDLE])
    done = subprocess.run(
        [Path(sys.executable).parent / "kubectl", "kustomize", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    # kubectl's YAML has 1e-06 for a number, where Python's takes that for a word.
    text = re.sub(r"(?m)(: \d)(e-\d+)$", r"\1.0\2", done.stdout)
    made = {key(body): body for body in load_all(text)}
    name = "mmrlhf-operator"
    (container,) = made["Deployment", name]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.org/mmrlhf/operator:")
    container["image"] = "mmrlhf/operator:1.2.3"
    config = made["ConfigMap", f"{name}-config"]
    assert config["data"] == {"config.yaml": "progressSeconds: 1.0\n"}
    config["data"]["config.yaml"] = FILES["cluster/config.yaml"]
    assert made == {key(body): body for body in bundle()}


def kustomized(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    done = subprocess.run(
        [Path(sys.executable).parent / "kubectl", "kustomize", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return {key(body): body for body in load_all(done.stdout)}


@pytest.mark.parametrize("base", ["cluster", BUNDLE])
def test_the_right_to_read_secrets_can_be_taken_away(base: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").mkdir()
    resource = f"../{base}"
    if base == BUNDLE:  # kustomize reads files below the kustomization alone
        (tmp_path / "own" / BUNDLE).write_text(FILES[BUNDLE])
        resource = BUNDLE
    text = yaml.safe_dump({"resources": [resource], "components": ["../without-secrets"]})
    (tmp_path / "own/kustomization.yaml").write_text(text)
    whole = next(
        one for one in objects("cluster") if key(one) == ("ClusterRole", "mmrlhf-operator")
    )
    made = kustomized(tmp_path / "own")["ClusterRole", "mmrlhf-operator"]
    lost = [rule for rule in whole["rules"] if rule not in made["rules"]]
    assert lost == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert len(made["rules"]) == len(whole["rules"]) - 1


def test_the_chart_is_of_the_version_of_the_images() -> None:
    made = yaml.safe_load(FILES["chart/Chart.yaml"])
    assert (made["version"], made["appVersion"]) == ("1.2.3", "1.2.3")


def test_the_right_can_be_given_for_one_namespace() -> None:
    role, binding = load_all(FILES["secrets/access.yaml"])
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    assert not {"namespace"} & (role["metadata"].keys() | binding["metadata"].keys())
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (account,) = (body for body in objects("cluster") if body["kind"] == "ServiceAccount")
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (
        account["metadata"]["name"],
        account["metadata"]["namespace"],
    )
