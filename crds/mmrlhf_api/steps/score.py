"""Scores of a reward model for any data set (paper 3.2)."""

from __future__ import annotations

from typing import Literal

from mmrlhf_api.base import ApiModel
from mmrlhf_api.models import DType
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName, Fraction, NonNegativeFloat, PositiveInt, Seed
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.uris import Uri

__all__ = ["InferenceChanges", "ScorePart", "ScoreSettings"]


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


class ScoreSettings(MediaFolders):
    """What to score, and how."""

    data: Uri
    """RankedResponse/v1 records: a file or a folder."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid and are left out then."""
    inference: InferenceChanges = InferenceChanges()
    """How to score, where not as in the model's own job."""
    dtype: DType = "float32"
    """Type of the weights."""
    batch_tokens: PositiveInt = 65_536
    """Places of the cache that a batch may take; 4 GB for 7 billion weights."""
    seed: Seed = 0
    """Seed of sampled critiques."""


class ScorePart(ScoreSettings):
    """Scores all responses of a data set with a reward model."""

    model: Uri | None = None
    """Folder of a reward model: a path, file:// or s3://."""
    model_job: DnsName | None = None
    """RewardTrainJob in the same namespace whose model scores; the job waits until it has
    succeeded. Its artifacts must be within reach of spec.artifacts."""

    rules = (
        Rule(
            "has(self.model) != has(self.modelJob)",
            "give exactly one of model and modelJob",
            check=lambda self: (self.model is None) != (self.model_job is None),
        ),
    )
