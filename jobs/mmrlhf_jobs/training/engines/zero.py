"""How many numbers DeepSpeed's ZeRO has in hand at once; its settings and estimates share them."""

from __future__ import annotations

from typing import Final

__all__ = ["LIVE_NUMBERS", "reduce_bucket"]

LIVE_NUMBERS: Final = 1_000_000_000
"""Numbers of gathered weights that stage 3 holds at most (``stage3_max_live_parameters``, its
default)."""
_BUCKET: Final = 500_000_000
"""DeepSpeed's default of ``reduce_bucket_size``."""


def reduce_bucket(trained: int) -> int:
    """Numbers of the buffer in which gradients are summed.

    DeepSpeed takes the memory of all of it, 1 GB in bfloat16, also where an adapter has but a few
    million numbers: so never more than there are, which are summed at once as before.

    Args:
        trained: Numbers that are trained.
    """
    return min(max(trained, 1), _BUCKET)
