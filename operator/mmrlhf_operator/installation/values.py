"""What may be set when the chart is installed, as types: the values, their schema and their file.

The configuration is the operator's own, without what follows from how it is installed.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import Field, Strict

from mmrlhf_api.amounts import Quantity
from mmrlhf_api.base import ApiModel
from mmrlhf_api.pod import Toleration
from mmrlhf_api.scalars import DnsLabel, DnsName, LabelKey, LabelMap, Matching, StringMap
from mmrlhf_api.schema import write_floats
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.installation.documents import HEADER, to_yaml
from mmrlhf_operator.installation.workload import AFFINITY, REPLICAS, RESOURCES, USER

__all__ = ["OWN_FIELDS", "Values", "values_file", "values_schema"]

OWN_FIELDS: Final = {
    "OperatorConfig": (
        "namespaces",
        "progressUrl",
        "progressAddress",
        "healthAddress",
        "metricsAddress",
    ),
    "LeaderElection": ("name", "namespace"),
}
"""Fields of the configuration that the chart sets: ports, names, and what is served."""

_Name = Annotated[str, MaxLen(512), Matching(r"^([^\s:@]\S*[^\s/])?$", "a name without spaces")]
_Tag = Annotated[str, Matching(r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$", "a tag, such as 0.1.0")]
_Digest = Annotated[str, Matching(r"^(sha256:[0-9a-f]{64})?$", "sha256: and 64 hex digits")]
_Class = Annotated[
    str, Matching(r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$", "the name of a PriorityClass")
]
_Interval = Annotated[str, Matching(r"^[0-9]+(ms|s|m|h)$", "a time such as 30s")]
_Amounts = Annotated[dict[LabelKey, Quantity], MaxLen(32)]
_Free = dict[str, Any]


class Image(ApiModel):
    """Image of the operator."""

    repository: _Name = "mmrlhf/operator"
    """Its name, without registry if that is named above."""
    tag: _Tag = ""
    """Its tag; empty for the version of the chart."""
    digest: _Digest = ""
    """Its digest, such as sha256:4f..., which goes before a tag."""
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    """When nodes pull it; empty for Kubernetes' default."""


class PullSecret(ApiModel):
    """A Secret with the credentials of a registry."""

    name: DnsName
    """Its name, in the operator's namespace."""


class Resources(ApiModel):
    """What a replica of the operator asks of its node."""

    requests: _Amounts = Field(default_factory=lambda: dict(RESOURCES["requests"]))
    """What it gets for certain."""
    limits: _Amounts = Field(default_factory=lambda: dict(RESOURCES["limits"]))
    """What it may not use more of."""


class Affinity(ApiModel):
    """Where replicas of the operator go, as in a pod's own affinity."""

    node_affinity: _Free = Field(default_factory=dict)
    """To which nodes."""
    pod_affinity: _Free = Field(default_factory=dict)
    """Beside which pods."""
    pod_anti_affinity: _Free = Field(default_factory=lambda: dict(AFFINITY["podAntiAffinity"]))
    """Apart from which pods."""


class ServiceAccount(ApiModel):
    """The operator's ServiceAccount."""

    annotations: StringMap = Field(default_factory=dict)
    """Its annotations, such as the role that it has in a cloud."""


class Secrets(ApiModel):
    """The right to read Secrets, by which what jobs name is looked up before a GPU is taken."""

    read: bool = True
    """Whether the operator may read those of all namespaces that it serves. Without, and with none
    below, set config.preflight.enabled to false too."""
    namespaces: Annotated[tuple[DnsLabel, ...], Strict(strict=False), MaxLen(256)] = ()
    """Namespaces in which it may all the same."""


class Kinds(ApiModel):
    """The CustomResourceDefinitions."""

    install: bool = True
    """Whether this release has them, and brings them up to date with each upgrade. One release of a
    cluster should."""
    keep: bool = True
    """Whether they, and with them all jobs, outlive the release. Without, to uninstall it deletes
    all jobs, in all namespaces."""


class Part(ApiModel):
    """A part that can be left out."""

    install: bool = True
    """Whether this release has it."""


class Monitor(ApiModel):
    """A ServiceMonitor for the Prometheus Operator, and a Service for it."""

    install: bool = False
    """Whether it is there; the cluster must have the kind."""
    interval: _Interval = "30s"
    """Time between two looks."""
    labels: LabelMap = Field(default_factory=dict)
    """Its labels, by which a Prometheus selects it."""


class AlertRules(ApiModel):
    """The alerts, as a PrometheusRule for the Prometheus Operator."""

    install: bool = False
    """Whether they are there; the cluster must have the kind."""
    labels: LabelMap = Field(default_factory=dict)
    """Labels, by which a Prometheus selects them."""


class Dashboard(ApiModel):
    """A dashboard, as a ConfigMap for Grafana's side-car."""

    install: bool = False
    """Whether it is there."""
    labels: LabelMap = Field(default_factory=dict)
    """Labels, by which a Grafana selects it, besides grafana_dashboard."""


class Monitoring(ApiModel):
    """What watches the operator."""

    service_monitor: Monitor = Monitor()
    """A ServiceMonitor for the Prometheus Operator, and a Service for it."""
    alerts: AlertRules = AlertRules()
    """The alerts, as a PrometheusRule."""
    dashboard: Dashboard = Dashboard()
    """A dashboard, as a ConfigMap for Grafana's side-car."""


class Values(ApiModel):
    """Values of the chart."""

    scope: Literal["cluster", "namespace"] = "cluster"
    """What is served: all namespaces, or the release's own, with no right outside of it. Jobs then
    show no live progress."""
    registry: _Name = ""
    """Registry that images of ours are pulled from, such as registry.example.org: the operator's,
    and those of jobs that config.images does not name."""
    image: Image = Image()
    """Image of the operator."""
    pull_secrets: Annotated[tuple[PullSecret, ...], Strict(strict=False), MaxLen(16)] = ()
    """Secrets with which it is pulled. Jobs name their own (podTemplate.imagePullSecrets)."""
    replicas: Annotated[int, Ge(1), Le(5)] = REPLICAS
    """Replicas, of which one works and the others stand by."""
    resources: Resources = Resources()
    """What each asks of its node."""
    node_selector: LabelMap = Field(default_factory=dict)
    """Labels of the nodes that they go to."""
    tolerations: Annotated[tuple[Toleration, ...], Strict(strict=False), MaxLen(64)] = ()
    """Taints that they tolerate, besides those of lost nodes, which they leave after 30 s."""
    affinity: Affinity = Affinity()
    """Where they go; by default, to different nodes where there are."""
    priority_class_name: _Class = ""
    """Their PriorityClass."""
    run_as_user: Annotated[int, Ge(1), Le(2**31 - 1)] | None = USER
    """User and group that they run as; null leaves it to the cluster, as OpenShift wants it."""
    service_account: ServiceAccount = ServiceAccount()
    """Their ServiceAccount."""
    common_labels: LabelMap = Field(default_factory=dict)
    """Further labels of all objects and of the operator's pods."""
    common_annotations: StringMap = Field(default_factory=dict)
    """Annotations of all objects."""
    pod_labels: LabelMap = Field(default_factory=dict)
    """Further labels of the operator's pods."""
    pod_annotations: StringMap = Field(default_factory=dict)
    """Annotations of the operator's pods."""
    crds: Kinds = Kinds()
    """The kinds of jobs."""
    user_roles: Part = Part()
    """The ClusterRoles that add jobs to Kubernetes' own view, edit and admin; kept like the kinds.
    One release of a cluster should have them."""
    secrets: Secrets = Secrets()
    """The right to read Secrets."""
    network_policy: Part = Part()
    """A NetworkPolicy that lets in jobs, and who reads measures (namespaces labelled
    mmrlhf.io/metrics=read)."""
    monitoring: Monitoring = Monitoring()
    """What watches the operator."""
    config: OperatorConfig = OperatorConfig()
    """The operator's configuration: the fields of docs/operations.md, but for those that the chart
    sets itself. Jobs whose kind is not in images have the image of the chart's version."""
    global_: Annotated[dict[str, Any], Field(alias="global")] = Field(default_factory=dict)
    """What charts around this one set for all; nothing here reads it."""


def values_schema() -> str:
    """The JSON schema of the values: what is not in it is refused by Helm."""
    source = Values.model_json_schema(by_alias=True)
    for model, names in OWN_FIELDS.items():
        for name in names:
            del source["$defs"][model]["properties"][name]
    made = _strict(source)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **made}
    schema["definitions"] = schema.pop("$defs")
    return json.dumps(schema, indent=2) + "\n"


def _strict(node: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The node in words of draft 7, which Helm of any version knows."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    named = {"properties", "patternProperties", "$defs"}
    out = {
        key: {name: _strict(child) for name, child in value.items()}
        if key in named and isinstance(value, dict)
        else _strict(value)
        for key, value in node.items()
        if key not in {"title", "default"} and not key.startswith("x-kubernetes")
        # Defaults are those of values.yaml.
    }
    if "patternProperties" in out:
        out["additionalProperties"] = False
    write_floats(out)
    match out:
        case {"$ref": str(reference)}:
            out["$ref"] = reference.replace("#/$defs/", "#/definitions/")
    match out:
        case {"description": str(description)}:
            out["description"] = " ".join(description.split())
    return out


def values_file(settings: str) -> str:
    """The values that hold where none is given, each with what it is.

    Args:
        settings: The configuration, as YAML without images.
    """
    lines = list(_lines(Values(), settings, 0))
    return HEADER + "\n".join(lines) + "\n"


def _lines(values: ApiModel, settings: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        key = field.alias or name
        text = " ".join((values.description(name) or "").split())
        if depth == 0:
            yield ""
        yield from textwrap.wrap(
            text, 98, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
        )
        if name == "config":
            yield f"{key}:"
            yield from textwrap.indent(settings.strip(), "  ").splitlines()
        elif isinstance(value, ApiModel):
            yield f"{indent}{key}:"
            yield from _lines(value, settings, depth + 1)
        else:
            plain = list(value) if isinstance(value, tuple) else value
            yield from textwrap.indent(to_yaml({key: plain}).strip(), indent).splitlines()
