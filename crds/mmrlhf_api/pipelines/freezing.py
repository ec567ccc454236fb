"""A run, made of a pipeline as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.errors import FieldError
from mmrlhf_api.pipelines.names import LABEL_PIPELINE
from mmrlhf_api.pipelines.types import AlignmentPipeline

__all__ = ["freeze"]


def freeze(
    pipeline: AlignmentPipeline,
    *,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    cache: bool = True,
) -> dict[str, Any]:
    """Return the manifest of a run of a pipeline, which its pipeline owns.

    Args:
        pipeline: The pipeline, as the API server has it.
        name: Name of the run: the pipeline's, and at most `MAX_RUN_SUFFIX` characters more.
        parameters: Values of those parameters that shall have others than their defaults.
        cache: Whether results may be taken from earlier runs, where steps let them.

    Raises:
        FieldError: There is no such parameter.
    """
    given = dict(parameters or {})
    known = [one.name for one in pipeline.spec.parameters]
    for unknown in given.keys() - set(known):
        there = ", ".join(known) or "none"
        raise FieldError(
            f"parameters.{unknown}",
            f"{pipeline.metadata.name} has no such parameter; it has: {there}",
        )
    spec = wire_dict(pipeline.spec)
    steps = [{**step, "cache": step["cache"] and cache} for step in spec["steps"]]
    values = [
        {"name": one.name, "value": given.get(one.name, one.default)}
        for one in pipeline.spec.parameters
    ]
    body: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "AlignmentRun",
        "metadata": {
            "name": name,
            "namespace": pipeline.metadata.namespace,
            "labels": {LABEL_PIPELINE: pipeline.metadata.name},
        },
        "spec": {"pipeline": pipeline.metadata.name, "parameters": values, "steps": steps},
    }
    if "artifacts" in spec:
        body["spec"]["artifacts"] = spec["artifacts"]
    if pipeline.metadata.uid is not None:
        body["metadata"]["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": pipeline.kind,
                "name": pipeline.metadata.name,
                "uid": pipeline.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return body
