"""How often a policy finds likelier what people prefer, of data that it was not trained on."""

from __future__ import annotations

from typing import Annotated

from mmrlhf_api.models import DType, TemplateOwner
from mmrlhf_api.scalars import Fraction, PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.steps.policy import PolicySource
from mmrlhf_api.uris import Uri

__all__ = ["PreferencesPart", "PreferencesSettings"]


class PreferencesSettings(MediaFolders):
    """What to ask, and how."""

    records: Annotated[Uri, POSITIONAL]
    """RankedResponse/v1, held out: a file, a folder or a pattern."""
    chat_template: TemplateOwner = "processor"
    """Whose chat template asks the policy, where processor and tokenizer differ."""
    batch_size: PositiveInt = 1
    """Queries that go through the policy at once, each with all its responses."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid; they are left out."""
    dtype: DType = "float32"
    """Type of the weights."""


class PreferencesPart(PolicySource, PreferencesSettings):
    """Says how often a policy finds likelier what people prefer."""
