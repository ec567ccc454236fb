"""What is known of a run of a pipeline, and of the jobs of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from mmrlhf_api import JobFileError, OutputStatus
from mmrlhf_api.constants import Phase
from mmrlhf_api.kinds.resource import Resource
from mmrlhf_api.pipelines import (
    PIPELINE,
    RESOURCES,
    RUN,
    AlignmentPipeline,
    AlignmentRun,
    parse_pipeline,
)
from mmrlhf_api.pipelines.files import Flow
from mmrlhf_api.pipelines.types import AlignmentPipelineStatus, AlignmentRunStatus, StepStatus
from mmrlhf_api.sizes import size_problem
from mmrlhf_api.yamltree import Document
from mmrlhf_operator.kube.timestamps import parse_time
from mmrlhf_operator.state.bodies import TOO_LARGE, without_notes
from mmrlhf_operator.state.metadata import owner_uid, without_misfits
from mmrlhf_operator.state.views import Finding, StatusUnreadableError

__all__ = [
    "ANNOTATION_SUSPENDED",
    "ChildView",
    "FlowView",
    "PipelineView",
    "RunObserved",
    "RunView",
    "SeenInputs",
    "identity",
    "parse_flow",
    "read_status",
    "steps_of",
]

ANNOTATION_SUSPENDED: Final = "mmrlhf.io/suspended-by-run"
"""On a job that its run has suspended: the run's identity. What a person suspended is left so."""


@dataclass(frozen=True, kw_only=True)
class ChildView:
    """The job of a step, whoever made it.

    Attributes:
        name: Its name.
        uid: Its identity.
        owner: Identity of what controls it; None where nothing does.
        phase: Its phase; None before the first.
        reason: Why it is in that phase.
        message: The same in a sentence.
        manifest: Record of it, once it has succeeded.
        outputs: What it has left.
        suspend: Whether it is to be suspended.
        cancel: Whether it is to be cancelled.
        suspended_by: Run that has suspended it.
        metrics: Its final figures, once it has succeeded.
        progress: Its latest figures by wire name.
    """

    name: str
    uid: str
    owner: str | None
    phase: str | None = None
    reason: str = ""
    message: str = ""
    manifest: str | None = None
    outputs: tuple[OutputStatus, ...] = ()
    suspend: bool = False
    cancel: bool = False
    suspended_by: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> ChildView:
        """Read an object of the API server."""
        metadata, status = body["metadata"], body.get("status") or {}
        policy = (body.get("spec") or {}).get("runPolicy") or {}
        artifacts = status.get("artifacts") or {}
        uri = artifacts.get("uri")
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            owner=owner_uid(body),
            phase=status.get("phase"),
            reason=status.get("reason") or "",
            message=status.get("message") or "",
            manifest=artifacts.get("manifest")
            or (f"{uri.rstrip('/')}/manifest.json" if uri else None),
            outputs=tuple(
                OutputStatus.model_validate(one, by_alias=True, by_name=False)
                for one in status.get("outputs") or ()
            ),
            suspend=policy.get("suspend") is True,
            cancel=policy.get("cancel") is True,
            suspended_by=(metadata.get("annotations") or {}).get(ANNOTATION_SUSPENDED),
            metrics=status.get("metrics") or {},
            progress=status.get("progress") or {},
        )

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.phase in {Phase.SUCCEEDED, Phase.FAILED}


@dataclass(frozen=True, kw_only=True)
class FlowView:
    """What pipelines, runs and sweeps have in common as the API server has them.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        uid: Its identity.
        generation: Version of the spec.
        resource_version: Version of the object, for optimistic locking.
        deleting: Whether it is being deleted.
        problem: Why it is not valid; None when it is.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class RunView(FlowView):
    """A run as the API server has it; see `FlowView`.

    Attributes:
        run: The run; None when it is not valid.
        suspend: What ``spec.suspend`` says, valid or not.
        cancel: What ``spec.cancel`` says, valid or not.
        status: Its status.
    """

    run: AlignmentRun | None
    suspend: bool
    cancel: bool
    status: AlignmentRunStatus

    @property
    def kind(self) -> Resource:
        """What it is."""
        return RUN

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> RunView:
        """Read an object of the API server.

        Raises:
            StatusUnreadableError: The status has fields of wrong types.
        """
        found, problem = parse_flow(body)
        spec = body.get("spec") or {}
        return cls(
            **identity(body),
            problem=problem,
            run=found if isinstance(found, AlignmentRun) else None,
            suspend=spec.get("suspend") is True,
            cancel=spec.get("cancel") is True,
            status=read_status(AlignmentRunStatus, body),
        )


@dataclass(frozen=True, kw_only=True)
class PipelineView(FlowView):
    """A pipeline as the API server has it; see `RunView`.

    Attributes:
        created: When it was created.
    """

    pipeline: AlignmentPipeline | None
    status: AlignmentPipelineStatus
    created: datetime

    @property
    def kind(self) -> Resource:
        """What it is."""
        return PIPELINE

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> PipelineView:
        """Read an object of the API server.

        Raises:
            StatusUnreadableError: The status has fields of wrong types.
        """
        found, problem = parse_flow(body)
        created = parse_time(body["metadata"]["creationTimestamp"])
        assert created is not None
        return cls(
            **identity(body),
            created=created,
            problem=problem,
            pipeline=found if isinstance(found, AlignmentPipeline) else None,
            status=read_status(AlignmentPipelineStatus, body),
        )


@dataclass(frozen=True, kw_only=True)
class SeenInputs:
    """What a look at the inputs of a step found.

    Attributes:
        digests: Digest of the content of each input, by field; None where that cannot be known.
        why: Why not.
    """

    digests: Mapping[str, str] | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class RunObserved:
    """Everything besides the run itself.

    Attributes:
        children: By step, the job of the name that the step's job has, whoever made it.
        inputs: What looks at inputs have found, by step.
        earlier: Steps that earlier runs of the same pipeline have made, with the run of each, the
            latest first.
        held: Whether records are still there, by URI, as far as they were looked up.
        conflicts: What was in the way of creating the job of a step.
    """

    children: Mapping[str, ChildView] = field(default_factory=dict)
    inputs: Mapping[str, SeenInputs] = field(default_factory=dict)
    earlier: tuple[tuple[str, StepStatus], ...] = ()
    held: Mapping[str, bool] = field(default_factory=dict)
    conflicts: Mapping[str, Finding] = field(default_factory=dict)


def steps_of(body: Mapping[str, Any]) -> tuple[StepStatus, ...]:
    """Return what the status of a run says of its steps; nothing where it cannot be read."""
    try:
        status: AlignmentRunStatus = read_status(AlignmentRunStatus, body)
    except StatusUnreadableError:
        return ()
    return status.steps


def identity(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `FlowView` but the problem."""
    metadata = body["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "generation": metadata.get("generation", 1),
        "resource_version": metadata["resourceVersion"],
        "deleting": "deletionTimestamp" in metadata,
    }


def parse_flow(body: Mapping[str, Any]) -> tuple[Flow | None, str | None]:
    """Return what an object of the API server is, or why it is not valid."""
    if TOO_LARGE in body:
        return None, f"spec: {size_problem(body[TOO_LARGE])}"
    document = {
        "apiVersion": body.get("apiVersion"),
        "kind": body["kind"],
        "metadata": without_misfits(without_notes(body)["metadata"]),
        "spec": body.get("spec", {}),
    }
    try:
        found = parse_pipeline(Document(document, {}), source=body["kind"], in_cluster=True)
    except JobFileError as error:
        return None, "; ".join(map(str, error.problems))
    return found, None


def read_status(model: Any, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a type, and one of it
    """Return the status of an object, as a type.

    Raises:
        StatusUnreadableError: It has fields of wrong types.
    """
    metadata, raw = body["metadata"], body.get("status") or {}
    assert body["kind"] in RESOURCES
    try:
        return model.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        raise StatusUnreadableError(
            f"{body['kind']} {metadata['namespace']}/{metadata['name']}: its status cannot be read:"
            f" {error}; remove the field in question"
        ) from error
