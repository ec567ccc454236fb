"""Whether a candidate may take the champion's place: what it is judged by, and what moves."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from annotated_types import MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import Matching
from mmrlhf_api.steps.gate_rules import GateRules
from mmrlhf_api.uris import Uri

__all__ = ["ALIAS_PATTERN", "AliasName", "GatePart", "GateSettings", "alias_uri", "is_alias"]

_PART = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
ALIAS_PATTERN = f"^{_PART}(/{_PART})*$"
"""Names of aliases."""
AliasName = Annotated[
    str,
    MinLen(1),
    MaxLen(253),
    Matching(
        ALIAS_PATTERN,
        "lower-case letters, digits, '-' and '.', in parts with '/' between them, such as"
        " default/vqa",
    ),
]
"""Name of an alias."""
_FILE: Final = re.compile(rf"(^|/)aliases/{_PART}(/{_PART})*\.json$")
Files = Annotated[tuple[Uri, ...], Strict(strict=False), MaxLen(16), ListOf("atomic")]


def alias_uri(store: str, name: str) -> str:
    """Where an alias of a store is: the one object that a move of it changes."""
    return f"{store.rstrip('/')}/aliases/{name}.json"


def is_alias(uri: str) -> bool:
    """Whether a URI is that of an alias, and not of what it stands for."""
    return _FILE.search(uri) is not None


class GateSettings(ApiModel):
    """By what to judge, and what to move."""

    candidate: Files = ()
    """Results of the candidate, GateResults/v1; repeatable, a file a data set."""
    champion: Files = ()
    """Results of the champion on the same data; repeatable."""
    verdicts: Uri | None = None
    """What a judge of pairs said of both, GateVerdicts/v1."""
    bench: Uri | None = None
    """RankedResponse/v1 records, to compare two reward models by what people prefer."""
    candidate_scores: Uri | None = None
    """Side-car with the candidate's scores of them."""
    champion_scores: Uri | None = None
    """Side-car with the champion's scores of them."""
    store: Uri | None = None
    """Folder of artifacts that holds the alias; of a job, its own artifacts without it."""
    alias: AliasName | None = None
    """Name of the alias to move if the candidate is promoted, such as default/vqa."""
    artifact: Uri | None = None
    """The candidate itself, a finished artifact, for the alias to stand for."""

    rules = (
        Rule(
            "has(self.bench) == has(self.candidateScores)",
            "bench and candidateScores need each other",
            check=lambda self: (self.bench is None) == (self.candidate_scores is None),
        ),
        Rule(
            "!has(self.championScores) || has(self.bench)",
            "championScores needs bench",
            field="championScores",
            check=lambda self: self.champion_scores is None or self.bench is not None,
            detail="needs bench",
        ),
        Rule(
            "has(self.alias) == has(self.artifact)",
            "alias and artifact need each other",
            check=lambda self: (self.alias is None) == (self.artifact is None),
        ),
        Rule(
            "!has(self.store) || has(self.alias)",
            "store needs alias: it is where that one is",
            field="store",
            check=lambda self: self.store is None or self.alias is not None,
            detail="needs alias: it is where that one is",
        ),
    )


class GatePart(GateSettings):
    """Judges a candidate, and promotes it or does not."""

    require: GateRules
    """What the candidate must show."""
    on_not_promoted: Literal["Succeed", "Fail"] = "Succeed"
    """What becomes of the job when the candidate is rejected or cannot be judged: it succeeds, as
    either is an answer, or fails with reason NotPromoted, so that nothing that waits for it goes
    on. The alias stays where it is either way."""
