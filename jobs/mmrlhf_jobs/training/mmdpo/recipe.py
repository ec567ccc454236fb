"""MM-DPO: align a model with ranked responses (paper section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mmrlhf_api import MMDPOJob, MMDPOSpec
from mmrlhf_jobs.evaluation.passes import EvaluationPass
from mmrlhf_jobs.evaluation.results import EvaluationResult
from mmrlhf_jobs.evaluation.runner import PreferenceEvaluation
from mmrlhf_jobs.forward.responses import ResponseLogProbs
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.folders import save_model
from mmrlhf_jobs.models.lora import without_adapter
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.queries.preference import Query, QueryBuilder, QueryEncoder
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset, Policy
from mmrlhf_jobs.training.mmdpo.objective import PreferenceObjective
from mmrlhf_jobs.training.mmdpo.reference import ReferencePass
from mmrlhf_jobs.training.mmdpo.rewards import open_rewards, summarise_rewards
from mmrlhf_jobs.training.preparation import EVALUATION_BATCH, Preparation
from mmrlhf_jobs.training.recipe import PreparedRun
from mmrlhf_jobs.training.report import or_without
from mmrlhf_jobs.training.samples import Samples, take_samples

__all__ = ["MMDPORecipe", "query_encoder"]


def query_encoder(
    spec: MMDPOSpec, loaded: LoadedModel, dataset: OpenDataset, options: StorageOptions | None
) -> QueryEncoder:
    """What makes rows of a job's records, for a training and for its estimate.

    Args:
        spec: The job.
        loaded: Its model; the estimate's has no weights.
        dataset: The records.
        options: How to reach an object store.
    """
    return QueryEncoder(
        loaded.adapter,
        max_tokens=loaded.max_tokens,
        media_root=dataset.records.media_folders,
        mode=spec.objective.pairs,
        storage=options,
    )


class MMDPORecipe:
    """What is particular to an MMDPOJob.

    Args:
        job: What to do.
        preparation: Opens and checks its inputs.
    """

    def __init__(self, job: MMDPOJob, preparation: Preparation) -> None:
        self._job = job
        self._preparation = preparation

    def prepare(
        self, policy: Policy, train: OpenDataset, held_out: OpenDataset | None
    ) -> PreparedRun[Query, ResponseLogProbs]:
        """Open or make the side-cars, and look at every row and reward before the first step.

        Raises:
            DataError: Rows do not fit the model.
            SidecarError: A side-car is of another kind, model or template, or lacks values.
            Interrupted: The job was asked to stop in the reference pass.
        """
        spec, preparation = self._job.spec, self._preparation
        runtime, context = preparation.context.runtime, preparation.context

        def encoder(dataset: OpenDataset) -> QueryEncoder:
            return query_encoder(spec, policy.loaded, dataset, preparation.options)

        train = preparation.check_rows(train, encoder(train).check)
        if held_out is not None:
            held_out = preparation.check_rows(held_out, encoder(held_out).check)
        train, rewards = open_rewards(spec.reward, train, preparation)
        proof = preparation.prove(
            policy, train, encoder(train).encode, setting=spec.objective.shared_prefix
        )
        model = policy.rows
        model.shared_prefix = proof.sharedPrefix
        references = ReferencePass(
            preparation.sidecar_cache(),
            model=model,
            identity=policy.reference_identity(),
            # As in training: passes of one shape take the same kernels and give the same bits.
            queries_at_once=spec.training.queries_per_micro_batch,
            progress=context.progress,
            together=policy.splitter is not None,
        )

        def builder(dataset: OpenDataset) -> QueryBuilder:
            given = spec.reference.log_probs_uri if dataset is train else None
            with policy.passes(), without_adapter(policy.loaded.model):
                reference = references.sidecar(dataset.records, given=given)
            return QueryBuilder(
                encoder(dataset),
                reference=reference,
                rewards=rewards if dataset is train else None,
            )

        train_builder = builder(train)
        evaluation = None
        if held_out is not None:
            evaluation = PreferenceEvaluation(
                EvaluationPass(
                    dataset=held_out.records,
                    builder=builder(held_out),
                    runtime=runtime,
                    queries_per_batch=EVALUATION_BATCH,
                )
            )
        samples = self._take_samples(policy, held_out or train, encoder)
        record: dict[str, Any] = {"rewards": None, "proof": proof.as_dict()}
        metrics: dict[str, float] = {}
        if rewards is not None:
            summary = summarise_rewards(train.records, rewards, spec.objective, runtime=runtime)
            context.tell(summary.sentence())
            record["rewards"] = summary.as_dict()
            metrics["rewardDisagreement"] = summary.disagreement
        return PreparedRun(
            module=model,
            train=train,
            builder=train_builder,
            objective=PreferenceObjective(
                spec.objective,
                seed=spec.training.seed,
                runtime=runtime,
                precision=preparation.precision,
            ),
            evaluation=evaluation,
            digests=preparation.digests(
                policy,
                train,
                template=policy.loaded.adapter.template_digest(),
                rewards=rewards.digest if rewards else "",
            ),
            record=record,
            metrics=metrics,
            samples=samples,
        )

    def _take_samples(
        self, policy: Policy, dataset: OpenDataset, encoder: Callable[[OpenDataset], QueryEncoder]
    ) -> Samples | None:
        """Queries that rank 0 answers, where its weights are whole after training too."""
        spec, preparation = self._job.spec, self._preparation
        context, wanted = preparation.context, spec.tracking.report_samples
        split = preparation.precision.engine == "deepspeed" and spec.parallelism.zero_stage == 3
        if not wanted or split or not context.runtime.is_main:
            return None
        context.progress.emit("phase", phase="load", message="answering queries for the report")
        return or_without(
            lambda: take_samples(
                policy.loaded,
                islice(dataset.records.share(), wanted),
                encoder(dataset),
                media_root=dataset.records.media_folders,
                storage=preparation.options,
                max_new_tokens=spec.tracking.report_tokens,
            ),
            "answers before training",
            otherwise=None,
            tell=context.tell,
        )

    def save(self, policy: Policy, weights: Mapping[str, Weight], folder: Path) -> None:
        """Write the aligned model as a Hugging Face folder."""
        save_model(
            policy.loaded.model,
            {name.removeprefix("model."): value for name, value in weights.items()},
            source=policy.folder,
            target=folder,
        )

    def save_adapter(self, policy: Policy, weights: Mapping[str, Weight], folder: Path) -> None:
        """Write the adapter as peft does."""
        policy.save_adapter(
            {name.removeprefix("model."): value for name, value in weights.items()},
            base=self._job.spec.model.uri,
            folder=folder,
        )

    def assess(self, model_uri: str) -> Mapping[str, EvaluationResult]:
        """Nothing beyond the held-out pairs."""
        del model_uri
        return {}
