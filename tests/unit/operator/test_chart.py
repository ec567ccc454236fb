"""The chart, rendered by Helm itself: what it makes of values, and which it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api.base import ApiModel
from mmrlhf_operator.config import OperatorConfig, load_config
from mmrlhf_operator.installation.files import BUNDLE
from mmrlhf_operator.installation.templating import Items, Value, When, document, either
from mmrlhf_operator.installation.values import OWN_FIELDS, Values
from tests.helm.program import CHART, HelmError, lint, template
from tests.manifests import load_all

Manifest = dict[str, Any]

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
NAME = "mmrlhf-operator"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"

NO_KINDS = {"crds": {"install": False}}

TABLE: dict[str, Manifest] = {
    "defaults": {},
    "namespace": {"scope": "namespace"},
    "registry": {"registry": "registry.example.org:5000/team"},
    "tag": {"image": {"repository": "other.example.org/op", "tag": "9", "pullPolicy": "Always"}},
    "digest": {"registry": "registry.example.org", "image": {"tag": "9", "digest": DIGEST}},
    "pull secrets": {"pullSecrets": [{"name": "ours"}, {"name": "theirs"}]},
    "one replica": {"replicas": 1},
    "resources": {"resources": {"requests": {"cpu": 2}, "limits": {"memory": None}}},
    "nodes": {
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "pool", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": None, "nodeAffinity": {"a": 1}},
        "priorityClassName": "system-cluster-critical",
    },
    "no affinity": {"affinity": None},
    "user": {"runAsUser": 1234567},
    "no user": {"runAsUser": None},
    "labels": {
        "commonLabels": {"team": "vision", "app.kubernetes.io/name": "stolen"},
        "commonAnnotations": {"note": "yes: {{ no }}"},
        "podLabels": {"tier": "control", "app.kubernetes.io/name": "stolen"},
        "podAnnotations": {"seen": "true"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}},
    },
    "no kinds": {"crds": {"install": False}},
    "kinds go": {"crds": {"keep": False}},
    "no roles": {"userRoles": {"install": False}},
    "no secrets": {"secrets": {"read": False}, "config": {"preflight": {"enabled": False}}},
    "some secrets": {"secrets": {"read": False, "namespaces": ["vision", "speech"]}},
    "own secrets": {"scope": "namespace", "secrets": {"read": False}},
    "no policy": {"networkPolicy": {"install": False}},
    "monitoring": {
        "monitoring": {
            "serviceMonitor": {"install": True, "interval": "15s", "labels": {"release": "a"}},
            "alerts": {"install": True, "labels": {"release": "b"}},
            "dashboard": {"install": True, "labels": {"folder": "c"}},
        }
    },
    "config": {
        "config": {
            "images": {"MMDPOJob": "mine:1"},
            "nodePools": {"h800": None, "a100": {"capabilities": ["IPC_LOCK"]}},
            "runAsUser": 2000000,
            "retrySeconds": 0.001,
            "watchSeconds": 3600,
            "logFormat": "json",
            "policies": [{"namespaces": ["vision"], "images": []}],
            "deadlines": {"rendezvous": 2147483647},
            "leaderElection": {"duration": 30},
        }
    },
    "no pools": {"config": {"nodePools": None, "images": None}},
    "below another chart": {"global": {"imageRegistry": "ignored"}},
}  # fmt: skip
"""Values by what they are about."""


ROWS = [
    values if {"crds", "commonLabels"} & values.keys() or not values else {**values, **NO_KINDS}
    for values in TABLE.values()
]
"""The kinds are long: they are left out where they are not what a row is about."""


@cache
def rendered() -> dict[str, list[Manifest]]:
    made = template(ROWS)
    found = {}
    for about, one in zip(TABLE, made, strict=True):
        assert not isinstance(one, HelmError), (about, one)
        found[about] = one
    return found


def keyed(objects: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    found = {}
    for body in objects:
        where = body["metadata"]
        key = body["kind"], where["name"], where.get("namespace", "")
        assert key not in found
        found[key] = body
    return found


def only(about: str, kind: str, name: str = NAME) -> Manifest:
    (found,) = (
        body
        for body in rendered()[about]
        if (body["kind"], body["metadata"]["name"]) == (kind, name)
    )
    return found


def template_of(about: str) -> Manifest:
    found: Manifest = only(about, "Deployment")["spec"]["template"]
    return found


def container(about: str) -> Manifest:
    (found,) = template_of(about)["spec"]["containers"]
    return dict(found)


def config(about: str, tmp_path: Path) -> OperatorConfig:
    path = tmp_path / "config.yaml"
    path.write_text(only(about, "ConfigMap", f"{NAME}-config")["data"]["config.yaml"])
    environ = {one["name"]: one.get("value", "a-namespace") for one in container(about)["env"]}
    return load_config(path, environ=environ)


def test_helm_finds_nothing_wrong() -> None:
    assert dict(zip(TABLE, lint(ROWS), strict=True)) == {one: [] for one in TABLE}


def without_helms(made: dict[tuple[str, str, str], Manifest]) -> dict[str, Any]:
    """Takes away what only the chart has, and says that it was there."""
    kept = {"helm.sh/resource-policy": "keep"}
    found: dict[str, Any] = {}
    for (kind, name, _), body in made.items():
        annotations = body["metadata"].pop("annotations", {})
        assert annotations == (kept if "mmrlhf-operator" not in name else {}), (kind, name)
        if kind == "Deployment":
            (what,) = body["spec"]["template"]["metadata"].pop("annotations")
            assert what == "checksum/config"
        if kind == "ConfigMap":
            body["data"]["config.yaml"] = yaml.safe_load(body["data"]["config.yaml"])
        found[f"{kind}/{name}"] = body
    return found


def test_without_values_it_is_what_one_file_installs() -> None:
    made = without_helms(keyed(json.loads(json.dumps(rendered()["defaults"]))))
    bundle = keyed(list(load_all((DEPLOY / BUNDLE).read_text())))
    # Helm makes the namespace.
    del bundle["Namespace", "mmrlhf-system", ""]
    whole = bundle["ConfigMap", f"{NAME}-config", "mmrlhf-system"]
    whole["data"]["config.yaml"] = yaml.safe_load(whole["data"]["config.yaml"])
    wanted = {f"{kind}/{name}": body for (kind, name, _), body in bundle.items()}
    assert made.keys() == wanted.keys()
    for name, body in wanted.items():
        assert made[name] == body, name


def test_for_one_namespace_it_is_what_the_kustomization_installs() -> None:
    (objects,) = template([TABLE["namespace"]], namespace="mmrlhf")
    assert isinstance(objects, list)
    made = without_helms(keyed(objects))
    wanted = {
        f"{body['kind']}/{body['metadata']['name']}": body
        for name in ("access.yaml", "operator.yaml")
        for body in load_all((DEPLOY / "namespace" / name).read_text())
    }
    others = {one for one in made if one.startswith(("CustomResourceDefinition/", "ClusterRole/"))}
    assert {one.split("-")[-1] for one in others if "ClusterRole" in one} == {
        *("view", "edit", "admin")
    }
    assert made.keys() - others == wanted.keys() | {f"ConfigMap/{NAME}-config"}
    for name, body in wanted.items():
        assert made[name] == body, name


def test_what_watches_it_is_what_the_kustomization_has() -> None:
    wanted = [
        body
        for name in ("monitor.yaml", "alerts.yaml")
        for body in load_all((DEPLOY / "monitoring" / name).read_text())
    ]
    labels = {"ServiceMonitor": {"release": "a"}, "PrometheusRule": {"release": "b"}, "Service": {}}
    for body in wanted:
        made = only("monitoring", body["kind"], body["metadata"]["name"])
        more = labels[body["kind"]]
        assert made["metadata"]["labels"] == {**body["metadata"]["labels"], **more}
        if body["kind"] == "ServiceMonitor":
            (endpoint,) = body["spec"]["endpoints"]
            endpoint["interval"] = "15s"
        assert made["spec"] == body["spec"]
    board = only("monitoring", "ConfigMap", f"{NAME}-dashboard")
    assert board["data"]["dashboard.json"] == (DEPLOY / "monitoring/dashboard.json").read_text()
    assert board["metadata"]["labels"].items() >= {"grafana_dashboard": "1", "folder": "c"}.items()
    assert not {"ServiceMonitor", "PrometheusRule"} & {
        one["kind"] for one in rendered()["defaults"]
    }


REFUSED: dict[str, tuple[Manifest, str]] = {
    "unknown": ({"replica": 1}, "'replica' not allowed"),
    "unknown below": ({"image": {"name": "x"}}, "at '/image': additional properties 'name'"),
    "scope": ({"scope": "everywhere"}, "'/scope'"),
    "replicas": ({"replicas": 0}, "'/replicas'"),
    "type": ({"replicas": "2"}, "'/replicas'"),
    "digest": ({"image": {"digest": "sha256:abc"}}, "'/image/digest'"),
    "tag": ({"image": {"tag": "a b"}}, "'/image/tag'"),
    "registry": ({"registry": "https://example.org/ "}, "'/registry'"),
    "pull secret": ({"pullSecrets": ["ours"]}, "'/pullSecrets/0'"),
    "amount": ({"resources": {"limits": {"memory": "1 GB"}}}, "'/resources/limits/memory'"),
    "resource": ({"resources": {"claims": []}}, "'claims' not allowed"),
    "affinity": ({"affinity": {"nodeAfinity": {}}}, "'nodeAfinity' not allowed"),
    "toleration": ({"tolerations": [{"operator": "Exist"}]}, "'/tolerations/0/operator'"),
    "label": ({"commonLabels": {"a": "b c"}}, "'/commonLabels/a'"),
    "label key": ({"podLabels": {"a b": "c"}}, "'/podLabels'"),
    "class": ({"priorityClassName": "A_B"}, "'/priorityClassName'"),
    "root": ({"runAsUser": 0}, "'/runAsUser'"),
    "namespace": ({"secrets": {"namespaces": ["A"]}}, "'/secrets/namespaces/0'"),
    "interval": ({"monitoring": {"serviceMonitor": {"interval": "often"}}}, "/interval'"),
    "config": ({"config": {"worker": 3}}, "at '/config': additional properties 'worker'"),
    "config below": ({"config": {"deadlines": {"settle": -1}}}, "'/config/deadlines/settle'"),
    "pool": ({"config": {"nodePools": {"a": {"gpus": 8}}}}, "at '/config/nodePools/a'"),
    "pool name": ({"config": {"nodePools": {"A B": {}}}}, "'/config/nodePools'"),
    "port": ({"config": {"healthAddress": ":1"}}, "'healthAddress' not allowed"),
    "progress": ({"config": {"progressUrl": "http://a"}}, "'progressUrl' not allowed"),
    "served": ({"config": {"namespaces": ["a"]}}, "'namespaces' not allowed"),
    "lease": ({"config": {"leaderElection": {"name": "a"}}}, "'name' not allowed"),
}


def test_wrong_values_are_refused_by_their_name() -> None:
    made = template([values for values, _ in REFUSED.values()])
    for (about, (_, words)), one in zip(REFUSED.items(), made, strict=True):
        assert isinstance(one, HelmError), about
        assert words in str(one), about


def nodes(node: Any, where: str = "") -> Iterator[tuple[str, Manifest]]:
    if isinstance(node, dict):
        for name, child in node.get("properties", {}).items():
            yield f"{where}/{name}", child
        for key, child in node.items():
            yield from nodes(child, f"{where}/{key}")
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from nodes(child, f"{where}/{number}")


def test_every_value_is_described_and_no_object_takes_what_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    found = dict(nodes(schema))
    assert len(found) > 80
    assert [where for where, node in found.items() if not node.get("description")] == []
    models = [schema, *schema["definitions"].values()]
    assert [one["title"] for one in models if one.get("additionalProperties") is not False] == []


def test_all_of_the_configuration_can_be_set_but_what_the_chart_sets() -> None:
    definitions = json.loads((CHART / "values.schema.json").read_text())["definitions"]
    assert OWN_FIELDS.keys() == {"OperatorConfig", "LeaderElection"}
    for name, own in OWN_FIELDS.items():
        (model,) = (one for one in models(OperatorConfig) if one.__name__ == name)
        aliases = {field.alias for field in model.model_fields.values()}
        assert definitions[name]["properties"].keys() == aliases - set(own)
        assert set(own) < aliases


def models(model: type[ApiModel]) -> set[type[ApiModel]]:
    inner = {field.annotation for field in model.model_fields.values()}
    return {model} | {one for one in inner if isinstance(one, type) and issubclass(one, ApiModel)}


def test_the_file_of_values_has_them_all_and_is_what_holds_without_it() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.pop("config")["nodePools"].keys() == {"h800"}
    made = Values.model_validate(values, by_alias=True, by_name=False)
    assert made == Values()
    assert values.keys() == {field.alias for field in Values.model_fields.values()} - {"config"}


def test_pods_meet_the_restricted_standard_whatever_is_set() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    for about in TABLE:
        pod = template_of(about)["spec"]
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(about)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert template_of("user")["spec"]["securityContext"]["fsGroup"] == 1234567
    assert template_of("no user")["spec"]["securityContext"].keys() == {
        *("runAsNonRoot", "seccompProfile")
    }


@pytest.mark.parametrize(
    ("about", "image"),
    [
        ("defaults", "mmrlhf/operator:{version}"),
        ("registry", "registry.example.org:5000/team/mmrlhf/operator:{version}"),
        ("tag", "other.example.org/op:9"),
        ("digest", f"registry.example.org/mmrlhf/operator@{DIGEST}"),
    ],
)
def test_the_image_is_the_one_that_was_named(about: str, image: str) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container(about)["image"] == image.replace("{version}", version)


def test_where_it_runs_is_what_was_said() -> None:
    pod = template_of("nodes")["spec"]
    assert pod["nodeSelector"] == {"pool": "system"}
    keys = [one["key"] for one in pod["tolerations"]]
    assert keys == ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "pool"]
    assert pod["affinity"] == {"nodeAffinity": {"a": 1}}
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert "affinity" not in template_of("no affinity")["spec"]
    names = [{"name": "ours"}, {"name": "theirs"}]
    assert template_of("pull secrets")["spec"]["imagePullSecrets"] == names
    assert container("tag")["imagePullPolicy"] == "Always"
    assert only("one replica", "Deployment")["spec"]["replicas"] == 1
    assert container("resources")["resources"] == {"requests": {"cpu": 2, "memory": "256Mi"}}


def test_labels_and_annotations_are_added_and_none_of_ours_is_lost() -> None:
    plain = keyed(rendered()["defaults"])
    for key, body in keyed(rendered()["labels"]).items():
        where = body["metadata"]
        own = plain[key]["metadata"].get("labels", {})
        assert where["labels"].items() >= {**own, "team": "vision"}.items(), key
        assert where["annotations"]["note"] == "yes: {{ no }}"
    account = only("labels", "ServiceAccount")["metadata"]["annotations"]
    assert account["eks.amazonaws.com/role-arn"] == "arn:aws:iam::1:role/x"
    pod = template_of("labels")["metadata"]
    assert pod["labels"] == {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/part-of": "mmrlhf",
        "team": "vision",
        "tier": "control",
    }
    assert pod["annotations"]["seen"] == "true"


def kinds_of(about: str) -> list[str]:
    return [f"{one['kind']}/{one['metadata']['name']}" for one in rendered()[about]]


def test_parts_are_left_out() -> None:
    parts = {
        "no kinds": "CustomResourceDefinition/",
        "no roles": "ClusterRole/mmrlhf-view",
        "no policy": "NetworkPolicy/",
    }
    for about, part in parts.items():
        assert any(one.startswith(part) for one in kinds_of("defaults"))
        assert not any(one.startswith(part) for one in kinds_of(about))
    for body in rendered()["kinds go"]:
        assert "annotations" not in body["metadata"], body["metadata"]["name"]


READ = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


def test_the_right_to_read_secrets_is_taken_away_and_given_for_namespaces() -> None:
    for about, kind in (("no secrets", "ClusterRole"), ("own secrets", "Role")):
        whole = only("namespace" if kind == "Role" else "defaults", kind)["rules"]
        assert [one for one in whole if one not in only(about, kind)["rules"]] == [READ]
        assert "secrets" not in str([one.get("rules") for one in rendered()[about]])
    roles = [
        one for one in rendered()["some secrets"] if one["metadata"]["name"].endswith("-secrets")
    ]
    assert sorted((one["kind"], one["metadata"]["namespace"]) for one in roles) == [
        ("Role", "speech"),
        ("Role", "vision"),
        ("RoleBinding", "speech"),
        ("RoleBinding", "vision"),
    ]
    for one in roles:
        if one["kind"] == "Role":
            assert one["rules"] == [READ]
        else:
            (subject,) = one["subjects"]
            assert (subject["name"], subject["namespace"]) == (NAME, "mmrlhf-system")
    assert READ not in only("some secrets", "ClusterRole")["rules"]


def test_the_operator_reads_the_configuration(tmp_path: Path) -> None:
    for about in TABLE:
        assert config(about, tmp_path).health_address == ":8080"
    made = config("config", tmp_path)
    assert made.images["MMDPOJob"] == "mine:1"
    assert made.images["RewardTrainJob"].startswith("mmrlhf/train:")
    assert made.node_pools.keys() == {"a100"}
    assert (made.run_as_user, made.retry_seconds) == (2000000, 0.001)
    assert made.deadlines.rendezvous == 2147483647
    assert made.leader_election.duration == 30
    assert config("no pools", tmp_path).node_pools == {}
    images = config("registry", tmp_path).images.values()
    assert all(one.startswith("registry.example.org:5000/team/mmrlhf/") for one in images)
    assert config("namespace", tmp_path).namespaces == ("a-namespace",)
    assert config("namespace", tmp_path).progress_url is None
    assert config("defaults", tmp_path).progress_url is not None


def test_a_changed_configuration_rolls_the_operator_out_and_nothing_else_does() -> None:
    sums = {
        about: template_of(about)["metadata"]["annotations"]["checksum/config"]
        for about in ("defaults", "config", "one replica")
    }
    assert sums["config"] != sums["defaults"] == sums["one replica"]


def test_what_looks_like_a_template_is_kept() -> None:
    text = document({"kind": "A", "says": "{{ $value }} jobs", "name": Value("$.Values.a")})
    assert (
        text
        == '---\nkind: A\nsays: \'{{ "{{" }} $value {{ "}}" }} jobs\'\nname: {{ $.Values.a }}\n'
    )
    alerts = only("monitoring", "PrometheusRule")["spec"]
    assert "{{ $value }} jobs of kind {{ $labels.kind }}" in str(alerts)


def test_two_objects_are_one_where_they_differ_in_items_alone() -> None:
    made = either({"a": [1, 2, 3]}, {"a": [1, 4, 3]}, ("x", "y"))
    assert made == {"a": [1, When("x", (2,)), When("y", (4,)), 3]}
    text = document({"a": [1, When("x", (2, 3)), Items("$.b")]})
    assert text == (
        "---\na:\n- 1\n{{- if x }}\n- 2\n- 3\n{{- end }}\n"
        "{{- with $.b }}\n{{- toYaml . | nindent 0 }}\n{{- end }}\n"
    )
    with pytest.raises(ValueError, match="differ in more than items"):
        either({"a": 1}, {"a": 2}, ("x", "y"))
