"""Training of the critique-based reward model (paper section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from mmrlhf_api import RewardTrainJob, RewardTrainSpec
from mmrlhf_jobs.evaluation.passes import EvaluationPass
from mmrlhf_jobs.evaluation.results import EvaluationResult
from mmrlhf_jobs.evaluation.rewardbench import bench_query, measure
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.queries.judged import JudgedQuery, JudgedQueryBuilder, count_critiques
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.judge import (
    RewardModelCard,
    critique_template,
    save_head,
    save_reward_model,
    split_weights,
)
from mmrlhf_jobs.reward_model.scorer import ResponseRewards, RewardScorer
from mmrlhf_jobs.scores.keys import record_keys
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset, Policy
from mmrlhf_jobs.training.preparation import EVALUATION_BATCH, Preparation
from mmrlhf_jobs.training.recipe import PreparedRun
from mmrlhf_jobs.training.reward.evaluation import RewardEvaluation
from mmrlhf_jobs.training.reward.objective import RewardObjective
from mmrlhf_jobs.training.reward.scoring import score_dataset

__all__ = ["RewardRecipe", "judged_builder"]


def judged_builder(
    spec: RewardTrainSpec,
    template: CritiqueTemplate,
    dataset: OpenDataset,
    options: StorageOptions | None,
) -> JudgedQueryBuilder:
    """What makes rows of a job's records, for a training and for its estimate.

    Args:
        spec: The job.
        template: The critique template of its model.
        dataset: The records.
        options: How to reach an object store.
    """
    objective = spec.objective
    return JudgedQueryBuilder(
        template,
        media_root=dataset.records.media_folders,
        mode=objective.pairs,
        critique=objective.critique,
        storage=options,
    )


class RewardRecipe:
    """What is particular to a RewardTrainJob.

    Args:
        job: What to do.
        preparation: Opens and checks its inputs.
    """

    def __init__(self, job: RewardTrainJob, preparation: Preparation) -> None:
        self._job = job
        self._preparation = preparation
        self._benchmark: OpenDataset | None = None

    def prepare(
        self, policy: Policy, train: OpenDataset, held_out: OpenDataset | None
    ) -> PreparedRun[JudgedQuery, ResponseRewards]:
        """Look at every row and critique, and put a new head on the model.

        Raises:
            DataError: Responses have no critique, and that is not allowed; or rows do not fit the
                model.
            ModelError: The chat template does not let responses share a prompt.
        """
        spec, preparation = self._job.spec, self._preparation
        objective, runtime = spec.objective, preparation.context.runtime
        self._open_benchmark()
        found = count_critiques(
            train.records,
            critique=objective.critique,
            mode=objective.pairs,
            missing=objective.missing_critique,
            runtime=runtime,
        )
        if found["missing"]:
            preparation.context.tell(
                f"{found['missing']} of {found['responses']} responses have no "
                f"{objective.critique} critique; their critique loss is skipped"
            )
        template = critique_template(policy.loaded)
        train = preparation.check_rows(train, self._builder(template, train).check)
        if held_out is not None:
            held_out = preparation.check_rows(held_out, self._builder(template, held_out).check)
        if self._benchmark is not None:
            self._benchmark = self._check_benchmark(template, self._benchmark)
        builder = self._builder(template, train)
        proof = preparation.prove(
            policy, train, lambda record: builder.build(record).encoded, setting="auto"
        )
        evaluation = None
        if held_out is not None:
            evaluation = RewardEvaluation(
                EvaluationPass(
                    dataset=held_out.records,
                    builder=self._builder(template, held_out),
                    runtime=runtime,
                    queries_per_batch=EVALUATION_BATCH,
                )
            )
        return PreparedRun(
            module=self._module(policy, shared_prefix=proof.sharedPrefix),
            train=train,
            builder=builder,
            objective=RewardObjective(objective),
            evaluation=evaluation,
            digests=preparation.digests(policy, train, template=template.digest()),
            record={"critiques": found, "proof": proof.as_dict()},
        )

    def save(self, policy: Policy, weights: Mapping[str, Weight], folder: Path) -> None:
        """Write the reward model."""
        save_reward_model(
            policy.loaded.model, weights, self._card(policy), source=policy.folder, target=folder
        )

    def save_adapter(self, policy: Policy, weights: Mapping[str, Weight], folder: Path) -> None:
        """Write the adapter as peft does, and beside it the head, all of which is trained."""
        model, head = split_weights(weights)
        policy.save_adapter(model, base=self._job.spec.model.uri, folder=folder)
        save_head(head, self._card(policy), folder)

    def _card(self, policy: Policy) -> RewardModelCard:
        spec = self._job.spec
        return RewardModelCard(
            head=spec.objective.head,
            hidden_size=_hidden_size(policy),
            critique=spec.objective.critique,
            inference=spec.inference,
            template=critique_template(policy.loaded).digest(),
            base=spec.model.uri,
            base_digest=policy.digest,
            chat_template=spec.model.chat_template or "processor",
        )

    def assess(self, model_uri: str) -> Mapping[str, EvaluationResult]:
        """Measure the model on the benchmark, as it was published and as it will be used."""
        if self._benchmark is None:
            return {}
        preparation, records = self._preparation, self._benchmark.records
        preparation.context.progress.emit(
            "phase", phase="benchmark", message=f"scoring {records.num_records} queries"
        )
        model = preparation.load_reward_model(model_uri, inference=self._job.spec.inference)
        scores = score_dataset(model, self._benchmark, preparation)
        model.end_passes()
        runtime = preparation.context.runtime
        own = [
            bench_query(record, scores.lookup(record_keys(record)).tolist())
            for record in records.share(rank=runtime.rank, world_size=runtime.world_size)
        ]
        return {"benchmark": measure(query for part in runtime.gather(own) for query in part)}

    def _open_benchmark(self) -> None:
        """Check the benchmark before training, not after it."""
        spec, preparation = self._job.spec, self._preparation
        if spec.benchmark is None:
            return
        self._benchmark = preparation.open(spec.benchmark)
        if spec.inference.critique == "groundTruth":
            count_critiques(
                self._benchmark.records,
                critique=spec.objective.critique,
                mode="all",
                missing="fail",
                runtime=preparation.context.runtime,
            )

    def _check_benchmark(self, template: CritiqueTemplate, benchmark: OpenDataset) -> OpenDataset:
        """Look at its rows as they will be scored; critiques to write take what room is left."""
        spec = self._job.spec
        given = spec.inference.critique == "groundTruth"
        builder = JudgedQueryBuilder(
            template,
            media_root=benchmark.records.media_folders,
            mode="all",
            critique=spec.objective.critique if given else "none",
            storage=self._preparation.options,
        )
        return self._preparation.check_rows(benchmark, builder.check)

    def _module(self, policy: Policy, *, shared_prefix: bool) -> RewardScorer:
        loaded = policy.loaded
        weight = next(loaded.model.parameters())
        head = RewardHead(
            self._job.spec.objective.head,
            _hidden_size(policy),
            seed=self._job.spec.training.seed,
        )
        return RewardScorer(
            loaded.model,
            loaded.adapter,
            head.to(weight.device, torch.promote_types(weight.dtype, torch.float32)),
            shared_prefix=shared_prefix,
        )

    def _builder(self, template: CritiqueTemplate, dataset: OpenDataset) -> JudgedQueryBuilder:
        return judged_builder(self._job.spec, template, dataset, self._preparation.options)


def _hidden_size(policy: Policy) -> int:
    return int(policy.loaded.model.config.get_text_config().hidden_size)
