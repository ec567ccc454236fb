"""What a policy answers, for those who judge it (paper 5.2)."""

from __future__ import annotations

from typing import Annotated

from mmrlhf_api.models import DType, TemplateOwner
from mmrlhf_api.scalars import Fraction, PositiveInt, Word
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.steps.policy import PolicySource
from mmrlhf_api.uris import Uri

__all__ = ["AnswersPart", "AnswersSettings"]


class AnswersSettings(MediaFolders):
    """What to ask, and how to answer."""

    records: Annotated[Uri, POSITIONAL]
    """Query/v1 or RankedResponse/v1: a file, a folder or a pattern."""
    name: Word | None = None
    """Name of the policy in the records; without it, that of its folder."""
    chat_template: TemplateOwner = "processor"
    """Whose chat template asks the policy, where processor and tokenizer differ."""
    max_new_tokens: PositiveInt = 2048
    """Most tokens of an answer; a longer one is cut off, and counted."""
    batch_size: PositiveInt = 1
    """Queries answered at once."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid; they are left out."""
    dtype: DType = "float32"
    """Type of the weights."""


class AnswersPart(PolicySource, AnswersSettings):
    """Answers queries with a policy, greedily."""
