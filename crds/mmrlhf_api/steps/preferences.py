"""How often a policy finds likelier what people prefer, of data that it was not trained on."""

from __future__ import annotations

from typing import Annotated

from mmrlhf_api.models import DType, TemplateOwner
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName, Fraction, PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
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


class PreferencesPart(PreferencesSettings):
    """Says how often a policy finds likelier what people prefer."""

    policy: Uri | None = None
    """Folder of the policy, or the file of an alias, aliases/NAME.json below its store, for what
    that stands for when the step begins: a path, file:// or s3://."""
    policy_job: DnsName | None = None
    """MMDPOJob in the same namespace whose model it is; the job waits until it has succeeded. Its
    artifacts must be within reach of spec.artifacts."""

    rules = (
        Rule(
            "has(self.policy) != has(self.policyJob)",
            "give exactly one of policy and policyJob",
            check=lambda self: (self.policy is None) != (self.policy_job is None),
        ),
    )
