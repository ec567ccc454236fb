"""What a job's processes are told of OpenLineage, by the variables of its own clients."""

from __future__ import annotations

from typing import Any

from mmrlhf_api import Job
from mmrlhf_api.metadata import OwnerReference
from mmrlhf_api.pipelines.names import LABEL_PIPELINE
from mmrlhf_operator.config import OperatorConfig

__all__ = ["lineage_variables"]

_URL = "OPENLINEAGE_URL"


def lineage_variables(job: Job, config: OperatorConfig) -> list[dict[str, Any]]:
    """Entries of a container's ``env``; none where nobody is to be told.

    A job that names a server of its own is given nothing of the admin's: the key is not for it.
    A key that is not there starts the pods all the same: lineage holds up no job.
    """
    told = config.open_lineage
    if told is None or any(one.name == _URL for one in job.spec.pod_template.env):
        return []
    plain = {_URL: told.url, "OPENLINEAGE_NAMESPACE": told.namespace}
    if told.endpoint is not None:
        plain["OPENLINEAGE_ENDPOINT"] = told.endpoint
    owner = next((one for one in job.metadata.owner_references if one.controller), None)
    if owner is not None:
        plain["OPENLINEAGE_PARENT_ID"] = f"{told.namespace}/{_parent(job, owner)}/{owner.uid}"
    entries: list[dict[str, Any]] = [
        {"name": name, "value": value.replace("$", "$$")} for name, value in plain.items()
    ]
    if (secret := told.api_key_secret) is not None:
        reference = {"name": secret.name, "key": secret.key, "optional": True}
        entries.append({"name": "OPENLINEAGE_API_KEY", "valueFrom": {"secretKeyRef": reference}})
    return entries


def _parent(job: Job, owner: OwnerReference) -> str:
    """The pipeline of a run, or whatever else made the job, such as a sweep."""
    name = job.metadata.labels.get(LABEL_PIPELINE) or owner.name
    return f"{job.metadata.namespace}.{name}"
