"""Training of a model by a job, whatever its kind: a recipe says what is particular to the kind.

The order of a run: validate the data, load the model, prepare what the objective needs, go on from
the last checkpoint, train, evaluate, publish. Everything up to the first step is checked before it,
so that a mistake in the input costs no training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

from mmrlhf_api import TrainJob
from mmrlhf_api.progress import EVALUATED_STEP
from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.evaluation.results import Evaluation, EvaluationResult
from mmrlhf_jobs.forward.compilation import Compilation, compile_layers
from mmrlhf_jobs.models.recomputation import recompute
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.pages.run_report import Sample
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.process.store_options import storage_options
from mmrlhf_jobs.queries.protocols import Q
from mmrlhf_jobs.reporting.lineage import keep_inputs, read_uris, take_lineage
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.reporting.trackers.aside import Trackers
from mmrlhf_jobs.reporting.trackers.opening import check_tracking
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.results import Results
from mmrlhf_jobs.training.ahead import FetchedAhead
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs, misfit
from mmrlhf_jobs.training.earlier_runs import EarlierRuns
from mmrlhf_jobs.training.engines.interface import Engine
from mmrlhf_jobs.training.engines.registry import choose_engine
from mmrlhf_jobs.training.hardest import HardestRows, hardest_of
from mmrlhf_jobs.training.inputs import Policy
from mmrlhf_jobs.training.loop import OptimizerLoop, StepFigures
from mmrlhf_jobs.training.pace import Pace
from mmrlhf_jobs.training.peak import peak_memory
from mmrlhf_jobs.training.plan import StepPlan
from mmrlhf_jobs.training.preparation import Preparation
from mmrlhf_jobs.training.publication import (
    make_manifest,
    named_metrics,
    publish_model,
    rehearse_publication,
)
from mmrlhf_jobs.training.recipe import Objective, Out, PreparedRun, Recipe
from mmrlhf_jobs.training.report import draw_report, or_without
from mmrlhf_jobs.training.saving import Saver, Savings
from mmrlhf_jobs.training.series import Series, job_trackers

__all__ = ["Trainer"]

_GRACE = 5.0
"""Seconds that trackers have at the end of an attempt that others wait for."""


class Trainer(Generic[Q, Out]):
    """Runs one job on the processes of a runtime.

    Args:
        job: What to do.
        context: The world around it.
        recipe: Makes the recipe of the job's kind from what prepares its inputs.
    """

    def __init__(
        self,
        job: TrainJob,
        context: TrainingContext,
        recipe: Callable[[Preparation], Recipe[Q, Out]],
    ) -> None:
        self._job = job
        self._context = context
        self._runtime = context.runtime
        self._options = storage_options(job)
        self._layout = RunLayout.of(job)
        store = ArtifactStore(job.spec.artifacts.uri, self._options)
        self._claim = Claim(store, self._layout.claim, attempt=context.attempt)
        self._store = store.guarded(self._claim.check)
        self._outcome = Results(self._store, self._layout.prefix, self._claim)
        self._attempts = Attempts(
            self._store, self._layout.attempts, context.clock, self._outcome.replace_text
        )
        self._engine = choose_engine(job.spec, self._runtime)
        self._preparation = Preparation(
            job, context, self._store, self._options, self._claim, engine=self._engine
        )
        self._recipe = recipe(self._preparation)
        self._fetched = FetchedAhead(
            self._store, context.scratch / f"ahead-{self._runtime.rank}", context.tell
        )
        self._waited = 0.0
        self._step = 0
        self._skipped = 0
        self._hardest = HardestRows()
        self._samples: Sequence[Sample] = ()
        self._trackers = Trackers((), context.clock)
        self._savings = Savings()
        self._lineage: Mapping[str, Any] = {}
        self._held_out: Mapping[str, float] = {}

    def run(self) -> None:
        """Train and publish, or do nothing if the run is complete already.

        Raises:
            JobError: The input is wrong or the run failed.
            Interrupted: The job was asked to stop; a checkpoint was saved.
        """
        self._runtime.on_main(self._store.check_writable)
        take = partial(self._claim.take, fresh=self._context.fresh)
        self._claim.join(self._runtime.on_main(take))
        if self._context.fresh:
            # What readers see stays until there is more; cached values of models and data stay.
            self._runtime.on_main(self._checkpoints().clear)
        self._runtime.on_main(self._outcome.settle)
        finished = self._runtime.on_main(lambda: self._outcome.finished(model=self._layout.model))
        if finished is not None and finished.missing is None:
            self._context.tell(
                "this run is complete already; change the job or use --fresh to run anew"
            )
            # Of an attempt that was killed before it could.
            self._runtime.on_main(self._checkpoints().clear)
            self._announce(finished.manifest["metrics"])
            return
        if finished is not None:
            self._context.tell(
                f"this run was complete, but its {finished.missing} is missing or cut short; it is"
                " done anew"
            )
        self._runtime.on_main(partial(check_tracking, self._job.spec.tracking))
        begin = partial(self._attempts.begin, processes=self._runtime.world_size)
        reads = read_uris(self._job)
        self._runtime.on_main(partial(begin, fresh=self._context.fresh, reads=reads))
        self._runtime.on_main(self._keep_inputs)
        look = partial(take_lineage, self._job, attempt=self._context.attempt)
        self._lineage = self._runtime.on_main(partial(look, options=self._options))
        self._context.told.begin(
            self._job,
            run=self._layout.within(self._store.uri).prefix,
            attempts=self._attempts,
            lineage=self._lineage,
        )
        try:
            policy, prepared = self._prepare()
            log, results = self._train(policy, prepared)
            # The engine and its optimizer are gone by now: the published model needs the room.
            own = RunLayout(self._outcome.place).within(self._store.uri)
            results |= self._recipe.assess(own.model)
            self._conclude(policy, prepared, log, results)
        except (Interrupted, JobError) as error:
            self._end_attempt(type(error).__name__)
            self._trackers.close(succeeded=False, patience=_GRACE)
            raise

    def _keep_inputs(self) -> None:
        run = self._layout.within(self._store.uri).prefix
        keep_inputs(self._job, run=run, now=self._context.clock(), options=self._options)

    def _prepare(self) -> tuple[Policy, PreparedRun[Q, Out]]:
        if self._job.spec.checkpoint.resume != "none":
            self._checkpoints().look_ahead(replicated=self._engine.kind != "deepspeed")
        train, held_out = self._preparation.open_data()
        policy = self._preparation.load_policy(self._engine.split())
        wanted = self._job.spec.training.recomputed
        if wanted is not None:
            recomputed = recompute(
                policy.loaded, every=wanted.language_model_every, tower=wanted.vision_tower
            )
            self._context.tell(recomputed.sentence())
        # Before the engine: the model is as it was loaded.
        prepared = self._recipe.prepare(policy, train, held_out)
        for key, save in self._outputs(policy, {}):
            rehearse = partial(
                rehearse_publication,
                save,
                store=self._store,
                key=key,
                scratch=self._context.scratch / "rehearsal",
            )
            self._runtime.on_main(rehearse)
        policy.end_passes()
        prepared.module.train()
        if self._job.spec.training.compile:
            compiled = self._compile(policy)
            prepared = replace(prepared, record={**prepared.record, "compiled": compiled.as_dict()})
        return policy, prepared

    def _compile(self, policy: Policy) -> Compilation:
        """After the proof and the reference pass, which are by the code as it is written."""
        self._context.progress.emit(
            "phase", phase="load", message="compiling norms and feed-forward layers"
        )
        parallelism = self._job.spec.parallelism
        if self._engine.kind == "deepspeed" and parallelism.zero_stage == 3:
            found = Compilation(reason="parallelism.zeroStage 3 splits the weights")
        else:
            found = compile_layers(policy.loaded, backend="inductor", clock=time.monotonic)
        self._context.tell(found.sentence())
        return found

    def _train(
        self, policy: Policy, prepared: PreparedRun[Q, Out]
    ) -> tuple[Series, dict[str, EvaluationResult]]:
        spec, context = self._job.spec, self._context
        records = prepared.train.records
        engine: Engine[Out] = self._engine.build(prepared.module)
        prepared.module.every_part = self._engine.collective_forward
        checkpoints = self._checkpoints()
        saver = Saver(
            checkpoints,
            every=spec.checkpoint.every_steps,
            runtime=self._runtime,
            tell=context.tell,
        )
        self._savings = saver.savings
        with saver.waiting():
            state = self._resume(checkpoints, engine, prepared.objective, prepared.digests)
        self._trackers = job_trackers(self._job, context, self._store, self._claim.holder.since)
        log = Series(
            context.scratch / f"metrics-{self._runtime.rank}.jsonl",
            restored=state.metrics if state else "",
            trackers=self._trackers,
        )
        plan = StepPlan(
            num_records=records.num_records,
            queries_per_step=spec.training.queries_per_step,
            queries_per_micro_batch=spec.training.queries_per_micro_batch,
            epochs=spec.training.epochs,
            max_steps=spec.training.max_steps,
        )
        loop = OptimizerLoop(
            engine=engine,
            objective=prepared.objective,
            plan=plan,
            optimizer=spec.optimizer,
            seed=spec.training.seed,
            runtime=self._runtime,
            interruption=context.interruption,
            is_busy=saver.is_busy,
        )
        context.progress.emit(
            "phase", phase="train", message=f"step {self._step} of {plan.total_steps}"
        )
        pace = Pace(total_steps=plan.total_steps, clock=time.monotonic)
        steps = loop.run(records, prepared.builder, start=self._step)
        try:
            for figures in steps:
                self._note(figures, plan.total_steps, log, pace)
                if figures.step == plan.total_steps:
                    break
                if figures.interrupted:
                    saver.finish()
                    checkpoints.save(engine, self._state(prepared, log))
                    log.keep()
                    raise Interrupted(
                        f"stopped as asked after step {figures.step} of {plan.total_steps}; the "
                        "checkpoint is saved, run the same job again to go on"
                    )
                saver.advance(figures.busy)
                if saver.is_due(figures.step):
                    saver.begin(engine, self._state(prepared, log))
                    log.keep()
                every = spec.training.evaluate_every_steps
                if prepared.evaluation and every and figures.step % every == 0:
                    result = self._evaluate(prepared.evaluation, engine)
                    measured = result.named("heldOut")
                    log.append({"step": self._step, **measured})
                    self._held_out = {EVALUATED_STEP.name: self._step, **measured}
            saver.finish()
        finally:
            saver.leave()
        results = self._results(prepared.evaluation, engine)
        if (samples := prepared.samples) is not None:
            self._samples = or_without(
                samples.finish, "answers after training", otherwise=[], tell=context.tell
            )
        self._publish(policy, engine)
        return log, results

    def _checkpoints(self, run: str | None = None) -> Checkpoints:
        return Checkpoints(
            self._store,
            prefix=run or self._layout.prefix,
            scratch=self._context.scratch / f"checkpoint-{self._runtime.rank}",
            keep=self._job.spec.checkpoint.keep,
            runtime=self._runtime,
            # What other runs have left is for them to say.
            counts=self._claim.holder.counts if run is None else lambda _: True,
            fetched=self._fetched if run is None else None,
        )

    def _resume(
        self,
        checkpoints: Checkpoints,
        engine: Engine[Out],
        objective: Objective[Q, Out],
        digests: RunInputs,
    ) -> CheckpointState | None:
        if self._job.spec.checkpoint.resume == "none":
            self._runtime.on_main(checkpoints.clear)
            return None
        tell = self._context.tell
        state = checkpoints.restore(engine, inputs=digests, tell=tell)
        if state is not None:
            tell(f"going on from the checkpoint of step {state.step}")
        elif not self._context.fresh:
            state = EarlierRuns(self._store, self._layout.prefix, self._runtime).restore(
                engine, self._checkpoints, partial(misfit, inputs=digests), tell
            )
        if state is None:
            return None
        made, now = (state.world_size, state.engine), (self._runtime.world_size, self._engine.name)
        if made != now:
            tell(
                f"the checkpoint was made by {made[0]} process(es) with engine {made[1]}; this run"
                f" goes on with {now[0]} and {now[1]}, which sum the same numbers in another order"
            )
        objective.restore(state.objective)
        self._step, self._skipped = state.step, state.skipped
        if self._runtime.is_main:
            self._hardest = HardestRows(state.hardest)
        return state

    def _state(self, prepared: PreparedRun[Q, Out], log: Series) -> CheckpointState:
        return CheckpointState(
            step=self._step,
            world_size=self._runtime.world_size,
            engine=self._engine.name,
            inputs=prepared.digests,
            objective=prepared.objective.state(),
            metrics=log.text(),
            attempt=self._claim.holder.name,
            skipped=self._skipped,
            hardest=hardest_of(self._runtime.gather(self._hardest.rows())),
        )

    def _note(self, figures: StepFigures, total_steps: int, log: Series, pace: Pace) -> None:
        self._step = figures.step
        self._hardest.note(figures.losses, step=figures.step, epoch=int(figures.row["epoch"]))
        self._waited += figures.waited
        self._count_skipped(figures)
        self._log(figures, total_steps, log, pace)

    def _count_skipped(self, figures: StepFigures) -> None:
        if figures.skipped:
            self._skipped += 1
            self._context.tell(
                f"step {figures.step}: a gradient overflowed float16 at the present scale "
                f"of the loss; the step changes nothing ({self._skipped} such steps so far)"
            )

    def _log(self, figures: StepFigures, total_steps: int, log: Series, pace: Pace) -> None:
        speed = pace.note(step=figures.step, tokens=figures.tokens)
        if figures.step % self._job.spec.tracking.log_every_steps == 0:
            waited = round(self._savings.seconds, 6)
            memory = peak_memory(self._runtime.device)
            waits = {"checkpointSeconds": waited, "dataSeconds": round(self._waited, 6)}
            log.append({**figures.row, **speed, **memory, **waits})
        self._context.progress.emit(
            "step",
            step=figures.step,
            totalSteps=total_steps,
            loss=figures.loss,
            margin=figures.margin,
            accuracy=figures.accuracy,
            tokensPerSecond=speed["tokensPerSecond"],
            etaSeconds=speed["etaSeconds"],
            checkpointSeconds=self._savings.seconds,
            checkpointsFailed=self._savings.failed,
            dataSeconds=self._waited,
            # With each step: whoever listens may have missed the one before.
            **self._held_out,
        )

    def _evaluate(self, evaluation: Evaluation[Out], engine: Engine[Out]) -> EvaluationResult:
        self._context.progress.emit(
            "phase", phase="evaluate", message=f"held-out data after step {self._step}"
        )
        return evaluation.run(engine.forward, spare=self._engine.collective_forward)

    def _results(
        self, evaluation: Evaluation[Out] | None, engine: Engine[Out]
    ) -> dict[str, EvaluationResult]:
        if evaluation is None:
            return {}
        before = evaluation.before()
        return {
            **({} if before is None else {"before": before}),
            "after": self._evaluate(evaluation, engine),
        }

    def _publish(self, policy: Policy, engine: Engine[Out]) -> None:
        self._context.progress.emit("phase", phase="publish", message="writing the model")
        # Every process takes part in gathering the weights; rank 0 writes them.
        with engine.weights() as weights:
            for key, save in self._outputs(policy, weights) if self._runtime.is_main else ():
                publish_model(
                    save,
                    results=self._outcome,
                    name=_name(key),
                    scratch=self._context.scratch / "publish",
                )
        self._runtime.wait()

    def _outputs(
        self, policy: Policy, weights: Mapping[str, Weight]
    ) -> Iterator[tuple[str, Callable[[Path], None]]]:
        """Key of the model, and of its adapter if it has one, and what writes each."""
        recipe = self._recipe
        plain = policy.merged(weights)
        yield self._layout.model, lambda folder: recipe.save(policy, plain, folder)
        if policy.lora is not None:
            yield self._layout.adapter, lambda folder: recipe.save_adapter(policy, weights, folder)

    def _conclude(
        self,
        policy: Policy,
        prepared: PreparedRun[Q, Out],
        log: Series,
        results: dict[str, EvaluationResult],
    ) -> None:
        """Write metrics and manifest, and put all in place, the manifest last."""
        features = self._preparation.features.record()
        hardest = hardest_of(self._runtime.gather(self._hardest.rows()))
        if self._runtime.is_main:
            self._outcome.write_text(_name(self._layout.metrics), log.text())
            self._trackers.log({"step": self._step, **named_metrics(prepared, results)})
            attempts = self._attempts.ended(exit_name="Succeeded", step=self._step)
            manifest = make_manifest(
                self._job,
                prepared,
                results,
                processes=self._runtime.world_size,
                engine=self._engine.name,
                steps=self._step,
                skipped=self._skipped,
                savings=self._savings.as_dict(),
                features=features,
                adapter=None if policy.lora is None else policy.lora.as_dict(),
                trackers=self._trackers.close(succeeded=True),
                hardest=hardest,
                lineage=self._lineage,
                attempts=attempts,
            )
            page, failed = draw_report(
                manifest,
                log.text(),
                self._samples,
                sample_tokens=self._job.spec.tracking.report_tokens,
                tell=self._context.tell,
            )
            self._outcome.write_text(_name(self._layout.report), page)
            if failed is not None:
                manifest["reportFailed"] = failed
            self._outcome.conclude(manifest)
            # After the manifest: killed in between, the run has not succeeded.
            self._attempts.keep(attempts)
            self._context.told.complete(self._outcome.left)
        self._runtime.wait()
        self._announce(named_metrics(prepared, results))
        self._runtime.on_main(self._checkpoints().clear)

    def _announce(self, metrics: dict[str, float]) -> None:
        self._context.progress.emit(
            "done", artifacts=f"{self._store.uri}/{self._layout.prefix}", metrics=metrics
        )

    def _end_attempt(self, exit_name: str) -> None:
        if self._runtime.is_main:
            self._attempts.end_failed(exit_name=exit_name, step=lambda: self._step)


def _name(key: str) -> str:
    return key.rpartition("/")[2]
