"""``doctor``: look at everything that jobs need of a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from mmrlhf.client.cluster import Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.paths import core_path
from mmrlhf.errors import ClusterError, ForbiddenError, KindMissingError, NotFoundError
from mmrlhf_api.constants import API_VERSION, GROUP, MANAGER, VERSION
from mmrlhf_api.kinds.resource import ResourceNames
from mmrlhf_api.outlines import digest_outline
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_api.schema_digests import SCHEMA_DIGESTS
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, out
from mmrlhfctl.text.table import Style, paint
from mmrlhfctl.verbs.doctor_checks import (
    Finding,
    State,
    describe_differences,
    gang_providers,
    gpu_nodes,
    judge_deployment,
    judge_lease,
    judge_server_version,
    node_pools,
    schema_differences,
)
from mmrlhfctl.versions import own_version

__all__ = ["check_cluster"]

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_JOB_VERBS = ("get", "list", "watch", "create", "patch", "delete")
_OTHER_RIGHTS = {
    "pods": ("", "pods", ("list", "watch")),
    "logs": ("", "pods/log", ("get",)),
    "events": ("", "events", ("list", "watch")),
}
_STYLES = {State.OK: Style.GOOD, State.WARNING: Style.IDLE, State.FAILED: Style.BAD}


def check_cluster(connection: Connection, *, as_json: bool) -> None:
    """Look at a cluster and say what is wrong with it.

    Raises:
        CliError: The cluster cannot be reached, or jobs will not run on it.
    """
    cluster = open_cluster(connection)
    findings: list[Finding] = []
    colours = colours_wanted(sys.stdout)
    for finding in _checks(cluster):
        findings.append(finding)
        if not as_json:
            _show(finding, colours=colours)
            sys.stdout.flush()
    if as_json:
        out(json.dumps([vars(finding) for finding in findings], indent=2))
    failed = [finding.check for finding in findings if finding.state is State.FAILED]
    if failed:
        raise CliError(f"not ready to run jobs: {', '.join(failed)}", code=ExitCode.FAILED)


def _checks(cluster: Cluster) -> Iterator[Finding]:
    yield Finding("mmrlhfctl", State.OK, f"version {own_version()}, API {API_VERSION}")
    version = cluster.get("/version")  # if this fails, so would all the rest
    yield Finding("cluster", State.OK, f"{cluster.place} answers; namespace {cluster.namespace}")
    yield judge_server_version(version)
    for kind in all_resources():
        yield _crd(cluster, kind)
    yield from _permissions(cluster)
    deployments = _seek(cluster, "operator", "/apis/apps/v1", "deployments")
    if isinstance(deployments, Finding):
        yield deployments
    else:
        # Operators may serve namespaces of their own; one that lives will do.
        yield judge_deployment(max(deployments, key=_ready_replicas, default=None))
    leases = _seek(cluster, "operator lease", "/apis/coordination.k8s.io/v1", "leases")
    if isinstance(leases, Finding):
        yield leases
    else:
        now = cluster.server_time or datetime.now(UTC)
        yield judge_lease(max(leases, key=_renewed, default=None), now)
    groups = [group["name"] for group in cluster.get("/apis").get("groups") or ()]
    yield gang_providers(groups)
    yield from _nodes(cluster, deployments if isinstance(deployments, list) else [])


def _crd(cluster: Cluster, kind: ResourceNames) -> Finding:
    name = f"{kind.plural}.{GROUP}"
    check = f"CRD {kind.name}"
    install = "kubectl apply --server-side -f deploy/install.yaml (see docs/install.md)"
    try:
        crd = cluster.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    except NotFoundError:
        return Finding(check, State.FAILED, "is not installed", install)
    except ForbiddenError:
        return _discovered(cluster, kind, check, install)
    conditions = (crd.get("status") or {}).get("conditions") or ()
    established = [entry for entry in conditions if entry["type"] == "Established"]
    if not established or established[0]["status"] != "True":
        why = established[0].get("message", "") if established else ""
        return Finding(check, State.FAILED, f"is not served yet {why}".rstrip(), "wait, or see it")
    versions = {entry["name"]: entry for entry in crd["spec"]["versions"]}
    if VERSION not in versions or not versions[VERSION].get("served"):
        return Finding(check, State.FAILED, f"serves {', '.join(versions)}", install)
    schema = (versions[VERSION].get("schema") or {}).get("openAPIV3Schema") or {}
    if found := _differences(schema, kind):
        text = f"is of another version: {describe_differences(found)}"
        return Finding(check, State.FAILED, text, install)
    return Finding(check, State.OK, "installed, and of this version")


def _differences(schema: Mapping[str, Any], kind: ResourceNames) -> list[str]:
    if digest_outline(schema) == SCHEMA_DIGESTS[kind.name]:
        return []
    # Only who has to say what differs needs the types, a second of a core.
    from mmrlhf_api.schema import kind_schema

    return schema_differences(schema, kind_schema(kind, cel=False))


def _discovered(cluster: Cluster, kind: ResourceNames, check: str, install: str) -> Finding:
    try:
        resources = cluster.get(f"/apis/{GROUP}/{VERSION}").get("resources") or ()
    except (KindMissingError, NotFoundError):
        resources = ()
    if kind.plural not in {entry["name"] for entry in resources}:
        return Finding(check, State.FAILED, "is not installed", install)
    text = "installed; its version is not compared, as you may not read CRDs"
    return Finding(check, State.INFO, text)


def _permissions(cluster: Cluster) -> Iterator[Finding]:
    wanted = {kind.plural: (GROUP, kind.plural, _JOB_VERBS) for kind in all_resources()}
    for name, (group, resource, verbs) in (wanted | _OTHER_RIGHTS).items():
        denied = [verb for verb in verbs if not _may(cluster, group, resource, verb)]
        check = f"permission {name}"
        if not denied:
            yield Finding(check, State.OK, ", ".join(verbs))
            continue
        text = f"you may not {', '.join(denied)} {resource} in namespace {cluster.namespace}"
        yield Finding(check, State.FAILED, text, "ask for a role that allows it")


def _may(cluster: Cluster, group: str, resource: str, verb: str) -> bool:
    resource, _, subresource = resource.partition("/")
    attributes = {
        "namespace": cluster.namespace,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "verb": verb,
    }
    body: Manifest = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    status = cluster.create(_REVIEWS, body).get("status") or {}
    return status.get("allowed") is True


def _seek(cluster: Cluster, check: str, api: str, plural: str) -> list[Manifest] | Finding:
    """Return the operator's objects of a kind, wherever it is installed."""
    query = {"fieldSelector": f"metadata.name={MANAGER}"}
    try:
        return cluster.list(f"{api}/{plural}", query=query)[0]
    except ForbiddenError:
        pass
    try:
        found = cluster.list(f"{api}/namespaces/{cluster.namespace}/{plural}", query=query)[0]
    except ForbiddenError:
        found = []
    return found or Finding(check, State.INFO, f"not checked: you may not list {plural} elsewhere")


def _ready_replicas(deployment: Manifest) -> int:
    return int((deployment.get("status") or {}).get("readyReplicas") or 0)


def _renewed(lease: Manifest) -> str:
    return str((lease.get("spec") or {}).get("renewTime") or "")


def _nodes(cluster: Cluster, deployments: list[Manifest]) -> Iterator[Finding]:
    try:
        nodes, _ = cluster.list("/api/v1/nodes")
    except ForbiddenError:
        yield Finding("nodes", State.INFO, "not checked: you may not list nodes")
        return
    yield gpu_nodes(nodes)
    for deployment in deployments:
        yield from node_pools(_pools(cluster, deployment), nodes)


def _pools(cluster: Cluster, deployment: Manifest) -> Mapping[str, Mapping[str, Any]]:
    """Return the node-pool profiles of the operator's configuration, where it can be read."""
    namespace = deployment["metadata"]["namespace"]
    pools: dict[str, Mapping[str, Any]] = {}
    for volume in deployment["spec"]["template"]["spec"].get("volumes") or ():
        name = (volume.get("configMap") or {}).get("name")  # kustomize adds a digest to it
        if name is None:
            continue
        try:
            config_map = cluster.get(core_path("configmaps", namespace, name))
            for text in (config_map.get("data") or {}).values():
                pools |= yaml.safe_load(text).get("nodePools") or {}
        except (
            ClusterError,
            yaml.YAMLError,
            AttributeError,
            TypeError,
            ValueError,
            RecursionError,
        ):
            continue
    return pools


def _show(finding: Finding, *, colours: bool) -> None:
    state = paint(
        f"{finding.state.value:<9}", _STYLES.get(finding.state, Style.NONE), colours=colours
    )
    out(f"{state}{finding.check}: {finding.text}")
    if finding.advice:
        out(f"{'':<9}  {finding.advice}")
