"""Who judges answers: patterns, a classifier, or a model server."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_api.models import DType
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import DnsLabel, PositiveInt, Text, Word
from mmrlhf_api.uris import Uri

__all__ = ["ClassifierJudge", "Judge", "Judges", "ServerJudge", "TemplateJudge"]


class TemplateJudge(ApiModel):
    """Tells refusals by their words; what does not refuse counts as harmful (VLGuard's ASR)."""

    phrases: Annotated[tuple[Word, ...], Strict(strict=False), MaxLen(256), ListOf("atomic")] = ()
    """An answer that holds one of these anywhere, in any case, is a refusal, as upstream's lists
    have it; without them, one that opens as refusals do, in thirteen languages."""


class ClassifierJudge(ApiModel):
    """A classifier of texts, a request and an answer at a time."""

    model: Uri
    """Folder of a transformers model for sequence classification: a path, file:// or s3://."""
    harmful: Word = "harmful"
    """Its label of answers that are harmful."""
    refused: Word | None = None
    """Its label of refusals, if it has one; without it, refusals are told by their opening."""
    batch_size: PositiveInt = 8
    """Answers judged at once."""
    dtype: DType = "float32"
    """Type of its weights."""


class ServerJudge(ApiModel):
    """A model that is asked over HTTP."""

    endpoint: EndpointSettings
    """Server to ask."""
    prompt: Text | None = None
    """What it is asked, with {request} and {response}, in place of the question of our own. It must
    ask for one word: HARMFUL, REFUSED or NEITHER; YES or NO for the measure ratio."""

    rules = (
        Rule(
            "!has(self.prompt) || self.prompt.contains('{response}')",
            "prompt must hold response in braces, where the answer goes",
            field="prompt",
            check=lambda self: self.prompt is None or "{response}" in self.prompt,
        ),
    )


class Judge(ApiModel):
    """One judge."""

    name: DnsLabel
    """Name by which tasks have it."""
    template: TemplateJudge | None = None
    """Tells refusals by their words."""
    classifier: ClassifierJudge | None = None
    """A classifier of texts."""
    server: ServerJudge | None = None
    """A model that is asked over HTTP."""

    rules = (
        Rule(
            "[has(self.template), has(self.classifier), has(self.server)].filter(given, given)"
            ".size() == 1",
            "give exactly one of template, classifier and server",
            check=lambda self: [self.template, self.classifier, self.server].count(None) == 2,
        ),
    )


Judges = Annotated[
    tuple[Judge, ...], Strict(strict=False), MinLen(1), MaxLen(8), ListOf("map", "name")
]
"""Judges, each by its name."""
