"""The losses, as pure functions of log-probabilities and scores.

They return sums and the counts to divide by, so that a step over several processes can be divided
by the counts of the whole step (ADR 0003). Float64 in, float64 out; everything else is computed in
float32.

- Preference (paper 4.2; DPO): `index_pairs`, `beta_fixed`, `beta_dynamic`, `implicit_beta`,
  `preference_loss`, `preference_metrics`, and `supervised_loss` on the chosen responses.
- Reward model (paper 3.2): `score_loss`, `center_loss`, `critique_loss`.
"""

from __future__ import annotations

from mmrlhf_jobs.objectives.metrics import PreferenceMetrics, preference_metrics
from mmrlhf_jobs.objectives.preference import PreferenceLoss, index_pairs, preference_loss
from mmrlhf_jobs.objectives.reward import (
    CritiqueLoss,
    ScoreLoss,
    center_loss,
    critique_loss,
    score_loss,
)
from mmrlhf_jobs.objectives.scaling import (
    ImplicitBeta,
    ImplicitState,
    beta_dynamic,
    beta_fixed,
    implicit_beta,
)
from mmrlhf_jobs.objectives.supervised import SupervisedLoss, supervised_loss, win_counts

__all__ = [
    "CritiqueLoss",
    "ImplicitBeta",
    "ImplicitState",
    "PreferenceLoss",
    "PreferenceMetrics",
    "ScoreLoss",
    "SupervisedLoss",
    "beta_dynamic",
    "beta_fixed",
    "center_loss",
    "critique_loss",
    "implicit_beta",
    "index_pairs",
    "preference_loss",
    "preference_metrics",
    "score_loss",
    "supervised_loss",
    "win_counts",
]
