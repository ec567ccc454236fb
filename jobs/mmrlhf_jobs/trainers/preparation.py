"""Everything between a job file and the first step of a preference training."""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf_api import DataSource, MMDPOJob, spec_digest
from mmrlhf_jobs.evaluation.runner import PreferenceEvaluation
from mmrlhf_jobs.forward.scoring import ResponseScorer
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.trainers.checkpoints import RunInputs
from mmrlhf_jobs.trainers.context import TrainingContext
from mmrlhf_jobs.trainers.inputs import OpenDataset, Policy, open_dataset, open_rewards
from mmrlhf_jobs.trainers.queries import QueryBuilder
from mmrlhf_jobs.trainers.reference import ReferencePass
from mmrlhf_jobs.trainers.rewards import RewardSummary, summarise_rewards

__all__ = ["Preparation", "PreparedRun"]

_EVALUATION_BATCH = 8
"""Queries that go through the model at once where nothing is trained."""


@dataclass(frozen=True)
class PreparedRun:
    """Data of a run, ready for the first step.

    Attributes:
        train: Records to train on.
        builder: Makes queries of them.
        evaluation: Evaluates on the held-out records, if there are any.
        rewards: What the reward margins look like, where the objective scales by them.
        digests: What the run is made from.
    """

    train: OpenDataset
    builder: QueryBuilder
    evaluation: PreferenceEvaluation | None
    rewards: RewardSummary | None
    digests: RunInputs


class Preparation:
    """Opens, checks and computes what a run needs, on all its processes.

    Args:
        job: What to do.
        context: The world around it.
        store: Artifacts of the job.
        options: How to reach an object store.
    """

    def __init__(
        self,
        job: MMDPOJob,
        context: TrainingContext,
        store: ArtifactStore,
        options: StorageOptions,
    ) -> None:
        self._job = job
        self._context = context
        self._runtime = context.runtime
        self._store = store
        self._options = options

    def open_data(self) -> tuple[OpenDataset, OpenDataset | None]:
        """Validate and open the records to train on and those held out.

        Raises:
            DataError: A data set is missing, empty, or has too many invalid rows.
        """
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

    def load_policy(self, *, deepspeed: bool) -> Policy:
        """Load the model that is trained.

        Raises:
            ModelError: It is missing or incomplete.
        """
        spec = self._job.spec
        self._context.progress.emit("phase", phase="load", message=f"loading {spec.model.uri}")
        return Policy.load(
            spec.model,
            spec.trainable,
            # Without DeepSpeed, half precision is autocast over float32 weights.
            weights=spec.model.dtype if deepspeed else "float32",
            scratch=self._context.scratch,
            runtime=self._runtime,
            options=self._options,
        )

    def prepare(
        self,
        policy: Policy,
        scorer: ResponseScorer,
        train: OpenDataset,
        held_out: OpenDataset | None,
    ) -> PreparedRun:
        """Open or make the side-cars, and look up every reward before the first step.

        Raises:
            SidecarError: A side-car is of another kind, model or template, or lacks values.
            Interrupted: The job was asked to stop in the reference pass.
        """
        spec, context = self._job.spec, self._context
        rewards = open_rewards(spec, self._options)
        references = ReferencePass(
            self._store,
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
                    dataset.records,
                    given=spec.reference.log_probs_uri if dataset is train else None,
                    progress=context.progress,
                    interruption=context.interruption,
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
        return PreparedRun(
            train=train,
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
