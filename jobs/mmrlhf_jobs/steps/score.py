"""A reward model's scores for any data set.

Under torchrun the queries are shared among the processes. The scores appear at ``out`` when all are
there; until then the parts that are done lie in ``<out>.parts``, and the same step goes on.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Strict

from mmrlhf_api import DataSource
from mmrlhf_api.base import ApiModel
from mmrlhf_api.scalars import Fraction, NonNegativeFloat, PositiveInt, Seed
from mmrlhf_api.uris import Uri
from mmrlhf_jobs.steps.spec import Dtype, FeatureSettings, Flag, Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "InferenceChanges", "ScoreSpec"]


class InferenceChanges(ApiModel):
    """How to score, where not as in the model's own job."""

    critique: Literal["generated", "groundTruth", "none"] | None = None
    """Critique that the score is read after."""
    samples: PositiveInt | None = None
    """Critiques of each response."""
    temperature: NonNegativeFloat | None = None
    """Sampling temperature of critiques; 0 is greedy."""
    max_new_tokens: PositiveInt | None = None
    """Most tokens of a critique."""


class ScoreSpec(StepSpec):
    """What to score with what."""

    step: Literal["score"] = "score"
    """Name of the step."""
    model: Place
    """Folder of a reward model."""
    data: Uri
    """RankedResponse/v1 records: a file or a folder."""
    out: Place
    """Side-car to write, *.parquet."""
    media_root: Uri | None = None
    """Where relative media paths start; without it, the folder of the file that names them."""
    allowed_media_roots: Annotated[
        tuple[Uri, ...], Strict(strict=False), Flag("--allowed-media-root")
    ] = ()
    """Another folder that media may be in; repeatable."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid and are left out then."""
    inference: InferenceChanges = InferenceChanges()
    """How to score, where not as in the model's own job."""
    dtype: Dtype = "float32"
    """Type of the weights."""
    batch_tokens: PositiveInt = 65_536
    """Places of the cache that a batch may take; 4 GB for 7 billion weights."""
    seed: Seed = 0
    """Seed of sampled critiques."""
    resources: FeatureSettings = FeatureSettings()
    """What is kept of the work of vision towers."""


def _run(spec: ScoreSpec, context: StepContext) -> Outcome:
    """Score what is missing, and join the parts when nothing is.

    Raises:
        InputError: The model or the data is wrong, or `out` holds other scores.
        Interrupted: The step was asked to stop; what is done is kept.
    """
    from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
    from mmrlhf_jobs.scores.passes import make_sidecar
    from mmrlhf_jobs.training.inputs import leave_out, open_dataset
    from mmrlhf_jobs.training.reward.scoring import score_records, scoring_check

    members, storage = context.gang, context.storage
    runtime = members.runtime
    context.tell("validate", f"checking {spec.data}")
    dataset = open_dataset(
        DataSource(
            uri=spec.data,
            media_root=spec.media_root,
            allowed_media_roots=spec.allowed_media_roots,
        ),
        max_invalid_fraction=spec.max_invalid_fraction,
        seed=spec.seed,
        runtime=runtime,
        options=storage,
    )
    context.tell("load", f"loading {spec.model}")
    model = CritiqueRewardModel.from_pretrained(
        spec.model,
        inference=spec.inference.model_dump(exclude_none=True),
        dtype=spec.dtype,
        device=runtime.device,
        seed=spec.seed,
        scratch=context.scratch / f"rank-{runtime.rank}",
        storage=storage,
        tell=members.tell,
    )
    kept = context.keep_features(spec.resources.limits())
    kept.keep(model.loaded, "reward model")
    context.tell("validate", f"checking that the rows of {spec.data} fit the model")
    dataset = leave_out(
        dataset,
        scoring_check(model, dataset.records, storage),
        max_invalid_fraction=spec.max_invalid_fraction,
        runtime=runtime,
        options=storage,
    )
    context.tell("score", f"scoring {dataset.records.num_records} queries")
    made, cut = score_records(
        model,
        dataset.records,
        partial(
            make_sidecar,
            spec.out,
            runtime=runtime,
            interruption=members.interruption,
            storage=storage,
        ),
        context=members,
        storage=storage,
        batch_tokens=spec.batch_tokens,
    )
    found = dataset.report
    report = {
        "rows": found.rows,
        "records": found.num_records,
        "invalid": dict(found.invalid),
        "tied": found.tied,
        "responses": made.responses,
        "computed": made.computed,
        "cutCritiques": cut,
        "visionFeatures": dict(kept.record()),
    }
    if runtime.is_main:
        context.show(report)
    return Outcome(spec.out, report)


STEP = Step("Score all responses of a data set with a reward model.", ScoreSpec, _run, shared=True)
