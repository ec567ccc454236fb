"""Opening and checking of what every training starts from."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from mmrlhf_api import DataSource, RewardInference, TrainJob, training_digest
from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.features.limits import limits_of_job
from mmrlhf_jobs.forward.kept_features import KeptFeatures
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.shares import Splitter
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from mmrlhf_jobs.scores.cache import SidecarCache
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.checkpoints import RunInputs
from mmrlhf_jobs.training.engines.interface import EngineFactory
from mmrlhf_jobs.training.inputs import OpenDataset, Policy, leave_out, open_dataset
from mmrlhf_jobs.training.proof import FIRST_QUERIES, Proof, prove

__all__ = ["EVALUATION_BATCH", "Preparation"]

EVALUATION_BATCH = 8
"""Queries that go through the model at once where nothing is trained."""


class Preparation:
    """Opens, checks and computes what a run needs, on all its processes.

    Args:
        job: What to do.
        context: The world around it.
        store: Artifacts of the job.
        options: How to reach an object store.
        claim: The run's, taken before anything is prepared.
        engine: Makes the engine that will train.

    Attributes:
        precision: What everything is computed in, before training as in it.
    """

    def __init__(
        self,
        job: TrainJob,
        context: TrainingContext,
        store: ArtifactStore,
        options: StorageOptions,
        claim: Claim,
        *,
        engine: EngineFactory,
    ) -> None:
        self._job = job
        self._claim = claim
        model = job.spec.model
        self.precision = Precision(model.dtype, model.attention, engine.kind)
        self._engine = engine
        self.context = context
        self.store = store
        self.options = options
        self._features: KeptFeatures | None = None

    @property
    def features(self) -> KeptFeatures:
        """Features of frozen vision towers; every process must ask for it first together."""
        if self._features is None:
            self._features = KeptFeatures(
                limits_of_job(self._job.spec.resources),
                runtime=self.context.runtime,
                scratch=self.context.scratch,
                tell=self.context.tell,
            )
        return self._features

    def open_data(self) -> tuple[OpenDataset, OpenDataset | None]:
        """Validate and open the records to train on and those held out.

        Raises:
            DataError: A data set is missing, empty, or has too many invalid rows.
        """
        data = self._job.spec.data
        train = self.open(data.train)
        return train, None if data.evaluation is None else self.open(data.evaluation)

    def open(self, source: DataSource) -> OpenDataset:
        """Validate and open one data set.

        Raises:
            DataError: It is missing, empty, or has too many invalid rows.
        """
        self.context.progress.emit("phase", phase="validate", message=f"checking {source.uri}")
        dataset = open_dataset(
            source,
            max_invalid_fraction=self._job.spec.data.max_invalid_fraction,
            seed=self._job.spec.training.seed,
            runtime=self.context.runtime,
            options=self.options,
        )
        self._tell(dataset)
        return dataset

    def check_rows(
        self, dataset: OpenDataset, check: Callable[[RankedResponse], None], *, media: bool = True
    ) -> OpenDataset:
        """Look at every row before the first step, so that none stops a training.

        Returns:
            The data set without those that cannot be used.

        Args:
            dataset: Records.
            check: Raises DataError on a record that cannot be used.
            media: Decode the media too; False where that was done before.

        Raises:
            DataError: More cannot than `data.maxInvalidFraction` allows; names the first rows.
        """
        self.context.progress.emit(
            "phase",
            phase="validate",
            message=f"checking that the rows of {dataset.uri} fit the model",
        )
        found = leave_out(
            dataset,
            check,
            max_invalid_fraction=self._job.spec.data.max_invalid_fraction,
            runtime=self.context.runtime,
            options=self.options,
            media=media,
        )
        if found is not dataset:
            self._tell(found)
        return found

    @property
    def allows_faults(self) -> bool:
        """Whether some rows may be at fault and are left out then."""
        return self._job.spec.data.max_invalid_fraction > 0

    def _tell(self, dataset: OpenDataset) -> None:
        if (told := dataset.report.sentence()) is not None:
            self.context.tell(told)

    def load_policy(self, splitter: Splitter | None) -> Policy:
        """Load the model that is trained.

        Args:
            splitter: Divides its weights over processes while they are read, if anything does.

        Raises:
            ModelError: It is missing or incomplete.
            SpecError: The adapter does not fit it.
        """
        spec = self._job.spec
        self.context.progress.emit("phase", phase="load", message=f"loading {spec.model.uri}")
        policy = Policy.load(
            spec.model,
            spec.trainable,
            spec.adapter,
            precision=self.precision,
            seed=spec.training.seed,
            scratch=self.context.scratch,
            runtime=self.context.runtime,
            options=self.options,
            splitter=splitter,
            tell=self.context.tell,
        )
        features = self.features
        with policy.passes():
            features.keep(policy.loaded, "model")
        return policy

    def load_reward_model(
        self, uri: str, *, inference: RewardInference | None = None
    ) -> CritiqueRewardModel:
        """Load a reward model to score with; `inference` as in its own job by default.

        Its weights are divided over the processes where those of the policy are. Whoever has scored
        ends its passes.

        Raises:
            ModelError: It is missing, damaged, or no reward model.
        """
        spec, runtime = self._job.spec, self.context.runtime
        model = CritiqueRewardModel.from_pretrained(
            uri,
            inference=inference,
            dtype=spec.model.dtype,
            attention=spec.model.attention,
            device=runtime.device,
            seed=spec.training.seed,
            scratch=self.context.scratch / f"rank-{runtime.rank}" / "reward-model",
            storage=self.options,
            tell=self.context.tell,
            splitter=self._engine.split(),
        )
        features = self.features
        with model.passes():
            features.keep(model.loaded, "reward model")
        return model

    def prove(
        self,
        policy: Policy,
        train: OpenDataset,
        encode: Callable[[RankedResponse], EncodedGroup],
        *,
        setting: str,
    ) -> Proof:
        """Compare rows with the model's plain forward pass on the first queries; see `prove`.

        Args:
            policy: The model, as it was loaded.
            train: Records to train on.
            encode: Makes a query of a record, as the training does.
            setting: Whether responses share a prompt: ``auto``, ``required`` or ``off``.

        Raises:
            ModelError: The model is of another make than its adapter knows.
            SpecError: Sharing is required, and the model cannot do it.
        """
        progress = self.context.progress
        progress.emit(
            "phase", phase="load", message="comparing with the model's plain forward pass"
        )
        return prove(
            policy,
            lambda: [encode(record) for record in islice(train.records.share(), FIRST_QUERIES)],
            setting=setting,
            store=self.store,
            runtime=self.context.runtime,
            tell=self.context.tell,
        )

    def sidecar_cache(self) -> SidecarCache:
        """Side-cars that earlier runs made, and place for those of this one."""
        runtime = self.context.runtime
        return SidecarCache(
            self.store,
            scratch=self.context.scratch / f"rank-{runtime.rank}",
            runtime=runtime,
            interruption=self.context.interruption,
            storage=self.options,
            tell=self.context.tell,
            run=RunLayout.of(self._job).prefix,
            attempt=self._claim.holder.name,
        )

    def digests(
        self, policy: Policy, train: OpenDataset, *, template: str, rewards: str = ""
    ) -> RunInputs:
        """What the run is made from.

        Args:
            policy: The model as it was loaded.
            train: Records to train on.
            template: Digest of what turns texts into tokens.
            rewards: Digest of the reward scores, where there are any.
        """
        records = train.records
        return RunInputs(
            train_data=f"{records.digest}-{records.index.selection_digest}",
            model=policy.digest,
            template=template,
            image_settings=policy.loaded.adapter.image_settings(),
            rewards=rewards,
            spec=training_digest(self._job),
        )
