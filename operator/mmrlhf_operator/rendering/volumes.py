"""Volumes of a job's pods, and where containers see them."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath
from typing import Any

from mmrlhf_api import Job, kind_of
from mmrlhf_api.constants import DEFAULT_JOB_PATH
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.nodepools import NodePool
from mmrlhf_operator.rendering.names import shared_name

__all__ = ["AUDIENCE", "CA_FILE", "CA_KEY", "TOKEN_FILE", "mounts", "volumes"]

AUDIENCE = "mmrlhf-operator"
"""Audience of the token with which pods report progress; it opens nothing else."""
TOKEN_FILE = "/var/run/secrets/mmrlhf/token"  # noqa: S105 - a path
"""Where a pod finds that token."""
CA_KEY = "ca.crt"
"""Key of a CA Secret."""
CA_FILE = f"/etc/mmrlhf-ca/{CA_KEY}"
"""Where a pod finds the CA of its object store."""
_TOKEN_SECONDS = 3600


def volumes(job: Job, *, pool: NodePool, config: OperatorConfig) -> list[dict[str, Any]]:
    """Volumes of a pod: the job file, /tmp, /dev/shm, and where needed the CA and the token."""
    found: list[dict[str, Any]] = [
        {"name": "job", "configMap": {"name": shared_name(kind_of(job), job.metadata.name)}},
        {"name": "tmp", "emptyDir": {"sizeLimit": pool.scratch_size or config.scratch_size}},
        {
            "name": "shm",
            "emptyDir": {"medium": "Memory", "sizeLimit": job.spec.resources.shared_memory},
        },
    ]
    if job.spec.artifacts.ca_secret is not None:
        items = [{"key": CA_KEY, "path": CA_KEY}]
        secret = {"secretName": job.spec.artifacts.ca_secret, "items": items}
        found.append({"name": "ca", "secret": secret})
    if config.progress_url is not None:
        source = {
            "audience": AUDIENCE,
            "expirationSeconds": _TOKEN_SECONDS,
            "path": PurePosixPath(TOKEN_FILE).name,
        }
        found.append({"name": "token", "projected": {"sources": [{"serviceAccountToken": source}]}})
    found += [
        {
            "name": _claim_name(index),
            "persistentVolumeClaim": {"claimName": claim.name, "readOnly": claim.read_only},
        }
        for index, claim in enumerate(pool.claims)
    ]
    return found


def mounts(job: Job, *, pool: NodePool, config: OperatorConfig) -> list[dict[str, Any]]:
    """Mounts of the container that runs the job."""
    found: list[dict[str, Any]] = [
        {"name": "job", "mountPath": _folder(DEFAULT_JOB_PATH), "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the pod's own
    ]
    if job.spec.artifacts.ca_secret is not None:
        found.append({"name": "ca", "mountPath": _folder(CA_FILE), "readOnly": True})
    if config.progress_url is not None:
        found.append({"name": "token", "mountPath": _folder(TOKEN_FILE), "readOnly": True})
    for index, claim in enumerate(pool.claims):
        part = {} if claim.sub_path is None else {"subPath": claim.sub_path}
        found.append(
            {
                "name": _claim_name(index),
                "mountPath": claim.mount_path,
                "readOnly": claim.read_only,
                **part,
            }
        )
    return found


def _claim_name(index: int) -> str:
    return f"claim-{index}"


def _folder(path: str) -> str:
    return posixpath.dirname(path)
