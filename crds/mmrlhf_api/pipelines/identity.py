"""When a step would make the same again: one digest of its inputs, spec and image.

What a step takes from another one counts by that one's digest and not by where it lies: so a change
at the beginning is a change of all that follows from it, and nothing else is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mmrlhf_api.base import wire_dict
from mmrlhf_api.job import Job
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.pipelines.references import Reference
from mmrlhf_api.pipelines.rendering import job_body, step_spec
from mmrlhf_api.pipelines.types import PipelineStep
from mmrlhf_api.serialization import run_digest
from mmrlhf_api.storage import ArtifactStore

__all__ = ["read_inputs", "step_job", "step_key"]

_MADE = "s3://made/"


def step_job(
    step: PipelineStep,
    *,
    artifacts: ArtifactStore | None,
    parameters: Mapping[str, Any],
    keys: Mapping[str, str],
) -> Job:
    """Return the job of a step with the digests of other steps in place of what they left.

    Args:
        step: A step of a run that is valid.
        artifacts: Where it writes if it does not say so itself.
        parameters: Values of all parameters.
        keys: Digest of each step that it takes something of.
    """

    def output(one: Reference) -> str:
        assert one.step is not None
        return f"{_MADE}{keys[one.step]}/{one.output}"

    spec = step_spec(step, artifacts=artifacts, parameters=parameters, output=output)
    body = job_body(step, spec, name="x", namespace="x")
    return KINDS[step.kind].model.model_validate(body, by_alias=True, by_name=False)


def read_inputs(job: Job) -> dict[str, str]:
    """What a `step_job` reads that no other step makes: URIs by field."""
    found = KINDS[job.kind].inputs(job.spec)
    return {one.field: one.uri for one in found if not one.uri.startswith(_MADE)}


def step_key(job: Job, *, image: str, inputs: Mapping[str, str]) -> str:
    """Return the SHA-256 (64 hex digits) of what a step makes.

    It leaves out what no result depends on (`mmrlhf_api.serialization.run_digest`), such as the
    number of processes.

    Args:
        job: See `step_job`.
        image: Image that it runs in.
        inputs: Digest of the content of each of `read_inputs`, by field.
    """
    content = {
        "job": run_digest(job),
        "image": image,
        "environment": wire_dict(job.spec.pod_template),
        "inputs": dict(inputs),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
