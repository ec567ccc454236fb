"""Scores of responses and log-probabilities of their critiques, from one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.forward.responses import GroupModel
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter
from mmrlhf_jobs.reward_model.head import RewardHead

__all__ = ["ResponseRewards", "RewardScorer"]


@dataclass(frozen=True)
class ResponseRewards:
    """Scores and critiques of N responses, in the order of groups and responses.

    Attributes:
        scores: ``[N]`` score after the critique, float32 (float64 for such a model).
        critique_sums: ``[N]`` summed log-probability of the critique and the terminal token, nats;
            0 for a response without a critique.
        critique_lengths: ``[N]`` int64 number of tokens summed.
        tokens_forwarded: Token places that went through the decoder, padding included.
        real_tokens: The same without padding.
    """

    scores: Tensor
    critique_sums: Tensor
    critique_lengths: Tensor
    tokens_forwarded: int
    real_tokens: int


class RewardScorer(GroupModel):
    """Reads critiques by teacher forcing (paper 3.2): critique and score from the same pass.

    With a shared prefix a query of n responses costs ``P + sum(R_i)`` tokens, R with the critique.

    Args:
        model: The backbone, whose output layer is the critique head.
        adapter: Adapter of its family.
        head: The scoring head.
        shared_prefix: Prompt once per query instead of once per response.
        chunk_tokens: Critique tokens whose logits exist at a time; None: by the device's memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: VLMAdapter,
        head: RewardHead,
        *,
        shared_prefix: bool,
        chunk_tokens: int | None = None,
    ) -> None:
        super().__init__(model, adapter, shared_prefix=shared_prefix, chunk_tokens=chunk_tokens)
        self.reward_head = head

    def forward(self, groups: Sequence[EncodedGroup]) -> ResponseRewards:
        """Score groups that `CritiqueTemplate.encode` made.

        Raises:
            TrainingError: A response does not end with the terminal token, where the score is read.
        """
        rows = self.pack(groups)
        last = rows.input_ids.flatten()[rows.ends]
        if not bool((last == self.adapter.chat.terminal_id).all()):
            raise TrainingError(
                f"a sequence ends with token {int(last[last != self.adapter.chat.terminal_id][0])} "
                f"and not with {self.adapter.chat.terminal_token}, where the score is read"
            )
        hidden = self.hidden_states(groups, rows)
        device = hidden.device
        scores = self.reward_head(hidden.index_select(0, rows.ends.to(device)))
        predicting = hidden.index_select(0, rows.sources.to(device))
        log_probs = self._log_probs(predicting, rows.targets.to(device))
        parts = log_probs.split(rows.lengths.tolist())
        return ResponseRewards(
            scores=scores,
            critique_sums=torch.stack([part.sum() for part in parts]),
            critique_lengths=rows.lengths.to(device),
            tokens_forwarded=rows.input_ids.numel(),
            real_tokens=rows.real_tokens,
        )
