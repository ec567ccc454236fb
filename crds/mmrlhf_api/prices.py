"""What a GPU-hour costs, by the pool of nodes: a table of the admin's; pure."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen
from pydantic import Field

from mmrlhf_api.base import ApiModel, ServerModel
from mmrlhf_api.scalars import NonNegativeFloat, Word

__all__ = ["GpuPrice", "Prices"]


class GpuPrice(ServerModel):
    """What a GPU-hour of one job costs."""

    gpu_hour: NonNegativeFloat
    """Price of one GPU-hour."""
    currency: Annotated[str, MaxLen(16)] = ""
    """What it is paid in, such as EUR."""


class Prices(ApiModel):
    """What a GPU-hour costs."""

    currency: Annotated[str, MaxLen(16)] = ""
    """What it is paid in, such as EUR."""
    gpu_hour: NonNegativeFloat | None = None
    """Price of one GPU-hour where the pool has none of its own."""
    pools: Annotated[dict[Word, NonNegativeFloat], MaxLen(256)] = Field(default_factory=dict)
    """Price of one GPU-hour by spec.nodePool."""

    def of(self, pool: object) -> float | None:
        """Price of a GPU-hour of a job by its spec.nodePool; None where the table has none."""
        return self.gpu_hour if pool is None else self.pools.get(str(pool), self.gpu_hour)

    def at(self, pool: object) -> GpuPrice | None:
        """The same as a job's status has it."""
        price = self.of(pool)
        return None if price is None else GpuPrice(gpu_hour=price, currency=self.currency)

    @property
    def heading(self) -> str:
        """Heading of its column."""
        return f"PRICE ({self.currency})" if self.currency else "PRICE"

    def amount(self, paid: float) -> str:
        """A sum, with what it is paid in."""
        return f"{paid:.2f} {self.currency}".rstrip()
