"""What becomes of one step of a run: pure functions of what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmrlhf_api import KINDS, Job
from mmrlhf_api.constants import API_VERSION, LABEL_MANAGED_BY, MANAGER, Phase, Reason
from mmrlhf_api.pipelines import AlignmentRun, rendering
from mmrlhf_api.pipelines.identity import read_inputs, step_job, step_key
from mmrlhf_api.pipelines.names import LABEL_PIPELINE, LABEL_RUN, LABEL_STEP, job_name
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import CachedFrom, PipelineStep, StepStatus
from mmrlhf_api.tracing import handed_on
from mmrlhf_operator.planning.reasons import OperatorReason, RunReason
from mmrlhf_operator.planning.run_actions import LookForRecord, LookUpInputs
from mmrlhf_operator.state.runs import ChildView, RunObserved

__all__ = ["Decision", "decide", "follow", "manifest", "real_job"]

_MAX_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is decided about a step whose turn it is.

    Attributes:
        status: Its status from now on.
        look: What is to be looked up before more can be said.
    """

    status: StepStatus
    look: LookUpInputs | LookForRecord | None = None


def follow(
    status: StepStatus, child: ChildView | None, *, run_uid: str, now: datetime
) -> StepStatus:
    """Return the status of a step of which it was decided that it runs.

    Args:
        status: Its status so far.
        child: The job of the name that its job has, whoever made it.
        run_uid: Identity of the run.
        now: Time of the decision, in whole seconds.
    """
    if child is not None and child.owner == run_uid:
        return _followed(status.model_copy(update={"uid": child.uid}), child, now=now)
    if status.uid is not None:
        message = f"{status.kind} {status.job} was deleted before it had ended; retry makes another"
        return ended(status, StepPhase.FAILED, RunReason.JOB_DELETED, message, now=now)
    if child is None:
        return status  # it is about to be made
    message = (
        f"there is a {status.kind} {status.job} that does not belong to this run; remove it, or"
        " create the run under another name"
    )
    return told(status, OperatorReason.NAME_CONFLICT, message)


def _followed(status: StepStatus, child: ChildView, *, now: datetime) -> StepStatus:
    words = f": {child.message}" if child.message else ""
    if child.phase == Phase.SUCCEEDED:
        done = {"manifest": child.manifest, "outputs": child.outputs}
        return ended(
            status.model_copy(update=done),
            StepPhase.SUCCEEDED,
            Reason.COMPLETED,
            f"{status.kind} {status.job} has succeeded",
            now=now,
        )
    if child.phase == Phase.FAILED:
        reason = child.reason or RunReason.STEP_FAILED
        message = f"{status.kind} {status.job} has failed{words}"
        return ended(status, StepPhase.FAILED, reason, message, now=now)
    phase = child.phase or Phase.PENDING
    return told(
        status.model_copy(update={"phase": StepPhase.RUNNING}),
        child.reason or phase,
        f"{status.kind} {status.job} is {phase}{words}",
    )


def decide(
    step: PipelineStep,
    status: StepStatus,
    *,
    run: AlignmentRun,
    done: Mapping[str, StepStatus],
    observed: RunObserved,
    images: Mapping[str, str],
    now: datetime,
) -> Decision:
    """Decide about a step whose turn it is: whether it runs, or an earlier result is taken.

    Args:
        step: The step.
        status: Its status so far.
        run: The run, valid.
        done: Steps that have succeeded.
        observed: What is known besides.
        images: Default image of each kind.
        now: Time of the decision, in whole seconds.
    """
    job = real_job(step, run, done)
    key, why = None, ""
    if step.cache and run.spec.pipeline is not None and KINDS[step.kind].remade(job.spec):
        image = job.spec.image or images.get(step.kind, "")
        judged = _key(step, run=run, done=done, observed=observed, image=image)
        if isinstance(judged, dict):
            return _looks(status, LookUpInputs(step=step.name, job=job, uris=judged))
        key, why = judged
    for earlier, found in _candidates(key, step, observed.earlier):
        assert found.manifest is not None
        there = observed.held.get(found.manifest)
        if there is None:
            return _looks(status, LookForRecord(step=step.name, job=job, uri=found.manifest))
        if there:
            return Decision(status=_taken(status, found, earlier, key=key, now=now))
    changes = {
        "phase": StepPhase.STARTING,
        "job": job_name(run.metadata.name, step.name, status.tries),
        "key": key,
        "start_time": now,
    }
    message = f"{step.kind} {changes['job']} is made" + (f"; {why}" if why else "")
    return Decision(status=told(status.model_copy(update=changes), RunReason.JOB_MADE, message))


def ended(
    status: StepStatus, phase: StepPhase, reason: str, message: str, *, now: datetime
) -> StepStatus:
    """Return the status of a step that is over."""
    changes = {"phase": phase, "end_time": now}
    return told(status.model_copy(update=changes), reason, message)


def told(status: StepStatus, reason: str, message: str) -> StepStatus:
    """Return a status that says why."""
    return status.model_copy(update={"reason": str(reason), "message": message[:_MAX_MESSAGE]})


def real_job(step: PipelineStep, run: AlignmentRun, done: Mapping[str, StepStatus]) -> Job:
    """Return the job of a step, whose references are followed."""
    return rendering.real_job(step, run, _left(done))


def manifest(
    step: PipelineStep,
    status: StepStatus,
    *,
    run: AlignmentRun,
    uid: str,
    done: Mapping[str, StepStatus],
) -> dict[str, Any]:
    """Return the object that is created for a step; the same each time.

    Args:
        step: The step.
        status: Its status, which names its job.
        run: The run.
        uid: Identity of the run.
        done: Steps that have succeeded.
    """
    assert status.job is not None
    labels = {LABEL_MANAGED_BY: MANAGER, LABEL_RUN: run.metadata.name, LABEL_STEP: step.name}
    if run.spec.pipeline is not None:
        labels[LABEL_PIPELINE] = run.spec.pipeline
    notes = handed_on(run.metadata.annotations, uid)
    return {
        "apiVersion": API_VERSION,
        "kind": step.kind,
        "metadata": {
            "name": status.job,
            "namespace": run.metadata.namespace,
            "labels": labels,
            **({"annotations": notes} if notes else {}),
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": run.kind,
                    "name": run.metadata.name,
                    "uid": uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": rendering.real_spec(step, run, _left(done)),
    }


def _left(done: Mapping[str, StepStatus]) -> dict[str, dict[str, str]]:
    return {name: {left.name: left.uri for left in one.outputs} for name, one in done.items()}


def _key(
    step: PipelineStep,
    *,
    run: AlignmentRun,
    done: Mapping[str, StepStatus],
    observed: RunObserved,
    image: str,
) -> dict[str, str] | tuple[str | None, str]:
    """The digest of a step, or why it has none; what is to be looked up first, if anything is."""
    keys = {name: one.key for name, one in done.items() if one.key is not None}
    try:
        job = step_job(
            step,
            artifacts=run.spec.artifacts,
            parameters={one.name: one.value for one in run.spec.parameters},
            keys=keys,
        )
    except KeyError as missing:
        name = str(missing.args[0])
        return None, f"it is run anew, as nobody knows whether what {name} makes is the same"
    uris = read_inputs(job)
    seen = observed.inputs.get(step.name)
    if seen is None:
        if uris:
            return uris
        return step_key(job, image=image, inputs={}), ""
    if seen.digests is None:
        return None, f"it is run anew, as its inputs cannot be compared: {seen.why}"
    return step_key(job, image=image, inputs=seen.digests), ""


def _candidates(
    key: str | None, step: PipelineStep, earlier: Iterable[tuple[str, StepStatus]]
) -> Iterable[tuple[str, StepStatus]]:
    """Earlier steps that have made the same, with the run of each."""
    return (
        (run, one)
        for run, one in earlier
        if key is not None
        and one.key == key
        and one.name == step.name
        and one.phase is StepPhase.SUCCEEDED
        and one.manifest is not None
    )


def _taken(
    status: StepStatus, found: StepStatus, run: str, *, key: str | None, now: datetime
) -> StepStatus:
    assert found.manifest is not None
    origin = found.cached_from
    if origin is None:
        assert found.job is not None
        origin = CachedFrom(run=run, job=found.job, manifest=found.manifest)
    changes = {
        "cached_from": origin,
        "key": key,
        "manifest": found.manifest,
        "outputs": found.outputs,
        "start_time": now,
    }
    message = f"inputs, spec and image are those of run {origin.run}, whose result is taken"
    return ended(
        status.model_copy(update=changes),
        StepPhase.SUCCEEDED,
        RunReason.CACHED,
        message,
        now=now,
    )


def _looks(status: StepStatus, look: LookUpInputs | LookForRecord) -> Decision:
    # One message for both: an operator that dies at each write would write one, and then the other.
    message = "what it reads, and what earlier runs made of it, is looked up"
    return Decision(status=told(status, RunReason.LOOKING, message), look=look)
