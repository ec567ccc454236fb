"""The objects of a job: ConfigMap, headless Service and pods, as plain dicts.

Pods come from the AppDef of `mmrlhf_jobs.components.component`, the same that runs on a laptop.
They meet the restricted Pod Security Standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchx.specs import AppDef, Role, macros

from mmrlhf_api import Job, job_json, kind_of, spec_digest
from mmrlhf_api.constants import (
    ENV_ATTEMPT,
    LABEL_ATTEMPT,
    LABEL_INDEX,
    LABEL_JOB,
    LABEL_KIND,
)
from mmrlhf_api.tracing import ENV_TRACEPARENT, attempt_context, trace_context
from mmrlhf_jobs.components import MASTER_PORT, component, place
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.gangs import kueue, podgroups
from mmrlhf_operator.gangs.providers import Provider
from mmrlhf_operator.nodepools import NodePool
from mmrlhf_operator.rendering import containers, owned
from mmrlhf_operator.rendering.names import gang_name, pod_host, pod_name, shared_name
from mmrlhf_operator.rendering.volumes import volumes
from mmrlhf_operator.state.views import ANNOTATION_DIGEST, JOB_FILE

__all__ = [
    "Manifest",
    "config_map",
    "placed",
    "pod",
    "pod_group",
    "pods",
    "priority_class",
    "service",
    "workload",
]

Manifest = dict[str, Any]


def config_map(job: Job) -> Manifest:
    """The job as it was accepted; immutable, as it is the record of what the job computes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            **owned.metadata(job, shared_name(kind_of(job), job.metadata.name)),
            "annotations": {ANNOTATION_DIGEST: spec_digest(job)},
        },
        "immutable": True,
        "data": {JOB_FILE: job_json(job)},
    }


def service(job: Job) -> Manifest:
    """The headless Service that gives pods their host names, ready or not."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned.metadata(job, shared_name(kind_of(job), job.metadata.name)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL_KIND: job.kind, LABEL_JOB: job.metadata.name},
            "ports": [{"name": "torchrun", "port": MASTER_PORT, "targetPort": MASTER_PORT}],
        },
    }


def workload(
    job: Job, *, config: OperatorConfig, stem: str | None = None, priority: int | None = None
) -> Manifest:
    """What stands for the job in its queue; see `kueue.workload`."""
    metadata = owned.metadata(job, shared_name(kind_of(job), job.metadata.name))
    template = pod(job, attempt=0, index=0, config=config, stem=stem)
    return kueue.workload(job, metadata, template, priority=priority)


def pod_group(
    provider: Provider, job: Job, *, attempt: int, config: OperatorConfig, stem: str | None = None
) -> Manifest:
    """The gang of an attempt, for a scheduler that knows gangs; see `podgroups.pod_group`."""
    member = pod(job, attempt=attempt, index=0, config=config, stem=stem)
    metadata = owned.metadata(job, gang_name(stem or job.metadata.name, attempt=attempt))
    return podgroups.pod_group(provider, job, metadata, member)


def pods(job: Job, *, attempt: int, config: OperatorConfig) -> list[Manifest]:
    """All pods of an attempt, by index."""
    return [
        pod(job, attempt=attempt, index=index, config=config)
        for index in range(job.spec.resources.nodes)
    ]


def placed(job: Job, *, attempt: int, config: OperatorConfig, stem: str | None = None) -> AppDef:
    """The AppDef of a job with what the cluster decides: rank 0's address and the attempt."""
    app = component(job)
    env = {ENV_ATTEMPT: str(attempt), **_trace(job, attempt, config)}
    if job.spec.resources.nodes > 1:
        env["PET_MASTER_ADDR"] = master_host(job, attempt=attempt, config=config, stem=stem)
    return place(app, env)


def _trace(job: Job, attempt: int, config: OperatorConfig) -> dict[str, str]:
    """The span that the processes of an attempt run in, for what else traces in them."""
    if config.tracing_url is None:
        return {}
    metadata = job.metadata
    uid = metadata.uid or ""
    context = trace_context(metadata.annotations, metadata.owner_references, uid)
    return {ENV_TRACEPARENT: attempt_context(uid, context, attempt).traceparent()}


def master_host(job: Job, *, attempt: int, config: OperatorConfig, stem: str | None = None) -> str:
    """Host name of node 0 of an attempt."""
    return pod_host(
        pod_name(stem or job.metadata.name, attempt=attempt, index=0),
        service=shared_name(kind_of(job), job.metadata.name),
        namespace=job.metadata.namespace,
        domain=config.cluster_domain,
    )


def pod(
    job: Job,
    *,
    attempt: int,
    index: int,
    config: OperatorConfig,
    stem: str | None = None,
    avoided: Sequence[str] = (),
) -> Manifest:
    """One pod of an attempt.

    Args:
        job: The job.
        attempt: The attempt.
        index: Index of the pod in it.
        config: The operator's configuration.
        stem: What names of its pods begin with; the job's name by default.
        avoided: Nodes that it had better not be on.

    Raises:
        KeyError: The configuration has no such node pool; the planner checks that before.
    """
    name = pod_name(stem or job.metadata.name, attempt=attempt, index=index)
    pool = _pool(job, config)
    app = placed(job, attempt=attempt, config=config, stem=stem)
    role = _role(app, job, attempt=attempt, index=index)
    template = job.spec.pod_template
    metadata = owned.metadata(job, name)
    # What the administrator says in a pool goes before what the job says.
    metadata["labels"] = {
        **template.labels,
        **pool.labels,
        **metadata["labels"],
        LABEL_ATTEMPT: str(attempt),
        LABEL_INDEX: str(index),
    }
    metadata["annotations"] = {
        **template.annotations,
        "sidecar.istio.io/inject": "false",
        **pool.annotations,
    }
    spec: Manifest = {
        "restartPolicy": "Never",
        "hostname": name,
        "subdomain": shared_name(kind_of(job), job.metadata.name),
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": containers.GRACE_SECONDS,
        "securityContext": containers.pod_security(config),
        "containers": [containers.main(job, role, pool=pool, config=config)],
        "volumes": volumes(job, pool=pool, config=config),
        "nodeSelector": {**template.node_selector, **pool.node_selector},
        "tolerations": _tolerations(job, pool, config),
    }
    optional = {
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": [{"name": secret} for secret in template.image_pull_secrets],
        "priorityClassName": priority_class(job, config),
        "runtimeClassName": pool.runtime_class,
        "schedulerName": pool.scheduler,
        "affinity": _affinity(job, attempt) | _avoidance(avoided),
    }
    spec |= {key: value for key, value in optional.items() if value}
    if pool.host_network:
        # The node's resolver knows no Services.
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def priority_class(job: Job, config: OperatorConfig) -> str | None:
    """The PriorityClass of a job's pods; what the administrator says goes first."""
    return _pool(job, config).priority_class or job.spec.scheduling.priority_class


def _pool(job: Job, config: OperatorConfig) -> NodePool:
    return NodePool() if job.spec.node_pool is None else config.node_pools[job.spec.node_pool]


class _Values(macros.Values):
    """torchx's own, without a dictionary of all macros for each text that has none."""

    def substitute(self, arg: str) -> str:
        return super().substitute(arg) if "$" in arg else arg


def _role(app: AppDef, job: Job, *, attempt: int, index: int) -> Role:
    values = _Values(
        img_root="",
        app_id=f"{job.metadata.name}-{attempt}",
        replica_id=str(index),
        rank0_env="",
    )
    (role,) = app.roles
    return values.apply(role)


def _tolerations(job: Job, pool: NodePool, config: OperatorConfig) -> list[Manifest]:
    theirs = [*pool.tolerations, *job.spec.pod_template.tolerations]
    named = {toleration.key for toleration in theirs}
    # Kubernetes gives a lost node five minutes by default; a gang waits for its slowest member.
    ours = [
        {
            "key": key,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": config.deadlines.lost_node,
        }
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if key not in named
    ]
    return [*(entry.model_dump(by_alias=True, exclude_none=True) for entry in theirs), *ours]


def _affinity(job: Job, attempt: int) -> Manifest:
    """Keep the pods of an attempt together, by the node label that the job names."""
    scheduling = job.spec.scheduling
    key = scheduling.topology_required or scheduling.topology_preferred
    if key is None:
        return {}
    selector = {
        LABEL_KIND: job.kind,
        LABEL_JOB: job.metadata.name,
        LABEL_ATTEMPT: str(attempt),
    }
    term = {"topologyKey": key, "labelSelector": {"matchLabels": selector}}
    if scheduling.topology_required is not None:
        return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    weighted = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}


def _avoidance(nodes: Sequence[str]) -> Manifest:
    """Prefer all nodes but some.

    By name, and by the label that has the name nearly everywhere: schedulers up to 1.20 look at
    labels alone when they rank nodes.
    """
    if not nodes:
        return {}
    preference = {
        "matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(nodes)}
        ],
        "matchFields": [
            {"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes
        ],
    }
    weighted = [{"weight": 100, "preference": preference}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}
