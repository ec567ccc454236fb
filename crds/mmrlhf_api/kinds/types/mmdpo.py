"""Types of MMDPOJob: align a model with ranked responses (paper section 4)."""

from __future__ import annotations

from typing import Literal

from mmrlhf_api.base import ApiModel
from mmrlhf_api.data import PairMode
from mmrlhf_api.job import TrainJob, TrainJobSpec
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName, Fraction, NonNegativeFloat, PositiveFloat, PositiveFraction
from mmrlhf_api.uris import Uri

__all__ = [
    "BetaPolicy",
    "MMDPOJob",
    "MMDPOSpec",
    "PreferenceObjective",
    "Reference",
    "RewardSource",
]


class BetaPolicy(ApiModel):
    """Scale of each pair's log-probability margin (paper 4.2)."""

    strategy: Literal["dynamic", "fixed", "implicit"] = "dynamic"
    """dynamic: beta = initial * (1 + w * (1 - exp(-k * max(delta, 0)))) with delta the reward
    margin of the pair (paper 4.2; needs spec.reward). fixed: initial throughout, which is plain
    DPO. implicit: beta-DPO by the model's own margins (paper appendix E, its ablation)."""
    initial: PositiveFloat = 0.1
    """Beta at margin 0 (paper 5.1: 0.1)."""
    w: NonNegativeFloat = 0.5
    """Largest relative rise of beta, for dynamic: beta stays in [initial, (1 + w) * initial]
    (paper F.2: 0.5)."""
    k: NonNegativeFloat = 0.5
    """How fast beta rises with the reward margin, per unit of reward, for dynamic (paper F.2:
    0.5)."""
    implicit_alpha: NonNegativeFloat = 0.6
    """How strongly beta follows the implicit margin, for implicit (beta-DPO's alpha)."""
    implicit_momentum: Fraction = 0.9
    """Momentum of the running mean and deviation of the implicit margin, 0 to 1, for implicit
    (beta-DPO: 0.9)."""
    implicit_keep_fraction: PositiveFraction = 0.8
    """Part of the pairs that beta-DPO's filter keeps, above 0 and at most 1, for implicit
    (beta-DPO: 0.8)."""


class PreferenceObjective(ApiModel):
    """What training minimises: preference loss plus sftWeight times the supervised loss."""

    pairs: PairMode = "all"
    """Pairs formed of a query's ranked responses: all with differing ranks (paper 4.2), hardest
    (the best response with the closest one below it), or extremes (best with worst)."""
    beta: BetaPolicy = BetaPolicy()
    """Scale of each pair's margin."""
    sft_weight: NonNegativeFloat = 0.25
    """Weight of the supervised loss on preferred responses. The paper searches 0, 0.1, 0.25, 0.5
    and 1.0 (paper 5.1); the released script uses 0.25."""
    shared_prefix: Literal["auto", "required", "off"] = "auto"
    """Compute prompt and media once for all responses of a query: auto where the model can,
    required fails where it cannot, off computes each response apart. The result is the same."""


class Reference(ApiModel):
    """Log-probabilities of the model before training."""

    log_probs_uri: Uri | None = None
    """Side-car with the reference log-probabilities of every response; without it, the job
    computes them first. One that does not belong to the model and data is an error."""


class RewardSource(ApiModel):
    """Where the reward of each response comes from: exactly one of the three."""

    scores_uri: Uri | None = None
    """Side-car with the reward score of every response."""
    model_uri: Uri | None = None
    """Reward model, the folder model/ of a RewardTrainJob's artifacts; it scores the responses
    before training, once for all runs with the same data."""
    job_name: DnsName | None = None
    """RewardTrainJob in the same namespace whose model scores the responses; the job waits until it
    has succeeded. Its artifacts must be within reach of this job's spec.artifacts."""

    rules = (
        Rule(
            "(has(self.scoresUri) ? 1 : 0) + (has(self.modelUri) ? 1 : 0)"
            " + (has(self.jobName) ? 1 : 0) == 1",
            "give exactly one of scoresUri, modelUri and jobName",
            check=lambda self: [self.scores_uri, self.model_uri, self.job_name].count(None) == 2,
        ),
    )


class MMDPOSpec(TrainJobSpec):
    """What to align, on what, and how."""

    objective: PreferenceObjective = PreferenceObjective()
    """What training minimises."""
    reference: Reference = Reference()
    """Log-probabilities of the model before training."""
    reward: RewardSource | None = None
    """Where rewards come from; needed when objective.beta.strategy is dynamic."""

    rules = (
        *TrainJobSpec.rules,
        Rule(
            "self.objective.beta.strategy != 'dynamic' || has(self.reward)",
            "objective.beta.strategy dynamic needs reward.scoresUri, reward.modelUri or "
            "reward.jobName; or set it to fixed (plain DPO)",
            field="reward",
            check=lambda self: self.objective.beta.strategy != "dynamic" or self.reward is not None,
            detail="objective.beta.strategy dynamic scales beta by reward margins and needs "
            "reward.scoresUri, reward.modelUri or reward.jobName; or set the strategy to fixed "
            "(plain DPO)",
        ),
    )


class MMDPOJob(TrainJob):
    """Aligns a multimodal model with ranked human preferences.

    MM-DPO (paper 4.2): all pairs of a query, with beta scaled by the reward margin of each pair.
    """

    kind: Literal["MMDPOJob"] = "MMDPOJob"
    """Kind of the job."""
    spec: MMDPOSpec
    """What to do."""
