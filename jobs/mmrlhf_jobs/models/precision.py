"""What numbers are computed in. Values are comparable only where this is the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from mmrlhf_jobs.models.loading import Attention, Dtype

__all__ = ["ROUNDING", "Precision"]

ROUNDING: Final[dict[Dtype, float]] = {
    "float64": 2.0**-44,
    "float32": 2.0**-15,
    "float16": 2.0**-6,
    "bfloat16": 2.0**-3,
}
"""By what share of a log-probability two passes over the same weights may differ, where batches of
other shapes take other kernels. 16 units in the last place (2^-7, 2^-10) for formats of 16 bits,
whose products are summed in float32 and rounded once a layer; 256 (2^-23, 2^-52) for wide ones,
where sums of thousands of products are taken in another order without being rounded after."""


@dataclass(frozen=True)
class Precision:
    """Number format and kernels of a pass.

    Weights and activations are of one format, in the passes before training as in training itself,
    on one process as on several; nothing is cast on the way (autocast).

    Attributes:
        dtype: Number format of weights and activations.
        attention: Attention of decoder and vision tower.
        engine: Engine that trains with the values: ``none`` or ``deepspeed``; empty where none
            does.
    """

    dtype: Dtype
    attention: Attention
    engine: str = ""

    def __str__(self) -> str:
        engine = f", engine {self.engine}" if self.engine else ""
        return f"{self.dtype}, attention {self.attention}{engine}"

    def tolerance(self, log_probs: Tensor) -> Tensor:
        """How much log-probabilities may differ between two passes over the same weights, nats.

        An error of d in the logits moves ``log p`` by at most ``2 d (1 - p) <= 2 d |log p|``, so
        the bound grows with the value; 1 is for values near 0.
        """
        return ROUNDING[self.dtype] * (1 + log_probs.abs())
