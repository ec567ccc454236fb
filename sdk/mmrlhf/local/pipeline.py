"""A pipeline on this machine: its steps one after another, what they came to in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmrlhf.archive.store import open_store
from mmrlhf.errors import LocalRunError, RunStoppedError
from mmrlhf.local.events import Event
from mmrlhf.local.folders import default_state_dir
from mmrlhf.local.run import RunResult, run
from mmrlhf.local.state import read_status, write_state
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.constants import Phase, Reason
from mmrlhf_api.contents import find_contents
from mmrlhf_api.kinds import Job, kind_of
from mmrlhf_api.pipelines.freezing import freeze
from mmrlhf_api.pipelines.graph import in_order, parents
from mmrlhf_api.pipelines.identity import read_inputs, step_job, step_key
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.rendering import real_job
from mmrlhf_api.pipelines.types import (
    AlignmentPipeline,
    AlignmentRun,
    AlignmentRunStatus,
    CachedFrom,
    PipelineStep,
    StepStatus,
)
from mmrlhf_api.runs import RunLayout
from mmrlhf_api.status import OutputStatus
from mmrlhf_api.storage import ArtifactStore

__all__ = ["pipeline_folder", "run_pipeline"]

Run = Callable[..., RunResult]
_MESSAGE = 1024


def pipeline_folder(flow: AlignmentPipeline | AlignmentRun, state_dir: str | Path | None) -> Path:
    """Return the folder where a pipeline on this machine keeps its state."""
    folder = default_state_dir() if state_dir is None else Path(state_dir)
    return folder / "pipelines" / f"{flow.metadata.namespace}-{flow.metadata.name}"


def run_pipeline(
    flow: AlignmentPipeline | AlignmentRun,
    *,
    fresh: bool = False,
    state_dir: str | Path | None = None,
    on_event: Callable[[Event], None] = lambda event: None,  # noqa: ARG005
    tell: Tell = log_line,
    run_job: Run = run,
) -> AlignmentRun:
    """Run the steps of a pipeline one after another, and return the run with its status.

    A step whose job, inputs and earlier steps are those of the run before is not run again, as on a
    cluster; one that failed or was stopped goes on where it was. What needs a step that has failed
    is skipped, and the rest runs. The status is in ``run.json`` of `pipeline_folder` after each.

    Args:
        flow: What was read from a file; parameters of a pipeline have their defaults.
        fresh: Run all steps anew.
        state_dir: Folder for logs and progress; by default ``~/.local/state/mmrlhf``.
        on_event: Takes each event of the jobs.
        tell: Takes lines about the pipeline itself.
        run_job: Runs a job; by default `mmrlhf.local.run.run`.

    Raises:
        MachineError: This machine lacks what the jobs need.
        LocalRunError: Its state cannot be written.
        RunStoppedError: It was asked to stop, and did.
    """
    body = flow if isinstance(flow, AlignmentRun) else _frozen(flow)
    file = pipeline_folder(flow, state_dir) / "run.json"
    course = _Course(body, {} if fresh else _before(file))
    steps = in_order(body.spec.steps)
    for number, step in enumerate(steps, start=1):
        kept = course.settle(step)
        if kept is None:
            tell(f"step {step.name}, {number} of {len(steps)}: {step.kind}")
            job = course.job(step)
            try:
                run_job(
                    job,
                    fresh=fresh or course.keys.get(step.name) is None,
                    state_dir=state_dir,
                    on_event=on_event,
                    tell=tell,
                )
            except RunStoppedError:
                raise
            except LocalRunError as error:
                course.fail(step, str(error))
            else:
                course.succeed(step, job)
        tell(f"step {step.name}: {course.states[step.name].message}")
        write_state(file, course.run())
    return course.run()


@dataclass
class _Course:
    """How a run gets on.

    Attributes:
        body: The run.
        before: Steps of the run before it, by name.
        states: Steps of this one.
        keys: Digests of the steps that have one.
    """

    body: AlignmentRun
    before: Mapping[str, StepStatus]
    states: dict[str, StepStatus] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.body.spec.steps:
            self.states[step.name] = StepStatus(name=step.name, kind=step.kind)

    def settle(self, step: PipelineStep) -> StepStatus | None:
        """Say what becomes of a step that does not run; None of one that does."""
        lacking = [
            name for name in parents(step) if self.states[name].phase is not StepPhase.SUCCEEDED
        ]
        if lacking:
            words = f"needs {', '.join(lacking)}, which did not succeed"
            return self._end(step, StepPhase.SKIPPED, "NeedFailed", words)
        key, why = self._key(step)
        if key is None:
            self._note(step, message=f"{why}; it is run anew")
            return None
        self.keys[step.name] = key
        found = self.before.get(step.name)
        if found is None or found.key != key or found.phase is not StepPhase.SUCCEEDED:
            return None
        if found.manifest is None:
            return None
        store = real_job(step, self.body, self._outputs()).spec.artifacts
        if _record(store, found.manifest) is None:
            return None
        origin = found.cached_from or CachedFrom(
            run=self.body.metadata.name, job=found.job or step.name, manifest=found.manifest
        )
        self.states[step.name] = found.model_copy(update={"cached_from": origin})
        return self._end(
            step, StepPhase.SUCCEEDED, "Cached", "inputs and spec are those of the run before"
        )

    def job(self, step: PipelineStep) -> Job:
        """The job of a step; its results lie where those of the same inputs do."""
        job = real_job(step, self.body, self._outputs())
        key = self.keys.get(step.name)
        if key is not None:
            place = job.metadata.model_copy(update={"uid": key[:12]})
            job = job.model_copy(update={"metadata": place})
        self._note(step, job=job.metadata.name, phase=StepPhase.RUNNING, key=key, start_time=_now())
        return job

    def succeed(self, step: PipelineStep, job: Job) -> None:
        """Note what a job has left, and what it says of it."""
        layout = RunLayout.of(job).within(job.spec.artifacts.uri)
        left = tuple(
            OutputStatus(name=one.name, content=one.content, uri=f"{layout.prefix}/{one.path}")
            for one in kind_of(job).outputs(job.spec)
        )
        self._note(step, outputs=left, manifest=layout.manifest)
        record = _record(job.spec.artifacts, layout.manifest) or {}
        told = record.get("verdict") or {}
        words = f"{told['word']}: {told['sentence']}" if told else "has succeeded"
        self._end(step, StepPhase.SUCCEEDED, Reason.COMPLETED, words)

    def fail(self, step: PipelineStep, why: str) -> None:
        """Note why a job has failed."""
        self._end(step, StepPhase.FAILED, "StepFailed", why)

    def run(self) -> AlignmentRun:
        """The run as it is now."""
        phases = [one.phase for one in self.states.values()]
        done = phases.count(StepPhase.SUCCEEDED)
        open_ = [one for one in phases if one in (StepPhase.WAITING, StepPhase.RUNNING)]
        phase = Phase.RUNNING if open_ else Phase.SUCCEEDED
        message = None
        if StepPhase.FAILED in phases:
            failed = [name for name, one in self.states.items() if one.phase is StepPhase.FAILED]
            phase, message = Phase.FAILED, f"failed: {', '.join(failed)}"
        status = AlignmentRunStatus(
            phase=phase,
            message=message,
            summary=f"{done}/{len(phases)}",
            steps=tuple(self.states.values()),
        )
        return self.body.model_copy(update={"status": status})

    def _outputs(self) -> dict[str, dict[str, str]]:
        return {
            name: {out.name: out.uri for out in one.outputs} for name, one in self.states.items()
        }

    def _key(self, step: PipelineStep) -> tuple[str | None, str]:
        """Digest of what a step computes; or None, and why there is none."""
        if not step.cache:
            return None, "cache is false"
        try:
            job = step_job(
                step,
                artifacts=self.body.spec.artifacts,
                parameters={one.name: one.value for one in self.body.spec.parameters},
                keys=self.keys,
            )
        except KeyError as missing:
            return None, f"nobody knows whether what {missing.args[0]} makes is the same"
        if not kind_of(job).remade(job.spec):
            return None, "it changes what is there"
        deep = {one.field: one.content == "model" for one in kind_of(job).inputs(job.spec)}
        inputs: dict[str, str] = {}
        for name, uri in read_inputs(job).items():
            try:
                fs, path = _open(job.spec.artifacts, uri)
                found = find_contents(fs, path, deep=deep[name])
            except Exception as error:  # noqa: BLE001 - of any file system
                return None, f"{name}: {uri} cannot be looked at: {error or type(error).__name__}"
            if found is None:
                return None, f"{name}: there is no {uri}"
            inputs[name] = found.digest
        return step_key(job, image="", inputs=inputs), ""

    def _end(self, step: PipelineStep, phase: StepPhase, reason: str, words: str) -> StepStatus:
        return self._note(
            step, phase=phase, reason=reason, message=words[:_MESSAGE], end_time=_now()
        )

    def _note(self, step: PipelineStep, **changes: Any) -> StepStatus:  # noqa: ANN401 - fields
        found = self.states[step.name].model_copy(update=changes)
        self.states[step.name] = found
        return found


def _record(store: ArtifactStore, uri: str) -> dict[str, Any] | None:
    """The record of a job that writes there; None where it is gone."""
    try:
        fs, path = _open(store, uri)
        found = json.loads(fs.cat_file(path))
    except Exception:  # noqa: BLE001 - of any file system: what cannot be read is run again
        return None
    return found if isinstance(found, dict) else None


def _open(store: ArtifactStore, uri: str) -> tuple[Any, str]:
    """The file system of a URI as a job reads it that writes to a store."""
    return open_store(uri, endpoint=store.endpoint, region=store.region)


def _frozen(pipeline: AlignmentPipeline) -> AlignmentRun:
    body = freeze(pipeline, name=pipeline.metadata.name)
    return AlignmentRun.model_validate(body, by_alias=True, by_name=False)


def _before(file: Path) -> dict[str, StepStatus]:
    """Steps of an earlier run; none where there was no run."""
    status = read_status(file, AlignmentRunStatus)
    return {} if status is None else {one.name: one for one in status.steps}


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
