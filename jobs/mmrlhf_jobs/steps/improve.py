"""Self-improvement: a policy's own responses, ranked by a reward model (paper 5.4).

Under torchrun the processes of one machine share the queries; machines can share a data set by
``part``.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator

from mmrlhf_api.steps.improve import ImprovePart, ImproveSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.improvement.plan import SamplingPlan
from mmrlhf_jobs.steps.spec import FeatureSettings, JournaledSpec, Place
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "ImproveSpec"]


def _check_part(text: str) -> str:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not (found and int(found[1]) < int(found[2])):
        raise ValueError(f"{text!r} is not like 0/4, the first of four parts")
    return text


class ImproveSpec(JournaledSpec, ImproveSettings):
    """Which policy is to answer what, and who judges it."""

    step: Literal["improve"] = "improve"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """RankedResponse/v1 to write, *.jsonl or *.parquet."""
    scores: Place | None = None
    """Side-car to write; without it, OUT.scores.parquet."""
    part: Annotated[str, AfterValidator(_check_part)] = "0/1"
    """Only these rows: 0/4 is every fourth from the first on."""
    resources: FeatureSettings = FeatureSettings()
    """What is kept of the work of vision towers, for both models together."""

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
            journal=partial(context.open_journal, spec.journal_of(spec.out)),
        ),
        context.gang,
        storage=context.storage,
        features=kept,
    )
    report = {**done.to_dict(), "visionFeatures": dict(kept.record())}
    if context.gang.runtime.is_main:
        context.show(report)
    return Outcome(spec.out, report)


def _of_job(part: ImprovePart, place: JobPlace) -> ImproveSpec:
    return ImproveSpec(
        **place.settings(ImproveSettings, part),
        out=place.at("records.jsonl"),
        scores=place.at("scores.parquet"),
        resources=place.features,
    )


STEP = Step(
    "Rank a policy's own responses by a reward model (paper 5.4).",
    ImproveSpec,
    _run,
    shared=True,
    of_job=_of_job,
)
