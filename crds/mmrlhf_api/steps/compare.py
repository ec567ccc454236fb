"""Two models' responses to the same queries, compared by a judge of pairs (paper 5.2)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_api.models import DType
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsName, Fraction, PositiveInt, Text, Word
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.uris import Uri

__all__ = ["ComparePart", "CompareSettings"]


class CompareSettings(MediaFolders):
    """What to compare, and how."""

    records: Annotated[Uri, POSITIONAL]
    """Query/v1 or RankedResponse/v1, held out: a file, a folder or a pattern."""
    candidate_model: Word | None = None
    """Name of the candidate, where its queries have responses of several models."""
    champion_model: Word | None = None
    """Name of the champion, where its queries have responses of several models."""
    prompt: Text | None = None
    """What a server is asked, with {question}, {first} and {second}, in place of the question of
    our own. It must ask for one word: A, B or TIE."""
    max_frames: PositiveInt = 8
    """Most frames of a video that a server is shown, evenly spread."""
    dtype: DType = "float32"
    """Type of the weights of a reward model."""
    max_error_fraction: Fraction = 0.02
    """Share of the queries that may stay without a verdict in either place."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no queries; they are left out."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.prompt)"
            " || (self.prompt.contains('{first}') && self.prompt.contains('{second}'))",
            "prompt must hold first and second in braces, where the responses go",
            field="prompt",
            check=lambda self: (
                self.prompt is None or ("{first}" in self.prompt and "{second}" in self.prompt)
            ),
        ),
    )


class ComparePart(CompareSettings):
    """Compares two models' responses in both orders, by a server or a reward model."""

    candidate: Uri | None = None
    """Query/v1 with the candidate's responses: a file, a folder or a pattern."""
    candidate_job: DnsName | None = None
    """StepJob in the same namespace whose responses the candidate's are, of step answers or
    responses; the job waits until it has succeeded."""
    champion: Uri
    """Query/v1 with the champion's responses: a file, a folder or a pattern."""
    endpoint: EndpointSettings | None = None
    """Server that judges pairs."""
    reward: Uri | None = None
    """Folder of a reward model that judges by its scores: a path, file:// or s3://."""

    rules = (
        *CompareSettings.rules,
        Rule(
            "has(self.candidate) != has(self.candidateJob)",
            "give exactly one of candidate and candidateJob",
            check=lambda self: (self.candidate is None) != (self.candidate_job is None),
        ),
        Rule(
            "has(self.endpoint) != has(self.reward)",
            "give exactly one of endpoint and reward",
            check=lambda self: (self.endpoint is None) != (self.reward is None),
        ),
    )
