"""What jobs may name, as the administrator says it by namespace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_api import Job, parse_job
from mmrlhf_api.constants import LABEL_JOB
from mmrlhf_operator.config import OperatorConfig, load_config
from mmrlhf_operator.errors import ConfigError
from mmrlhf_operator.planning.policy import judge
from mmrlhf_operator.policies import Policy, allows, allows_pair, matches, policy_for
from mmrlhf_operator.rendering.manifests import pod
from tests.unit.operator.world import CONFIG, World, job_body, running, world


def a_job(**changes: Any) -> Job:
    return parse_job(job_body(**changes), source="test")


def policy(**lists: Any) -> Policy:
    return Policy.model_validate(lists, by_alias=True, by_name=False)


def template(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": fields}


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a*", "a", True),
        ("*", "", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "axbxbxc", True),
        ("a*b*c", "acb", False),
        ("ab*ba", "aba", False),
        ("registry.example.org/*", "registry.example.org/a/b:1", True),
        ("registry.example.org/*", "registry.example.org.evil.example/a", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("a*", "A", False),
    ],
)
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits


@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=10))
def test_patterns_are_as_expressions_have_it(pattern: str, text: str) -> None:
    expression = ".*".join(re.escape(piece) for piece in pattern.split("*"))
    assert matches(pattern, text) == bool(re.fullmatch(expression, text, re.DOTALL))


def test_exceptions_take_away_what_others_allow() -> None:
    assert allows(("*", "!system-*"), "batch-low")
    assert not allows(("*", "!system-*"), "system-node-critical")
    assert not allows(("!system-*", "*"), "system-node-critical")  # in any order
    assert not allows((), "a")
    assert not allows(("a", "!https://*"), "a", "https://a")


def test_patterns_with_a_value_are_of_key_and_value() -> None:
    assert allows_pair(("pool=gpu-*",), "pool", "gpu-1")
    assert not allows_pair(("pool=gpu-*",), "pool", "cpu")
    assert allows_pair(("pool",), "pool", "cpu")
    assert not allows_pair(("a*y",), "a", "y")  # a pattern of keys sees no value
    assert not allows_pair(("*", "!pool=secret"), "pool", "secret")


def test_the_first_policy_that_is_for_a_namespace_holds() -> None:
    config = OperatorConfig.model_validate(
        {
            "policies": [
                {"namespaces": ["team-*", "!team-guests"], "images": ["a/*"]},
                {"namespaces": ["team-guests"], "images": []},
            ]
        },
        by_alias=True,
        by_name=False,
    )
    found = {
        name: policy_for(config.policies, name).images
        for name in ("team-a", "team-guests", "default")
    }
    assert found == {"team-a": ("a/*",), "team-guests": (), "default": ("*",)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policies: [{image: [a]}]", "policies.0.image: Extra inputs"),
        ("policies: [{images: a}]", "policies.0.images: Input should be a valid tuple"),
        ("policies: [{images: ['a b']}]", "policies.0.images.0: must be a pattern without spaces"),
        ("policies: [{images: ['!']}]", "policies.0.images.0: must be a pattern"),
        ("policies: [{secrets: ['!a']}]", "policies.0.secrets: allows nothing"),
        ("policies: [{images: [a]}, {namespaces: [b]}]", "entry 0 is for all namespaces"),
        ("policies: {}", "policies: Input should be a valid tuple"),
        ("preflight: {addresses: [localhost]}", "preflight.addresses.0: must be a network"),
        ("preflight: {addresses: [10.1.2.3/8]}", "preflight.addresses.0: must be a network"),
        ("preflight: {answerBytes: 1}", "preflight.answerBytes"),
        ("preflight: {threads: 0}", "preflight.threads"),
        ("preflight: {enabled: maybe}", "preflight.enabled"),
    ],
)
def test_what_is_wrong_in_a_policy_is_named_at_the_start(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    assert words in str(caught.value)


NOTHING: dict[str, list[str]] = {
    str(field.alias): [] for field in Policy.model_fields.values() if field.alias != "namespaces"
}
"""A policy that allows nothing."""

NAMED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("images", {"image": "x/y:1"}, {"images": ["a/*"]}, "spec.image"),
    (
        "secrets",
        {"artifacts__credentialsSecret": "x"},
        {"secrets": ["s3-*"]},
        "spec.artifacts.credentialsSecret",
    ),
    ("secrets", {"artifacts__caSecret": "x"}, {"secrets": []}, "spec.artifacts.caSecret"),
    (
        "secrets",
        template(env=[{"name": "A", "secretKeyRef": {"name": "x", "key": "k"}}]),
        {"secrets": ["*", "!x"]},
        "spec.podTemplate.env[0].secretKeyRef",
    ),
    (
        "secrets",
        template(imagePullSecrets=["ok", "x"]),
        {"secrets": ["ok"]},
        "spec.podTemplate.imagePullSecrets[1]",
    ),
    (
        "serviceAccounts",
        template(serviceAccountName="x"),
        {"serviceAccounts": ["trainer"]},
        "spec.podTemplate.serviceAccountName",
    ),
    (
        "priorityClasses",
        {"scheduling": {"priorityClass": "x"}},
        {"priorityClasses": []},
        "spec.scheduling.priorityClass",
    ),
    (
        "tolerations",
        template(tolerations=[{"key": "gpu", "operator": "Exists"}, {"key": "x"}]),
        {"tolerations": ["gpu"]},
        "spec.podTemplate.tolerations[1]",
    ),
    (
        "tolerations",
        template(tolerations=[{"operator": "Exists"}]),
        {"tolerations": ["gpu", "x*"]},
        "spec.podTemplate.tolerations[0]",
    ),
    (
        "nodeSelectors",
        template(nodeSelector={"pool": "x"}),
        {"nodeSelectors": ["pool=gpu"]},
        "spec.podTemplate.nodeSelector[pool]",
    ),
    ("labels", template(labels={"x": "y"}), {"labels": ["team/*"]}, "spec.podTemplate.labels[x]"),
    (
        "annotations",
        template(annotations={"x.example/y": "z"}),
        {"annotations": []},
        "spec.podTemplate.annotations[x.example/y]",
    ),
]


@pytest.mark.parametrize(("lists", "changes", "allowed", "field"), NAMED)
def test_each_field_is_limited_by_its_list_and_by_no_other(
    lists: str, changes: dict[str, Any], allowed: dict[str, Any], field: str
) -> None:
    job = a_job(**changes)
    (problem,) = judge(job, policy(**allowed))
    assert problem.startswith(f"{field}: ")
    for pattern in allowed[lists]:
        assert pattern in problem
    assert judge(job, policy(**{lists: ["*"]})) == ()
    assert judge(job, policy(**{**NOTHING, lists: ["*"]})) == ()


def test_a_job_that_names_nothing_may_be_anywhere() -> None:
    assert judge(a_job(), policy(**NOTHING)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "anyone.example/any:1"},
        {"artifacts__credentialsSecret": "s3", "artifacts__caSecret": "ca"},
        {"scheduling": {"priorityClass": "batch-high"}},
        template(serviceAccountName="trainer", imagePullSecrets=["registry"]),
        template(tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}]),
        template(tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]),
        template(nodeSelector={"kubernetes.io/hostname": "gpu-7", "pool": "h800"}),
        template(labels={"app": "x"}, annotations={"example.org/team": "vision"}),
        template(annotations={"sidecar.istio.io/inject": "false"}),
    ],
)
def test_by_default_all_that_training_needs_is_allowed(changes: dict[str, Any]) -> None:
    assert judge(a_job(**changes), Policy()) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduling": {"priorityClass": "system-node-critical"}},
        {"scheduling": {"priorityClass": "system-cluster-critical"}},
        template(tolerations=[{"operator": "Exists"}]),
        template(tolerations=[{"operator": "Exists", "effect": "NoSchedule"}]),
        template(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "value": ""}]),
        template(tolerations=[{"key": "node-role.kubernetes.io/master", "operator": "Exists"}]),
        template(nodeSelector={"node-role.kubernetes.io/control-plane": ""}),
        template(annotations={"k8s.v1.cni.cncf.io/networks": "kube-system/storage"}),
        template(annotations={"v1.multus-cni.io/default-network": "kube-system/storage"}),
        template(annotations={"cni.projectcalico.org/ipAddrs": "[]"}),
        template(annotations={"container.apparmor.security.beta.kubernetes.io/job": "unconfined"}),
        template(annotations={"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}),
    ],
)
def test_by_default_what_no_training_needs_is_refused(changes: dict[str, Any]) -> None:
    assert len(judge(a_job(**changes), Policy())) == 1


def test_a_job_that_reaches_for_all_there_is_is_told_all_that_it_may_not_have() -> None:
    job = a_job(
        image="attacker.example/any:1",
        scheduling={"priorityClass": "system-node-critical"},
        podTemplate={
            "serviceAccountName": "ci-deployer",
            "env": [{"name": "LOOT", "secretKeyRef": {"name": "payroll-db", "key": "password"}}],
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"kubernetes.io/hostname": "cp-1"},
            "labels": {"app": "payments-api"},
            "annotations": {
                "k8s.v1.cni.cncf.io/networks": "kube-system/storage-net",
                "sidecar.istio.io/inject": "true",
            },
        },
    )

    def fields(allowed: Policy) -> set[str]:
        return {problem.partition(":")[0] for problem in judge(job, allowed)}

    by_default = {
        "spec.scheduling.priorityClass",
        "spec.podTemplate.tolerations[0]",
        "spec.podTemplate.annotations[k8s.v1.cni.cncf.io/networks]",
    }
    assert fields(Policy()) == by_default
    assert fields(policy(**NOTHING)) == by_default | {
        "spec.image",
        "spec.podTemplate.serviceAccountName",
        "spec.podTemplate.env[0].secretKeyRef",
        "spec.podTemplate.nodeSelector[kubernetes.io/hostname]",
        "spec.podTemplate.labels[app]",
        "spec.podTemplate.annotations[sidecar.istio.io/inject]",
    }
    everything = {name: ["*"] for name in NOTHING}
    assert judge(job, policy(**everything)) == ()


@pytest.mark.parametrize(
    ("endpoint", "patterns", "allowed"),
    [
        (None, ["*.amazonaws.com"], True),
        (None, ["*.example.org"], False),
        ("https://s3.example.org", ["*.example.org"], True),
        ("https://S3.Example.ORG/path", ["*.example.org"], True),
        ("http://s3.example.org", ["https://*.example.org"], False),
        ("https://s3.example.org:9000", ["https://s3.example.org"], True),
        ("https://s3.example.org:9000", ["https://s3.example.org:443"], False),
        ("https://s3.example.org", ["https://s3.example.org:443"], True),
        ("http://[fd12::1]:9000", ["[fd12::1]:9000"], True),
        ("https://evil.example/s3.example.org", ["*.example.org"], False),
        ("https://evil.example#.example.org", ["*.example.org"], False),
        ("https://evil.example?.example.org", ["*.example.org"], False),
        ("https://evil.example\\.example.org", ["*"], False),
        ("https://evil.example%2f.example.org", ["*"], False),
        ("https://a:99999", ["*"], False),
        ("https://[::1", ["*"], False),
        ("https://127.0.0.1", ["*", "!127.*"], False),
    ],
)
def test_stores_are_allowed_by_host_and_where_it_matters_by_scheme_and_port(
    endpoint: str | None, patterns: list[str], allowed: bool
) -> None:
    store = {"uri": "s3://b/x"} | ({"endpoint": endpoint} if endpoint else {})
    problems = judge(a_job(artifacts=store), policy(endpoints=patterns))
    assert (problems == ()) is allowed
    assert allowed or problems[0].startswith("spec.artifacts.endpoint: ")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    ("value", "patterns", "allowed"),
    [
        ("https://s3.example.org", ["*.example.org", "*.amazonaws.com"], True),
        ("http://169.254.169.254", ["*.example.org", "*.amazonaws.com"], False),
        ("https://evil.example#.example.org", ["*.example.org", "*.amazonaws.com"], False),
        ("no address", ["*.example.org", "*.amazonaws.com"], False),
        (None, ["*.example.org", "*.amazonaws.com"], False),
        (None, ["*"], True),
        ("http://169.254.169.254", ["*"], True),
    ],
)
def test_variables_of_s3_clients_are_no_way_around_the_list(
    name: str, value: str | None, patterns: list[str], allowed: bool
) -> None:
    given = {"secretKeyRef": {"name": "s", "key": "k"}} if value is None else {"value": value}
    env = [{"name": "OTHER", "value": "http://elsewhere.example"}, {"name": name, **given}]
    job = a_job(artifacts={"uri": "s3://b/x"}, **template(env=env))
    problems = judge(job, policy(endpoints=patterns))
    assert (problems == ()) is allowed
    assert allowed or problems[0].startswith("spec.podTemplate.env[1]: ")


def test_inputs_alone_make_a_store_too() -> None:
    job = a_job(model__uri="s3://b/model")
    assert judge(job, policy(endpoints=[]))
    assert not judge(a_job(), policy(endpoints=[]))


def with_policy(there: World, **lists: Any) -> World:
    there.config = CONFIG.model_copy(update={"policies": (policy(**lists),)})
    return there


def test_a_job_that_names_what_it_may_not_gets_no_pod_and_is_told_what_to_do() -> None:
    there = world(image="x/y:1", podTemplate={"serviceAccountName": "ci-deployer"})
    with_policy(there, images=["a/*"], serviceAccounts=["trainer"]).settle()
    accepted = there.conditions["Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", "PolicyRefused")
    for words in ("spec.image: image x/y:1", "a/*", "serviceAccountName", "trainer", "allow it"):
        assert words in accepted["message"]
    assert not there.pods
    assert there.config_map is None


def test_a_policy_is_of_its_namespaces_alone() -> None:
    there = with_policy(world(image="x/y:1"), namespaces=["other"], images=[])
    there.settle()
    assert there.conditions["Accepted"]["status"] == "True"


def test_what_is_refused_is_told_in_bounds() -> None:
    env = [
        {"name": f"V{index}", "secretKeyRef": {"name": f"s{index}", "key": "k"}}
        for index in range(256)
    ]
    there = with_policy(world(podTemplate={"env": env}), secrets=["p" * 500] * 256)
    there.settle()
    message = there.conditions["Accepted"]["message"]
    assert "and 248 more" in message
    assert len(message) < 32768  # of metav1.Condition


def test_pods_that_run_stay_when_a_policy_becomes_stricter_and_no_new_ones_come() -> None:
    there = running(image="x/y:1", runPolicy={"backoffSeconds": 1})
    with_policy(there, images=["a/*"]).settle()
    assert there.status["phase"] == "Running"
    assert there.conditions["Accepted"]["reason"] == "PolicyRefused"
    for name in tuple(there.pods):
        there.finish(name, exit_code=137)
    for _ in range(20):
        there.tick(60)
        there.settle()
        there.vanish()
    assert {name for name in there.pods if name.startswith("demo-1")} == set()


def test_what_pools_say_goes_before_what_jobs_say() -> None:
    pool = {
        "nodeSelector": {"pool": "h800"},
        "labels": {"team": "pool"},
        "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma", "a": "pool"},
        "priorityClass": "batch",
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    config = OperatorConfig.model_validate(
        {"images": {"MMDPOJob": "a/train:1"}, "nodePools": {"h800": pool}}
    )
    job = a_job(
        nodePool="h800",
        scheduling={"priorityClass": "high"},
        podTemplate={
            "nodeSelector": {"pool": "other", "zone": "z"},
            "labels": {"team": "job", "mine": "yes", LABEL_JOB: "another"},
            "annotations": {"a": "job", "b": "job", "sidecar.istio.io/inject": "true"},
        },
    )
    made = pod(job, attempt=0, index=0, config=config)
    assert made["spec"]["nodeSelector"] == {"pool": "h800", "zone": "z"}
    assert made["spec"]["priorityClassName"] == "batch"
    labels, annotations = made["metadata"]["labels"], made["metadata"]["annotations"]
    assert (labels["team"], labels["mine"], labels[LABEL_JOB]) == ("pool", "yes", "demo")
    assert annotations == {
        "a": "pool",
        "b": "job",
        "k8s.v1.cni.cncf.io/networks": "rdma",
        "sidecar.istio.io/inject": "false",
    }
    without = pod(a_job(scheduling={"priorityClass": "high"}), attempt=0, index=0, config=config)
    assert without["spec"]["priorityClassName"] == "high"


def test_without_look_ups_a_job_is_accepted_as_it_is() -> None:
    body = job_body(artifacts={"uri": "s3://b/x", "credentialsSecret": "s3"})
    there = World(body)
    there.reconcile()
    assert there.status["reason"] == "Checking"
    there = World(body)
    there.config = OperatorConfig.model_validate(
        {**CONFIG.model_dump(by_alias=True), "preflight": {"enabled": False}}
    )
    there.settle()
    assert there.conditions["Accepted"]["status"] == "True"
    assert there.pods
