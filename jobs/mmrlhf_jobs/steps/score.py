"""A reward model's scores for any data set.

Under torchrun the queries are shared among the processes. The scores appear at ``out`` when all are
there; until then the parts that are done lie in ``<out>.parts``, and the same step goes on.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from mmrlhf_api import DataSource
from mmrlhf_api.steps.score import ScorePart, ScoreSettings
from mmrlhf_jobs.steps.spec import FeatureSettings, Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "ScoreSpec"]


class ScoreSpec(StepSpec, ScoreSettings):
    """What to score with what."""

    step: Literal["score"] = "score"
    """Name of the step."""
    model: Place
    """Folder of a reward model."""
    out: Place
    """Side-car to write, *.parquet."""
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
            count=lambda done: context.count(done, dataset.records.num_records),
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


def _of_job(part: ScorePart, place: JobPlace) -> ScoreSpec:
    if part.model is None:
        raise place.unresolved("score.modelJob", part.model_job, "score.model")
    return ScoreSpec(
        **place.settings(ScoreSettings, part),
        model=part.model,
        out=place.at("scores.parquet"),
        resources=place.features,
    )


STEP = Step(
    "Score all responses of a data set with a reward model.",
    ScoreSpec,
    _run,
    shared=True,
    of_job=_of_job,
)
