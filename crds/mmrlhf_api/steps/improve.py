"""A policy's own responses, ranked by a reward model (paper 5.4)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from mmrlhf_api.models import DType, TemplateOwner
from mmrlhf_api.scalars import (
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    Word,
)
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.uris import Uri

__all__ = ["ImprovePart", "ImproveSettings"]


class ImproveSettings(MediaFolders):
    """Which policy is to answer what, and who judges it."""

    queries: Annotated[Uri, POSITIONAL]
    """Query/v1 or RankedResponse/v1: a file, a folder or a pattern."""
    policy: Uri
    """Folder of the model to sample from."""
    reward: Uri
    """Folder of the reward model."""
    policy_name: Word | None = None
    """Name of the policy in the records; without it, that of its folder."""
    chat_template: TemplateOwner = "processor"
    """Whose chat template asks the policy, where processor and tokenizer differ."""
    samples: Annotated[int, Ge(2), Le(16)] = 8
    """Responses a query (paper 5.4: 8)."""
    temperature: PositiveFloat = 0.8
    """Sampling temperature."""
    top_p: Annotated[float, Gt(0.0), Le(1.0)] = 1.0
    """Nucleus sampling; 1 samples from all tokens."""
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


class ImprovePart(ImproveSettings):
    """Ranks a policy's own responses by a reward model."""
