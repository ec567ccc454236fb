"""What a policy answers, for those who judge it (paper 5.2)."""

from __future__ import annotations

from typing import Annotated

from mmrlhf_api.models import DType, TemplateOwner
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName, Fraction, PositiveInt, Word
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
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


class AnswersPart(AnswersSettings):
    """Answers queries with a policy, greedily."""

    policy: Uri | None = None
    """Folder of the policy, or the file of an alias, aliases/NAME.json below its store, for what
    that stands for when the step begins: a path, file:// or s3://."""
    policy_job: DnsName | None = None
    """MMDPOJob in the same namespace whose model answers; the job waits until it has succeeded. Its
    artifacts must be within reach of spec.artifacts."""

    rules = (
        Rule(
            "has(self.policy) != has(self.policyJob)",
            "give exactly one of policy and policyJob",
            check=lambda self: (self.policy is None) != (self.policy_job is None),
        ),
    )
