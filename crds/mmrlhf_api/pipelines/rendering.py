"""The job of a step, once what it refers to is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.job import Job
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.pipelines.names import job_name
from mmrlhf_api.pipelines.references import Reference, resolve
from mmrlhf_api.pipelines.types import AlignmentRun, PipelineStep
from mmrlhf_api.storage import ArtifactStore

__all__ = ["job_body", "real_job", "real_spec", "step_spec"]


def step_spec(
    step: PipelineStep,
    *,
    artifacts: ArtifactStore | None,
    parameters: Mapping[str, Any],
    output: Callable[[Reference], Any],
) -> dict[str, Any]:
    """Return the spec of a step's job.

    Args:
        step: The step.
        artifacts: Where it writes if it does not say so itself.
        parameters: Values of all parameters.
        output: Says what a reference to an output means.
    """

    def follow(reference: Reference) -> Any:  # noqa: ANN401 - any JSON
        if reference.parameter is not None:
            return parameters[reference.parameter]
        return output(reference)

    given = {} if artifacts is None else {"artifacts": wire_dict(artifacts)}
    spec: dict[str, Any] = resolve({**given, **step.spec}, follow)
    return spec


def real_spec(
    step: PipelineStep, run: AlignmentRun, left: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return the spec of the job of a step, whose references are followed.

    Args:
        step: A step of the run.
        run: The run, valid.
        left: What steps have left, as URIs by step and output.
    """

    def output(one: Reference) -> str:
        assert one.step is not None
        return left[one.step][one.output or ""]

    return step_spec(
        step,
        artifacts=run.spec.artifacts,
        parameters={one.name: one.value for one in run.spec.parameters},
        output=output,
    )


def real_job(step: PipelineStep, run: AlignmentRun, left: Mapping[str, Mapping[str, str]]) -> Job:
    """Return the job of a step; see `real_spec`."""
    body = job_body(
        step,
        real_spec(step, run, left),
        name=job_name(run.metadata.name, step.name),
        namespace=run.metadata.namespace,
    )
    return KINDS[step.kind].model.model_validate(body, by_alias=True, by_name=False)


def job_body(step: PipelineStep, spec: Mapping[str, Any], *, name: str, namespace: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a step's job as plain data, not validated."""
    return {
        "apiVersion": API_VERSION,
        "kind": step.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
