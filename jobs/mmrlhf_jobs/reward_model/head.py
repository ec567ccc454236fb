"""The scoring head of a reward model: from a hidden state to a score (paper 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.exact import ExactLinear
from mmrlhf_jobs.models.weights import Weight

__all__ = ["HeadKind", "RewardHead"]

HeadKind = Literal["linear", "mlp"]


class RewardHead(nn.Module):
    """One number for each hidden state, in float32 whatever the backbone is in.

    bfloat16 would round a score of 8 to the next 1/16, and make ties of margins.

    Args:
        kind: ``linear``, the paper's head, or ``mlp``, Linear-tanh-Linear as in the released code.
        hidden_size: Size H of the decoder's hidden states.
        seed: Seed of the first weights: normal with deviation ``1 / sqrt(H + 1)``
            (arXiv 2009.01325), so that scores start around 1 in size.
    """

    def __init__(self, kind: HeadKind, hidden_size: int, *, seed: int = 0) -> None:
        super().__init__()
        self.kind = kind
        # A bias would cancel in every margin.
        self.out = ExactLinear(hidden_size, 1, bias=False)
        if kind == "mlp":
            self.inner = ExactLinear(hidden_size, hidden_size)
            nn.init.zeros_(self.inner.bias)
        generator = torch.Generator().manual_seed(seed)
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=(hidden_size + 1) ** -0.5, generator=generator)

    def forward(self, hidden: Tensor) -> Tensor:
        """Scores ``[N]`` of hidden states ``[N, H]``, float32 (float64 for such weights)."""
        states = torch.tanh(self.inner(hidden)) if self.kind == "mlp" else hidden
        scores: Tensor = self.out(states)[:, 0]
        return scores

    @staticmethod
    def save(weights: Mapping[str, Weight], path: Path) -> None:
        """Write the weights of a head, by their names in it."""
        save_file({name: one.read().cpu().contiguous() for name, one in weights.items()}, path)

    @classmethod
    def load(cls, path: Path, kind: HeadKind, hidden_size: int) -> RewardHead:
        """Read what `save` wrote.

        Raises:
            ModelError: The file is missing, damaged, or of another head.
        """
        head = cls(kind, hidden_size)
        try:
            head.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{path}: no {kind} head for hidden states of {hidden_size}: {error}"
            ) from error
        return head
