"""Which job a job names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrlhf_api import KINDS, MMDPOJob, RewardTrainJob
from mmrlhf_operator.state.store import Key

__all__ = ["dependency"]

_REWARD = KINDS[RewardTrainJob.model_fields["kind"].default]


def dependency(body: Mapping[str, Any]) -> Key | None:
    """Return the job that a job names, valid or not; None when it names none."""
    if body.get("kind") != MMDPOJob.model_fields["kind"].default:
        return None
    reward = (body.get("spec") or {}).get("reward")
    name = reward.get("jobName") if isinstance(reward, Mapping) else None
    if not isinstance(name, str) or not name:
        return None
    return Key(_REWARD.name, body["metadata"]["namespace"], name)
