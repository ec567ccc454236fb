"""The chart: the objects that everything else here is made of, with places for values.

Names are the same in every release: one operator serves a cluster or a namespace, its Lease and its
pods' label are its name. The namespace itself is Helm's to make (``--create-namespace``). The kinds
are templates: what Helm finds in a folder ``crds`` it never brings up to date.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from mmrlhf_api.crd import crd_file_name, render
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.installation.access import SECRETS, access, secrets_access
from mmrlhf_operator.installation.chart_text import HELPERS, IGNORED, KINDS_TEMPLATE, NOTES
from mmrlhf_operator.installation.dashboard import dashboard
from mmrlhf_operator.installation.documents import HEADER, dump
from mmrlhf_operator.installation.monitoring import (
    DASHBOARD_FILE,
    DASHBOARD_NAME,
    dashboard_labels,
    monitor,
    prometheus_rule,
)
from mmrlhf_operator.installation.naming import CONFIG_NAME, NAME, metadata
from mmrlhf_operator.installation.settings import IMAGES, NODE_POOLS
from mmrlhf_operator.installation.templating import (
    Items,
    Manifest,
    Tree,
    Value,
    When,
    document,
    either,
    replaced,
)
from mmrlhf_operator.installation.users import user_roles
from mmrlhf_operator.installation.values import values_file, values_schema
from mmrlhf_operator.installation.workload import (
    CONFIG_FILE,
    USER,
    deployment,
    network_policy,
    service,
)

__all__ = ["chart"]

_NAMESPACE: Final = "RELEASE-NAMESPACE"
_IMAGE: Final = "RELEASE-IMAGE"
_CLUSTER: Final = 'eq $.Values.scope "cluster"'
_SINGLE: Final = 'eq $.Values.scope "namespace"'
_SCOPES: Final = (_CLUSTER, _SINGLE)
_KEPT: Final = '(ternary (dict "helm.sh/resource-policy" "keep") (dict) $.Values.crds.keep)'


def chart(version: str) -> dict[str, str]:
    """Its files by path.

    Args:
        version: Version of the chart, and tag of the images.
    """
    description = {
        "apiVersion": "v2",
        "name": NAME,
        "description": "Aligns multimodal models the MM-RLHF way, as jobs on Kubernetes",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.20.0-0",
    }
    templates = {
        "crds.yaml": KINDS_TEMPLATE,
        "users.yaml": _users(),
        "access.yaml": _access(),
        "operator.yaml": _operator(),
        "monitoring.yaml": _monitoring(),
    }
    return {
        "Chart.yaml": dump([description]),
        ".helmignore": IGNORED,
        "values.yaml": values_file(f"images: {{}}\n{NODE_POOLS}"),
        "values.schema.json": values_schema(),
        "templates/_helpers.tpl": _helpers(),
        "templates/NOTES.txt": NOTES,
        **{f"templates/{name}": HEADER + text for name, text in templates.items()},
        **{f"files/crds/{crd_file_name(kind)}": render(kind) for kind in all_resources()},
        f"files/{DASHBOARD_FILE}": dashboard(),
    }


def _helpers() -> str:
    images = " ".join(f'"{kind}" "{image}"' for kind, image in IMAGES.items())
    return HELPERS.replace("IMAGES", images)


def _users() -> str:
    documents = (_described(body, annotations=_KEPT) for body in user_roles())
    return "".join(document(body, condition="$.Values.userRoles.install") for body in documents)


def _access() -> str:
    reads = When("$.Values.secrets.read", (SECRETS.rule(),))
    whole, single = (access(namespace=_NAMESPACE, cluster=one) for one in (True, False))
    texts = _by_scope(whole, single, reads)
    for body in secrets_access(namespace=_NAMESPACE):
        placed = _described(body)
        placed["metadata"]["namespace"] = Value(". | quote")
        texts += document(placed, loop="$.Values.secrets.namespaces")
    return texts


def _operator() -> str:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(CONFIG_NAME, namespace=_NAMESPACE),
        "data": {CONFIG_FILE: Value(f'include "{NAME}.config" $ | quote')},
    }
    everywhere, here = (network_policy(namespace=_NAMESPACE, cluster=one) for one in (True, False))
    whole, single = (
        deployment(namespace=_NAMESPACE, image=_IMAGE, cluster=one) for one in (True, False)
    )
    return (
        document(_described(config))
        + document(_described(service(namespace=_NAMESPACE)), condition=_CLUSTER)
        + document(
            _described(either(everywhere, here, _SCOPES)),
            condition="$.Values.networkPolicy.install",
        )
        + document(_described(_with_values(either(whole, single, _SCOPES))))
    )


def _with_values(body: Manifest) -> Manifest:
    """The Deployment with all that may be set."""
    body = replaced(body, _IMAGE, Value(f'include "{NAME}.image" $ | quote'))
    spec = body["spec"]
    spec["replicas"] = Value("int $.Values.replicas")
    labels = spec["template"]["metadata"]["labels"]
    spec["template"]["metadata"] = {
        "labels": _merged(labels, "$.Values.podLabels", "$.Values.commonLabels"),
        # A changed configuration rolls the operator out anew.
        "annotations": Tree(
            f'merge (dict "checksum/config" (include "{NAME}.config" $ | sha256sum))'
            " $.Values.podAnnotations"
        ),
    }
    pod = spec["template"]["spec"]
    for key, value in pod["securityContext"].items():
        if value == USER:
            pod["securityContext"][key] = Value(
                "int64 (default 0 $.Values.runAsUser)", optional=True
            )
    pod["tolerations"].append(Items("$.Values.tolerations"))
    (container,) = pod["containers"]
    container["resources"] = Tree(f'include "{NAME}.filled" $.Values.resources | fromYaml')
    policy = Value("$.Values.image.pullPolicy", optional=True)
    spec["template"]["spec"] = {
        "serviceAccountName": pod.pop("serviceAccountName"),
        "imagePullSecrets": Tree("$.Values.pullSecrets"),
        "priorityClassName": Value("$.Values.priorityClassName", optional=True),
        "nodeSelector": Tree("$.Values.nodeSelector"),
        **pod,
        "affinity": Tree(f'include "{NAME}.filled" $.Values.affinity | fromYaml'),
        "containers": [{**container, "imagePullPolicy": policy}],
    }
    return body


def _monitoring() -> str:
    found = ""
    for body in monitor(namespace=_NAMESPACE):
        own = "$.Values.monitoring.serviceMonitor"
        more = [f"{own}.labels"] if body["kind"] == "ServiceMonitor" else []
        if more:
            (endpoint,) = body["spec"]["endpoints"]
            endpoint["interval"] = Value(f"{own}.interval | quote")
        found += document(_described(body, labels=more), condition=f"{own}.install")
    rules, graphs = "$.Values.monitoring.alerts", "$.Values.monitoring.dashboard"
    alerts = _described(prometheus_rule(namespace=_NAMESPACE), labels=[f"{rules}.labels"])
    found += document(alerts, condition=f"{rules}.install")
    board = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": DASHBOARD_NAME,
            "namespace": _NAMESPACE,
            "labels": dashboard_labels(),
        },
        "data": {DASHBOARD_FILE: Value(f'$.Files.Get "files/{DASHBOARD_FILE}" | quote')},
    }
    board = _described(board, labels=[f"{graphs}.labels"])
    return found + document(board, condition=f"{graphs}.install")


def _by_scope(whole: list[Manifest], single: list[Manifest], reads: When) -> str:
    """Objects of both scopes: those of one alone, and those that differ in items of lists."""
    texts = ""
    others = {(body["kind"], body["metadata"]["name"]): body for body in single}
    for body in whole:
        other = others.pop((body["kind"], body["metadata"]["name"]), None)
        made = body if other is None else either(body, other, _SCOPES)
        condition = _CLUSTER if other is None else None
        texts += document(_with_secrets(_described(made), reads), condition=condition)
    if others:
        raise ValueError(f"these are of one namespace alone: {sorted(others)}")
    return texts


def _with_secrets(body: Manifest, reads: When) -> Manifest:
    body = replaced(body, SECRETS.rule(), reads)
    if body["kind"] == "ServiceAccount":
        body["metadata"]["annotations"] = _annotations("$.Values.serviceAccount.annotations")
    return body


def _described(
    body: Manifest, *, labels: list[str] | None = None, annotations: str | None = None
) -> Manifest:
    """The object in the namespace of the release, with the user's labels and annotations."""
    found: Any = replaced(copy.deepcopy(body), _NAMESPACE, Value("$.Release.Namespace | quote"))
    own = found["metadata"].pop("labels")
    found["metadata"]["labels"] = _merged(own, *(labels or []), "$.Values.commonLabels")
    found["metadata"]["annotations"] = _annotations(*([annotations] if annotations else []))
    made: Manifest = found
    return made


def _merged(own: dict[str, str], *more: str) -> Tree:
    """Labels: our own go before those of the user, by which nothing would be found again."""
    words = " ".join(f'"{key}" "{value}"' for key, value in own.items())
    return Tree(f"merge (dict {words}) {' '.join(more)}")


def _annotations(*more: str) -> Tree:
    return Tree(" ".join(["merge (dict)", *more, "$.Values.commonAnnotations"]))
