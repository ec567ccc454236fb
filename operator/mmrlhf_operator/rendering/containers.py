"""Containers of a job's pods."""

from __future__ import annotations

from typing import Any

from torchx.specs import Role

from mmrlhf_api import Job
from mmrlhf_api.constants import (
    CONTAINER,
    DEFAULT_TERMINATION_PATH,
    ENV_GANG_TIMEOUT,
    ENV_IMAGE,
    ENV_PROGRESS_URL,
    ENV_TOKEN_FILE,
)
from mmrlhf_jobs.components import SHUTDOWN_SECONDS
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.nodepools import NodePool
from mmrlhf_operator.rendering.open_lineage import lineage_variables
from mmrlhf_operator.rendering.volumes import CA_FILE, TOKEN_FILE, mounts

__all__ = [
    "AWS_KEYS",
    "GRACE_SECONDS",
    "PROGRESS_PATH",
    "main",
    "pod_security",
]

PROGRESS_PATH = "/v1/progress"
"""Path at which the operator takes progress."""
GRACE_SECONDS = SHUTDOWN_SECONDS + 30
"""Seconds between SIGTERM and SIGKILL; torchrun needs longer than its processes."""
AWS_KEYS = {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": True, "AWS_SESSION_TOKEN": False}
"""Keys of a credentials Secret, and whether each must be there."""


def main(job: Job, role: Role, *, pool: NodePool, config: OperatorConfig) -> dict[str, Any]:
    """The container that runs the job's processes."""
    image = config.image_of(job.kind, job.spec.image)
    assert image is not None  # the planner checks that before
    quantities = _quantities(job, pool)
    return {
        "name": CONTAINER,
        "image": image,
        **({"imagePullPolicy": config.pull_policy} if config.pull_policy else {}),
        "command": [role.entrypoint, *role.args],
        "env": _environment(job, role, pool=pool, config=config, image=image),
        "resources": {"requests": quantities, "limits": dict(quantities)},
        "ports": [{"name": name, "containerPort": port} for name, port in role.port_map.items()],
        "volumeMounts": mounts(job, pool=pool, config=config),
        "terminationMessagePath": DEFAULT_TERMINATION_PATH,
        # What torchrun logs last names the process that failed first.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _container_security(pool),
    }


def pod_security(config: OperatorConfig) -> dict[str, Any]:
    """Security context of a pod, for the restricted Pod Security Standard."""
    user = config.run_as_user
    # Without a user of ours, the cluster gives one: OpenShift has a range for each namespace.
    given = {} if user is None else {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
    return {"runAsNonRoot": True, **given, "seccompProfile": {"type": "RuntimeDefault"}}


def _container_security(pool: NodePool) -> dict[str, Any]:
    kept = {"add": list(pool.capabilities)} if pool.capabilities else {}
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], **kept},
    }


def _quantities(job: Job, pool: NodePool) -> dict[str, str]:
    """Requested and limited alike: a gang must not be slowed by one throttled member."""
    resources = job.spec.resources
    gpus = {pool.gpu_resource: str(resources.gpus_per_node)} if resources.gpus_per_node else {}
    return {"cpu": resources.cpu, "memory": resources.memory, **pool.resources, **gpus}


def _environment(
    job: Job, role: Role, *, pool: NodePool, config: OperatorConfig, image: str
) -> list[dict[str, Any]]:
    plain = {
        # The root file system is read-only, and the user may have no entry in /etc/passwd.
        "HOME": "/tmp",  # noqa: S108 - the pod's own
        "USER": "mmrlhf",
        ENV_IMAGE: image,
        ENV_GANG_TIMEOUT: str(config.deadlines.rendezvous),
        **pool.env,
        **role.env,
    }
    if job.spec.artifacts.ca_secret is not None:
        plain["AWS_CA_BUNDLE"] = CA_FILE
    if config.progress_url is not None:
        plain[ENV_PROGRESS_URL] = config.progress_url.rstrip("/") + PROGRESS_PATH
        plain[ENV_TOKEN_FILE] = TOKEN_FILE
    entries = {one["name"]: one for one in lineage_variables(job, config)}
    entries |= {
        # The kubelet takes $(NAME) for a reference and $$ for one $, so that every $ is doubled.
        name: {"name": name, "value": value.replace("$", "$$")}
        for name, value in plain.items()
    }
    for name, path in (
        ("MMRLHF_POD_NAME", "metadata.name"),
        ("MMRLHF_POD_NAMESPACE", "metadata.namespace"),
        ("MMRLHF_POD_IP", "status.podIP"),
        ("MMRLHF_NODE_NAME", "spec.nodeName"),
    ):
        entries[name] = {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    secret = job.spec.artifacts.credentials_secret
    if secret is not None:
        for key, required in AWS_KEYS.items():
            reference = {"name": secret, "key": key, "optional": not required}
            entries[key] = {"name": key, "valueFrom": {"secretKeyRef": reference}}
    for variable in job.spec.pod_template.env:
        if variable.secret_key_ref is not None:
            theirs = variable.secret_key_ref
            reference = {"name": theirs.name, "key": theirs.key}
            entries[variable.name] = {
                "name": variable.name,
                "valueFrom": {"secretKeyRef": reference},
            }
    return list(entries.values())
