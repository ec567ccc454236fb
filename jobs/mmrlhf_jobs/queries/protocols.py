"""What a training needs of a query and of what builds it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.models.adapter import EncodedGroup

__all__ = ["Builder", "Q", "Q_co", "TrainingQuery"]


class TrainingQuery(Protocol):
    """One query, ready for the model and the objective."""

    @property
    def name(self) -> str:
        """What messages call it: file, row and record."""

    @property
    def encoded(self) -> EncodedGroup:
        """Token ids and media."""


Q = TypeVar("Q", bound=TrainingQuery)
"""Query of a kind."""


Q_co = TypeVar("Q_co", bound=TrainingQuery, covariant=True)


class Builder(Protocol[Q_co]):
    """Makes queries of records."""

    def build(self, record: RankedResponse) -> Q_co:
        """Load media, tokenise, and look up what else the objective needs."""
