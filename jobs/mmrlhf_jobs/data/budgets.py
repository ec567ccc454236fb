"""How many rows may be at fault."""

from __future__ import annotations

__all__ = ["allowed_faults"]


def allowed_faults(max_fraction: float, rows: int) -> int:
    """Rows at fault that a share of all rows allows."""
    # 0.29 * 100 is a little less than 29.
    return int(max_fraction * rows + 1e-6)
