"""A StepJob: a step in the pods of a job, from its claim on the run to the record of it.

What it makes appears where readers look when all of it is there, with the manifest last (ADR 0016).
What is dear is kept on the way: the parts of what several processes make in ``work``, answers of
model servers in ``journal``. The same job goes on with both, and a run that is complete is left as
it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from mmrlhf_api import StepJob, job_dict, spec_digest
from mmrlhf_api.constants import GateOutcome
from mmrlhf_api.kinds import Output
from mmrlhf_api.kinds.step_catalog import STEPS
from mmrlhf_api.step_runs import StepLayout
from mmrlhf_api.termination import Ending
from mmrlhf_jobs.errors import CannotJudgeError, JobError, RejectedError, SpecError
from mmrlhf_jobs.features.limits import limits_of_job
from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.process.stopping import stopped_by_signals
from mmrlhf_jobs.process.store_options import storage_options
from mmrlhf_jobs.reporting.lineage import keep_inputs, read_uris, take_lineage
from mmrlhf_jobs.reporting.manifest import SCHEMA, Attempts, environment
from mmrlhf_jobs.reporting.termination import write_termination
from mmrlhf_jobs.steps.registry import find_step
from mmrlhf_jobs.steps.spec import FeatureSettings
from mmrlhf_jobs.steps.step import JobPlace, Outcome, StepContext, Verdict
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.kept_journal import KeptJournal
from mmrlhf_jobs.storage.results import Results
from mmrlhf_jobs.storage.uris import locate, storage_errors

if TYPE_CHECKING:
    from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["run_job"]


def run_job(job: StepJob, context: TrainingContext) -> None:
    """Run a job; the same again goes on where it stopped.

    Raises:
        InputError: The job or what it reads is wrong.
        Interrupted: The job was asked to stop; what is done is kept.
        StorageError: The store or the disk fails.
    """
    _Run(job, context).run()


class _Run:
    def __init__(self, job: StepJob, context: TrainingContext) -> None:
        self._job = job
        self._context = context
        self._runtime = context.runtime
        self._step = find_step(job.spec.step)
        self._entry = STEPS[job.spec.step]
        self._outputs = self._entry.left_by(job.spec.part)
        self._layout = StepLayout.of(job)
        self._options = storage_options(job)
        store = ArtifactStore(job.spec.artifacts.uri, self._options)
        self._claim = Claim(store, self._layout.run.claim, attempt=context.attempt)
        self._store = store.guarded(self._claim.check)
        self._results = Results(self._store, self._layout.run.prefix, self._claim)
        self._attempts = Attempts(
            self._store, self._layout.run.attempts, context.clock, self._results.replace_text
        )
        self._made = context.scratch / "made"
        self._folder = f"{store.uri}/{self._layout.run.prefix}"
        self._lineage: Mapping[str, Any] = {}

    def run(self) -> None:
        runtime, context = self._runtime, self._context
        if not self._entry.shared and runtime.world_size > 1:
            raise SpecError(f"spec.resources: step {self._job.spec.step} runs as one process")
        runtime.on_main(self._store_writable)
        self._claim.join(runtime.on_main(partial(self._claim.take, fresh=context.fresh)))
        manifest = runtime.on_main(self._begin)
        if manifest is None:
            try:
                outcome = self._do()
                manifest = runtime.on_main(lambda: self._publish(outcome))
            except Interrupted:
                self._note_end(Ending.INTERRUPTED)
                raise
            except JobError as error:
                self._note_end(error.word)
                raise
        if (found := manifest.get("verdict")) is not None:
            self._conclude(Verdict(GateOutcome(found["word"]), found["sentence"], found["fails"]))
        metrics = dict(manifest.get("metrics") or {})
        context.progress.emit("done", artifacts=self._folder, metrics=metrics)

    def _conclude(self, verdict: Verdict) -> None:
        """Say what the step has found, each time that its run is complete.

        Raises:
            NotPromotedError: The job was to fail unless the candidate is promoted.
        """
        told = f"{verdict.word}: {verdict.sentence}"
        if verdict.fails:
            kind = RejectedError if verdict.word is GateOutcome.REJECTED else CannotJudgeError
            raise kind(f"{told}; the report is in {self._folder}")
        self._context.progress.emit("notice", message=told)
        write_termination(exit_code=0, reason=verdict.word, message=verdict.sentence)

    def _store_writable(self) -> None:
        ArtifactStore(self._job.spec.artifacts.uri, self._options).check_writable()

    def _begin(self) -> Mapping[str, Any] | None:
        """Settle what earlier attempts left; return the record of a run that is complete."""
        if self._context.fresh:
            self._store.remove(self._layout.work)
            self._store.remove(self._layout.journal)
        self._results.settle()
        finished = None if self._context.fresh else self._results.finished()
        if finished is not None and finished.missing is None:
            self._context.tell("the run is complete; nothing is done anew")
            return finished.manifest
        self._attempts.begin(
            processes=self._runtime.world_size,
            fresh=self._context.fresh,
            reads=read_uris(self._job),
        )
        keep_inputs(self._job, run=self._folder, now=self._context.clock(), options=self._options)
        self._lineage = take_lineage(
            self._job, attempt=self._context.attempt, options=self._options
        )
        self._context.told.begin(
            self._job, run=self._folder, attempts=self._attempts, lineage=self._lineage
        )
        return None

    def _do(self) -> Outcome:
        scratch = self._context.scratch / f"rank-{self._runtime.rank}"
        for folder in (scratch, self._made):
            folder.mkdir(parents=True, exist_ok=True)
        shared = self._entry.shared
        work = f"{self._store.uri}/{self._layout.work}" if shared else str(self._made)
        assert self._step.of_job is not None  # a test holds it of each step of the catalog
        limits = limits_of_job(self._job.spec.resources)
        store = self._job.spec.artifacts.uri
        place = JobPlace(work, scratch, store, FeatureSettings.of(limits))
        spec = self._step.of_job(self._job.spec.part, place)
        context = StepContext(
            scratch=scratch,
            storage=self._options,
            progress=self._context.progress,
            members=self._context,
            open_journal=self._journal,
            shown_at=lambda made: made.replace(work, self._folder, 1),
        )
        # Processes that share work look whether they are to stop, and stop together.
        with nullcontext() if shared else stopped_by_signals():
            return self._step.run(spec, context)

    def _journal(self, path: str) -> KeptJournal:  # noqa: ARG002 - it is in the store
        return KeptJournal(
            self._context.scratch / f"rank-{self._runtime.rank}" / "journal",
            self._store,
            self._layout.journal,
            writer=f"{self._claim.holder.name}-{self._runtime.rank:05d}",
        )

    def _publish(self, outcome: Outcome) -> Mapping[str, Any]:
        for output in self._outputs:
            self._take(output)
        for folder in self._entry.beside:
            if (self._made / folder).is_dir():
                self._results.publish(self._made / folder, folder)
        if outcome.then is not None:
            self._results.show()
            self._claim.check()
            outcome.then()
        metrics = {
            name: float(value)
            for name, value in outcome.metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        verdict = outcome.verdict
        fails = verdict is not None and verdict.fails
        attempts = self._attempts.ended(
            exit_name=verdict.word if verdict is not None and fails else "Succeeded", step=0
        )
        manifest = self._manifest(outcome, metrics, attempts)
        self._results.conclude(manifest)
        # After the manifest: killed in between, the run has not succeeded.
        self._attempts.keep(attempts)
        self._context.told.complete(self._results.left)
        self._store.remove(self._layout.work)
        return manifest

    def _take(self, output: Output) -> None:
        """Put what the step has made among the results."""
        made = self._made / output.path
        if made.is_dir():
            self._results.publish(made, output.path)
            return
        with self._results.new_file(output.path) as path:
            if not self._entry.shared:
                shutil.move(made, path)
                return
            uri = f"{self._store.uri}/{self._layout.work}/{output.path}"
            place = locate(uri, self._options)
            with storage_errors(uri, "read"):
                place.fs.get_file(place.path, str(path))

    def _manifest(
        self,
        outcome: Outcome,
        metrics: Mapping[str, float],
        attempts: list[dict[str, Any]],
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "job": job_dict(self._job),
            "specDigest": spec_digest(self._job),
            "lineage": dict(self._lineage),
            "step": self._job.spec.step,
            "outputs": {
                one.name: {"content": one.content, "path": one.path} for one in self._outputs
            },
            "report": dict(outcome.metrics),
            **({} if outcome.verdict is None else {"verdict": asdict(outcome.verdict)}),
            "processes": self._runtime.world_size,
            "metrics": dict(metrics),
            "environment": environment(),
            "attempts": attempts,
        }

    def _note_end(self, exit_name: str) -> None:
        if self._runtime.is_main:
            self._attempts.end_failed(exit_name=exit_name, step=lambda: 0)
