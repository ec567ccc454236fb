"""Self-improvement: a policy's own responses, ranked by a reward model (paper 5.4).

Under torchrun the processes of one machine share the queries; machines can share a data set by
``part``.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Strict, model_validator

from mmrlhf_api.models import DType, TemplateOwner
from mmrlhf_api.scalars import Fraction, NonNegativeFloat, PositiveInt, Seed
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_jobs.improvement.plan import SamplingPlan
from mmrlhf_jobs.steps.spec import FeatureSettings, JournaledSpec, Place
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "ImproveSpec"]


def _check_part(text: str) -> str:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not (found and int(found[1]) < int(found[2])):
        raise ValueError(f"{text!r} is not like 0/4, the first of four parts")
    return text


class ImproveSpec(JournaledSpec):
    """Which policy is to answer what, and who judges it."""

    step: Literal["improve"] = "improve"
    """Name of the step."""
    queries: Annotated[Place, POSITIONAL]
    """Query/v1 or RankedResponse/v1: a file, a folder or a pattern."""
    out: Annotated[Place, POSITIONAL]
    """RankedResponse/v1 to write, *.jsonl or *.parquet."""
    policy: Place
    """Folder of the model to sample from."""
    reward: Place
    """Folder of the reward model."""
    scores: Place | None = None
    """Side-car to write; without it, OUT.scores.parquet."""
    media_root: Place | None = None
    """Folder of the media; without it, that of the queries."""
    allowed_media_roots: Annotated[
        tuple[Place, ...], Strict(strict=False), Flag("--allowed-media-root")
    ] = ()
    """Another folder that media may be in; repeatable."""
    policy_name: Place | None = None
    """Name of the policy in the records; without it, that of its folder."""
    chat_template: TemplateOwner = "processor"
    """Whose chat template asks the policy, where processor and tokenizer differ."""
    samples: PositiveInt = 8
    """Responses a query, 2 to 16 (paper 5.4: 8)."""
    temperature: NonNegativeFloat = 0.8
    """Sampling temperature, above 0."""
    top_p: NonNegativeFloat = 1.0
    """Nucleus sampling, above 0; 1 samples from all tokens."""
    max_new_tokens: PositiveInt = 1024
    """Most tokens of a response."""
    seed: Seed = 0
    """Seed of the sampling."""
    min_spread: NonNegativeFloat = 0.0
    """The best score of a query must be more than this above the worst."""
    batch_size: PositiveInt = 1
    """Queries sampled at once."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid; they are left out."""
    dtype: DType = "float32"
    """Type of the weights of both models."""
    part: Annotated[str, AfterValidator(_check_part)] = "0/1"
    """Only these rows: 0/4 is every fourth from the first on."""
    resources: FeatureSettings = FeatureSettings()
    """What is kept of the work of vision towers, for both models together."""

    @model_validator(mode="after")
    def _can_be_sampled(self) -> Self:
        self.plan()
        return self

    def plan(self) -> SamplingPlan:
        """How to sample."""
        return SamplingPlan(
            samples=self.samples,
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
        )


def _run(spec: ImproveSpec, context: StepContext) -> Outcome:
    """Sample, score and rank.

    Raises:
        InputError: The queries or a model is wrong.
        StorageError: A file cannot be written.
        Interrupted: The step was asked to stop; what is done is kept.
    """
    from mmrlhf_jobs.improvement.improvement import Improvement, improve

    part, parts = map(int, spec.part.split("/"))
    kept = context.keep_features(spec.resources.limits())
    done = improve(
        Improvement(
            queries=spec.queries,
            media_root=spec.media_root,
            allowed_media_roots=spec.allowed_media_roots,
            part=(part, parts),
            policy=spec.policy,
            policy_name=spec.policy_name or spec.policy.rstrip("/").rpartition("/")[2],
            chat_template=spec.chat_template,
            reward=spec.reward,
            dtype=spec.dtype,
            plan=spec.plan(),
            min_spread=spec.min_spread,
            batch_size=spec.batch_size,
            max_invalid_fraction=spec.max_invalid_fraction,
            out=spec.out,
            scores=spec.scores or f"{spec.out}.scores.parquet",
            journal=spec.journal_of(spec.out),
        ),
        context.gang,
        storage=context.storage,
        features=kept,
    )
    report = {**done.to_dict(), "visionFeatures": dict(kept.record())}
    if context.gang.runtime.is_main:
        context.show(report)
    return Outcome(spec.out, report)


STEP = Step(
    "Rank a policy's own responses by a reward model (paper 5.4).", ImproveSpec, _run, shared=True
)
