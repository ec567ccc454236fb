"""MM-DPO: align a model with ranked responses (paper section 4).

The order of a run: validate the data, load the model, make the reference log-probabilities once,
go on from the last checkpoint, train, evaluate, publish. Everything up to the first step is checked
before it, so that a mistake in the input costs no training.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass

from mmrlhf_api import DataSource, MMDPOJob, job_dict, spec_digest
from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.evaluation.runner import EvaluationResult, PreferenceEvaluation
from mmrlhf_jobs.forward.scoring import ResponseScorer
from mmrlhf_jobs.models.folders import save_model
from mmrlhf_jobs.reporting.manifest import SCHEMA, Attempts, environment
from mmrlhf_jobs.reporting.metrics import MetricsLog
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.trainers.checkpoints import Checkpoints, CheckpointState, RunInputs
from mmrlhf_jobs.trainers.context import TrainingContext
from mmrlhf_jobs.trainers.deepspeed_engine import DeepSpeedEngine
from mmrlhf_jobs.trainers.engine import Engine, TorchEngine
from mmrlhf_jobs.trainers.inputs import (
    OpenDataset,
    Policy,
    open_dataset,
    open_rewards,
    storage_options,
    torch_dtype,
    use_shared_prefix,
)
from mmrlhf_jobs.trainers.interruption import Interrupted
from mmrlhf_jobs.trainers.layout import RunLayout
from mmrlhf_jobs.trainers.optimization import PreferenceLoop, StepFigures
from mmrlhf_jobs.trainers.pace import Pace
from mmrlhf_jobs.trainers.preference_objective import PreferenceObjective
from mmrlhf_jobs.trainers.queries import QueryBuilder
from mmrlhf_jobs.trainers.reference import ReferencePass
from mmrlhf_jobs.trainers.rewards import RewardSummary, summarise_rewards
from mmrlhf_jobs.trainers.steps import StepPlan

__all__ = ["MMDPOTrainer"]

_EVALUATION_BATCH = 8


@dataclass(frozen=True)
class _Inputs:
    """Data of a run, ready for the first step."""

    train: OpenDataset
    held_out: OpenDataset | None
    builder: QueryBuilder
    evaluation: PreferenceEvaluation | None
    rewards: RewardSummary | None
    digests: RunInputs


class MMDPOTrainer:
    """Runs one MMDPOJob on the processes of a runtime.

    Args:
        job: What to do.
        context: The world around it.
    """

    def __init__(self, job: MMDPOJob, context: TrainingContext) -> None:
        self._job = job
        self._context = context
        self._runtime = context.runtime
        self._options = storage_options(job.spec.artifacts)
        self._store = ArtifactStore(job.spec.artifacts.uri, self._options)
        self._layout = RunLayout.of(job)
        self._attempts = Attempts(self._store, self._layout.attempts, context.clock)
        self._step = 0
        parallelism = job.spec.parallelism
        self._uses_deepspeed = parallelism.engine == "deepspeed" or (
            parallelism.engine == "auto" and self._runtime.world_size > 1
        )
        self._engine_name = (
            f"deepspeed-{parallelism.zero_stage}" if self._uses_deepspeed else "torch"
        )

    def run(self) -> None:
        """Train and publish, or do nothing if the run is complete already.

        Raises:
            JobError: The input is wrong or the run failed.
            Interrupted: The job was asked to stop; a checkpoint was saved.
        """
        self._runtime.on_main(self._store.check_writable)
        if self._context.fresh:
            self._runtime.on_main(self._forget)
        finished = self._runtime.on_main(lambda: self._store.read_text(self._layout.manifest))
        if finished is not None:
            self._context.progress.emit(
                "notice",
                message="this run is complete already; change the job or use --fresh to run anew",
            )
            self._announce(json.loads(finished)["metrics"])
            return
        self._runtime.on_main(lambda: self._attempts.begin(processes=self._runtime.world_size))
        try:
            self._train()
        except (Interrupted, JobError) as error:
            self._end_attempt(type(error).__name__)
            raise

    def _train(self) -> None:
        spec, context = self._job.spec, self._context
        train, held_out = self._open_data()
        policy = self._load_policy()
        scorer = ResponseScorer(
            policy.loaded.model,
            policy.loaded.adapter,
            shared_prefix=use_shared_prefix(spec.objective.shared_prefix, policy.loaded.adapter),
        )
        # Before the engine: the policy is still the reference, and its weights are in one place.
        inputs = self._prepare(policy, scorer, train, held_out)
        if spec.training.gradient_checkpointing:
            policy.loaded.model.gradient_checkpointing_enable()
        policy.loaded.model.train()
        engine = self._engine(scorer)
        objective = PreferenceObjective(
            spec.objective, seed=spec.training.seed, runtime=self._runtime
        )
        checkpoints = Checkpoints(
            self._store,
            prefix=self._layout.prefix,
            scratch=context.scratch / f"checkpoint-{self._runtime.rank}",
            keep=spec.checkpoint.keep,
            runtime=self._runtime,
        )
        state = self._resume(checkpoints, engine, objective, inputs.digests)
        log = MetricsLog(
            context.scratch / f"metrics-{self._runtime.rank}.jsonl",
            restored=state.metrics if state else "",
        )
        plan = StepPlan(
            num_records=train.records.num_records,
            queries_per_step=spec.training.queries_per_step,
            queries_per_micro_batch=spec.training.queries_per_micro_batch,
            epochs=spec.training.epochs,
            max_steps=spec.training.max_steps,
        )
        loop = PreferenceLoop(
            engine=engine,
            objective=objective,
            plan=plan,
            optimizer=spec.optimizer,
            beta=spec.objective.beta.initial,
            sft_weight=spec.objective.sft_weight,
            seed=spec.training.seed,
            runtime=self._runtime,
            interruption=context.interruption,
        )
        context.progress.emit(
            "phase", phase="train", message=f"step {self._step} of {plan.total_steps}"
        )
        pace = Pace(total_steps=plan.total_steps, clock=time.monotonic)
        for figures in loop.run(train.records, inputs.builder, start=self._step):
            self._step = figures.step
            self._log(figures, plan.total_steps, log, pace)
            if figures.step == plan.total_steps:
                break
            if figures.step % spec.checkpoint.every_steps == 0 or figures.interrupted:
                checkpoints.save(engine, self._state(inputs, objective, log))
            if figures.interrupted:
                raise Interrupted(
                    f"stopped as asked after step {figures.step} of {plan.total_steps}; the "
                    "checkpoint is saved, run the same job again to go on"
                )
            every = spec.training.evaluate_every_steps
            if inputs.evaluation and every and figures.step % every == 0:
                result = self._evaluate(inputs.evaluation, engine)
                log.append({"step": self._step, **result.overall.named("heldOut")})
        self._publish(policy, engine, inputs, log)
        self._runtime.on_main(checkpoints.clear)

    def _forget(self) -> None:
        """Remove the run, its completeness first. Reference log-probabilities stay."""
        self._store.remove(self._layout.manifest)
        self._store.remove(self._layout.prefix)

    def _open_data(self) -> tuple[OpenDataset, OpenDataset | None]:
        data = self._job.spec.data
        train = self._open(data.train)
        return train, None if data.evaluation is None else self._open(data.evaluation)

    def _open(self, source: DataSource) -> OpenDataset:
        self._context.progress.emit("phase", phase="validate", message=f"checking {source.uri}")
        dataset = open_dataset(
            source,
            max_invalid_fraction=self._job.spec.data.max_invalid_fraction,
            seed=self._job.spec.training.seed,
            runtime=self._runtime,
            options=self._options,
        )
        report = dataset.report
        if report.num_invalid:
            self._context.progress.emit(
                "notice",
                message=f"{report.num_invalid} of {report.rows} rows of {source.uri} are invalid "
                "and left out; the manifest lists them",
            )
        return dataset

    def _load_policy(self) -> Policy:
        spec = self._job.spec
        self._context.progress.emit("phase", phase="load", message=f"loading {spec.model.uri}")
        return Policy.load(
            spec.model,
            spec.trainable,
            # Without DeepSpeed, half precision is autocast over float32 weights.
            weights=spec.model.dtype if self._uses_deepspeed else "float32",
            scratch=self._context.scratch,
            runtime=self._runtime,
            options=self._options,
        )

    def _prepare(
        self,
        policy: Policy,
        scorer: ResponseScorer,
        train: OpenDataset,
        held_out: OpenDataset | None,
    ) -> _Inputs:
        """Side-cars, and queries made with them."""
        spec, context = self._job.spec, self._context
        rewards = open_rewards(spec, self._options)
        references = ReferencePass(
            self._store,
            given=spec.reference.log_probs_uri,
            scorer=scorer,
            identity=policy.reference_identity(),
            scratch=context.scratch / f"rank-{self._runtime.rank}",
            runtime=self._runtime,
            queries_per_batch=_EVALUATION_BATCH,
            storage=self._options,
        )

        def builder(dataset: OpenDataset) -> QueryBuilder:
            return QueryBuilder(
                policy.loaded.adapter,
                media_root=dataset.records.media_root,
                mode=spec.objective.pairs,
                reference=references.sidecar(
                    dataset.records, progress=context.progress, interruption=context.interruption
                ),
                rewards=rewards if dataset is train else None,
                storage=self._options,
            )

        train_builder = builder(train)
        evaluation = None
        if held_out is not None:
            evaluation = PreferenceEvaluation(
                dataset=held_out.records,
                builder=builder(held_out),
                runtime=self._runtime,
                queries_per_batch=_EVALUATION_BATCH,
            )
        summary = None
        if rewards is not None:
            summary = summarise_rewards(
                train.records, rewards, spec.objective, runtime=self._runtime
            )
            context.progress.emit("notice", message=summary.sentence())
        identity = policy.reference_identity()
        return _Inputs(
            train=train,
            held_out=held_out,
            builder=train_builder,
            evaluation=evaluation,
            rewards=summary,
            digests=RunInputs(
                train_data=f"{train.records.digest}-{train.records.index.selection_digest}",
                model=policy.digest,
                template=identity.template or "",
                image_settings=identity.image_settings or "",
                rewards=rewards.digest if rewards else "",
                spec=spec_digest(self._job),
            ),
        )

    def _engine(self, scorer: ResponseScorer) -> Engine:
        spec = self._job.spec
        dtype = torch_dtype(spec.model.dtype)
        if self._uses_deepspeed:
            return DeepSpeedEngine(
                scorer,
                spec.optimizer,
                parallelism=spec.parallelism,
                runtime=self._runtime,
                dtype=dtype,
            )
        return TorchEngine(
            scorer,
            spec.optimizer,
            device=self._runtime.device,
            autocast=None if spec.model.dtype == "float32" else dtype,
        )

    def _resume(
        self,
        checkpoints: Checkpoints,
        engine: Engine,
        objective: PreferenceObjective,
        digests: RunInputs,
    ) -> CheckpointState | None:
        if self._job.spec.checkpoint.resume == "none":
            self._runtime.on_main(checkpoints.clear)
            return None
        state = self._runtime.on_main(
            lambda: checkpoints.latest(
                world_size=self._runtime.world_size, engine=self._engine_name, inputs=digests
            )
        )
        if state is None:
            return None
        checkpoints.restore(engine, state)
        objective.restore(state.objective)
        self._step = state.step
        self._context.progress.emit(
            "notice", message=f"going on from the checkpoint of step {state.step}"
        )
        return state

    def _state(
        self, inputs: _Inputs, objective: PreferenceObjective, log: MetricsLog
    ) -> CheckpointState:
        return CheckpointState(
            step=self._step,
            world_size=self._runtime.world_size,
            engine=self._engine_name,
            inputs=inputs.digests,
            objective=objective.state(),
            metrics=log.text(),
        )

    def _log(self, figures: StepFigures, total_steps: int, log: MetricsLog, pace: Pace) -> None:
        speed = pace.note(step=figures.step, tokens=figures.tokens)
        if figures.step % self._job.spec.tracking.log_every_steps == 0:
            log.append({**figures.row(), **speed})
        self._context.progress.emit(
            "step",
            step=figures.step,
            totalSteps=total_steps,
            loss=figures.loss,
            margin=figures.margin,
            accuracy=figures.accuracy,
            tokensPerSecond=speed["tokensPerSecond"],
            etaSeconds=speed["etaSeconds"],
        )

    def _evaluate(self, evaluation: PreferenceEvaluation, engine: Engine) -> EvaluationResult:
        self._context.progress.emit(
            "phase", phase="evaluate", message=f"held-out data after step {self._step}"
        )
        return evaluation.run(engine.score, spare=self._uses_deepspeed)

    def _publish(self, policy: Policy, engine: Engine, inputs: _Inputs, log: MetricsLog) -> None:
        """Write model, metrics and manifest, the manifest last: it makes the run complete."""
        metrics: dict[str, float] = {}
        evaluation: dict[str, object] = {}
        if inputs.evaluation is not None:
            for name, result in (
                ("before", inputs.evaluation.before()),
                ("after", self._evaluate(inputs.evaluation, engine)),
            ):
                metrics |= result.overall.named(name)
                evaluation[name] = {
                    "overall": result.overall.named(""),
                    **{key: value.named("") for key, value in result.by_category.items()},
                }
        self._context.progress.emit("phase", phase="publish", message="writing the model")
        weights = engine.weights()
        if self._runtime.is_main:
            local = self._context.scratch / "publish"
            shutil.rmtree(local, ignore_errors=True)
            save_model(
                policy.loaded.model,
                {name.removeprefix("model."): value for name, value in weights.items()},
                source=policy.folder,
                target=local,
            )
            self._store.remove(self._layout.model)
            self._store.publish(local, self._layout.model)
            shutil.rmtree(local)
            self._store.write_text(self._layout.metrics, log.text())
            attempts = self._attempts.end(exit_name="Succeeded", step=self._step)
            manifest = {
                "schema": SCHEMA,
                "job": job_dict(self._job),
                "specDigest": spec_digest(self._job),
                "inputs": inputs.digests.__dict__,
                "data": inputs.train.report.to_dict(),
                "seed": self._job.spec.training.seed,
                "processes": self._runtime.world_size,
                "engine": self._engine_name,
                "steps": self._step,
                "rewards": inputs.rewards.as_dict() if inputs.rewards else None,
                "metrics": metrics,
                "evaluation": evaluation,
                "environment": environment(),
                "attempts": attempts,
            }
            self._store.write_text(
                self._layout.manifest, json.dumps(manifest, indent=2, sort_keys=True) + "\n"
            )
        self._runtime.wait()
        self._announce(metrics)

    def _announce(self, metrics: dict[str, float]) -> None:
        self._context.progress.emit(
            "done", artifacts=f"{self._store.uri}/{self._layout.prefix}", metrics=metrics
        )

    def _end_attempt(self, exit_name: str) -> None:
        """Note the end; the record of a failure must not hide the failure itself."""
        if self._runtime.is_main:
            try:
                self._attempts.end(exit_name=exit_name, step=self._step)
            except JobError:
                return
