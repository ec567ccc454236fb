"""Status of a job, written by the operator only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, MaxLen
from pydantic import Field, Strict, create_model

from mmrlhf_api.base import ServerModel
from mmrlhf_api.constants import Phase
from mmrlhf_api.prices import GpuPrice
from mmrlhf_api.progress import FIGURES, STEP
from mmrlhf_api.resources import MAX_NODES
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import Count, DnsName, Matching, Text, Timestamp, Word

__all__ = [
    "ArtifactStatus",
    "Condition",
    "ConditionedStatus",
    "EndedWell",
    "JobStatus",
    "NodeFault",
    "PodCounts",
    "Progress",
    "Reporter",
]

CamelCase = Annotated[str, MaxLen(316), Matching("^[A-Za-z][A-Za-z0-9]*$", "one CamelCase word")]
"""Open on the wire, so that an older reader survives a newer writer; constants.py lists the words.
"""


_FIGURE_TYPES: Mapping[type, Any] = {int: Count, float: float, str: Word}


def _with_figures(model: type[ServerModel]) -> Any:  # noqa: ANN401 - a class with more fields
    """Return a model with a field for each of `FIGURES` before its own ones."""
    fields: dict[str, Any] = {
        figure.field: (_FIGURE_TYPES[figure.type] | None, Field(None, description=figure.about))
        for figure in FIGURES
    }
    fields[STEP.field] = (Count, Field(0, description=STEP.about))
    fields |= {name: (field.annotation, field) for name, field in model.model_fields.items()}
    return create_model(
        model.__name__,
        __base__=ServerModel,
        __module__=model.__module__,
        __doc__=model.__doc__,
        **fields,
    )


class Condition(ServerModel):
    """One thing that is true, false or unknown about a job."""

    type: CamelCase
    """What the condition is about, such as Running or Failed."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: CamelCase
    """Why, as one word from a closed set."""
    message: Text = ""
    """Why, for people, with what to do about it."""
    last_transition_time: Timestamp
    """When status last changed."""
    observed_generation: Annotated[int, Ge(0)] | None = None
    """Generation of the spec that this was said about."""


class ConditionedStatus(ServerModel):
    """What statuses of objects that make jobs share."""

    observed_generation: Annotated[int, Ge(0)] | None = None
    """Generation of the spec that this status is about."""
    conditions: Annotated[
        tuple[Condition, ...], Strict(strict=False), MaxLen(32), ListOf("map", "type")
    ] = ()
    """Conditions by type."""


class PodCounts(ServerModel):
    """Pods of the current attempt."""

    ready: Count = 0
    """Pods that run and are ready."""
    total: Count = 0
    """Pods that the job needs."""
    summary: Word = "0/0"
    """Both as ready/total, for kubectl's column."""


@_with_figures
class Progress(ServerModel):
    """Latest progress that rank 0 reported."""

    updated_at: Timestamp | None = None
    """When this was reported."""


class ArtifactStatus(ServerModel):
    """What the job left behind."""

    uri: Annotated[str, MaxLen(4096)]
    """Folder of the job's artifacts."""
    manifest: Annotated[str, MaxLen(4096)] | None = None
    """The reproducible record of the run, once the job has succeeded."""


class OutputStatus(ServerModel):
    """Something that the job left for others."""

    name: Word
    """Its name, unique in the job."""
    content: Word
    """What it is: model, records, queries, scores, figures, page and others."""
    uri: Annotated[str, MaxLen(4096)]
    """Where it is."""


class Reporter(ServerModel):
    """The pod whose progress is taken."""

    attempt: Count
    """Attempt that it is of."""
    uid: Word
    """Its identity, as the operator was told it when it made the pod."""


class EndedWell(ServerModel):
    """Pods whose part of an attempt is done while others of it run."""

    attempt: Count
    """Attempt that they are of."""
    since: Timestamp
    """When the first of them was seen to have ended."""
    indexes: Annotated[
        tuple[Count, ...], Strict(strict=False), MaxLen(MAX_NODES), ListOf("atomic")
    ] = ()
    """Their indexes; they count as done when they are gone as well."""


class NodeFault(ServerModel):
    """A node on which attempts of the job failed."""

    name: DnsName
    """Name of the node."""
    count: Count
    """How often its kubelet refused a pod, it was lost, or a process ended there first."""


class LostTime(ServerModel):
    """What attempts that failed for one reason have held their pods for."""

    reason: CamelCase
    """Why they failed."""
    attempts: Count
    """How many of them."""
    seconds: Count
    """For how long all pods ran, of all of these attempts together: what they did since their last
    checkpoint is lost, all of it at most."""


class JobStatus(ServerModel):
    """State of a job as last observed."""

    phase: Annotated[Phase, Strict(strict=False)] | None = None
    """Where the job is in its life; Succeeded and Failed are final."""
    reason: CamelCase | None = None
    """Why it is there, in one word."""
    message: Text | None = None
    """Why it is there, in a sentence, with what to do about it."""
    observed_generation: Annotated[int, Ge(0)] | None = None
    """Generation of the spec that this status is about."""
    conditions: Annotated[
        tuple[Condition, ...], Strict(strict=False), MaxLen(32), ListOf("map", "type")
    ] = ()
    """Conditions by type."""
    attempt: Count = 0
    """Number of the current attempt, from 0; free restarts count here too."""
    restarts: Count = 0
    """Restarts that count against runPolicy.maxRestarts."""
    free_restarts: Count | None = None
    """Restarts free of charge in a row, against runPolicy.maxFreeRestarts."""
    pods: PodCounts | None = None
    """Pods of the current attempt."""
    reporter: Reporter | None = None
    """Pod of the current attempt that may report progress: its first."""
    ended_well: EndedWell | None = None
    """Pods of the current attempt that have ended well, while others of it run."""
    pod_stem: DnsName | None = None
    """What names of pods begin with, where that is not the job's name alone: a job of another kind
    had it first."""
    pending_since: Timestamp | None = None
    """Since when pods have been waiting for all of them to run, over attempts that never ran."""
    node_faults: (
        Annotated[tuple[NodeFault, ...], Strict(strict=False), MaxLen(32), ListOf("map", "name")]
        | None
    ) = None
    """Nodes on which attempts failed, the latest last; new pods prefer others."""
    lost: (
        Annotated[tuple[LostTime, ...], Strict(strict=False), MaxLen(64), ListOf("map", "reason")]
        | None
    ) = None
    """Time of attempts that failed, by why they did."""
    price: GpuPrice | None = None
    """What a GPU-hour of its pool of nodes cost when its first pods were made, by the operator's
    table; only where that has a price."""
    start_time: Timestamp | None = None
    """When the first pod ran."""
    completion_time: Timestamp | None = None
    """When the job succeeded or failed."""
    progress: Progress | None = None
    """Latest progress that the job reported."""
    artifacts: ArtifactStatus | None = None
    """Where the results are."""
    outputs: (
        Annotated[tuple[OutputStatus, ...], Strict(strict=False), MaxLen(32), ListOf("map", "name")]
        | None
    ) = None
    """What others may take of the job by name, once it has succeeded."""
    metrics: Annotated[dict[Word, float], MaxLen(128)] = Field(default_factory=dict)
    """Final metrics by name, such as evaluation accuracy and margin."""
