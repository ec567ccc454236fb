"""How often a reward model prefers what people prefer (paper 3.2, Table 4)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import DnsLabel, DnsName, Fraction, Word
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.uris import Uri

__all__ = ["BenchPart", "BenchSettings", "NamedScores"]


class BenchSettings(ApiModel):
    """What to compare, and how it is shown."""

    records: Annotated[Uri, POSITIONAL]
    """RankedResponse/v1 records: a file, a folder or a pattern."""
    title: Word = "RewardBench"
    """Title of the page."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid or lack a score; they are left out for all models."""


class NamedScores(ApiModel):
    """Scores of one model."""

    name: DnsLabel
    """Name of the model in the report."""
    uri: Uri
    """Its side-car, *.parquet: a path, file:// or s3://."""


class BenchPart(BenchSettings):
    """Compares scores with rankings: table, figures and page."""

    scores: Uri | None = None
    """Side-car with the scores of the model, *.parquet: a path, file:// or s3://."""
    scores_job: DnsName | None = None
    """StepJob in the same namespace whose scores these are, of step score or improve; the job waits
    until it has succeeded."""
    others: Annotated[
        tuple[NamedScores, ...], Strict(strict=False), MaxLen(32), ListOf("map", "name")
    ] = ()
    """Scores of other models for the same records, to compare with."""

    rules = (
        Rule(
            "has(self.scores) != has(self.scoresJob)",
            "give exactly one of scores and scoresJob",
            check=lambda self: (self.scores is None) != (self.scores_job is None),
        ),
        Rule(
            "!has(self.others) || self.others.all(one, one.name != 'scores')",
            "others must not be called scores, as the first model is",
            field="others",
            check=lambda self: all(one.name != "scores" for one in self.others),
        ),
    )
