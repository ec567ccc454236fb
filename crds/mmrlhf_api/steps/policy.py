"""Which policy a step is about."""

from __future__ import annotations

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName
from mmrlhf_api.uris import Uri

__all__ = ["PolicySource"]


class PolicySource(ApiModel):
    """Where a policy comes from."""

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
