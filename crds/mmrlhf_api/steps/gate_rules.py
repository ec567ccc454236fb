"""What a candidate must show, the same for every round: of a file, or of a job."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import Fraction, PositiveFloat, PositiveInt, Seed, Word

__all__ = ["FEWEST", "AlarmRules", "Criterion", "GateRules", "JudgeRules", "SafetyRules"]

FEWEST: Final = 50
"""Queries under which bounds of a mean are not to be trusted."""
_ALPHA = 0.05
_RESAMPLES = 10_000
_MOST_CRITERIA = 32
_BEYOND_BOUND = 20
"""Resamples that must lie beyond a bound."""


class Criterion(ApiModel):
    """One thing that the candidate must be better or no worse in, on the champion's queries."""

    name: Word
    """What the report calls it."""
    measure: Literal["verdicts", "outcomes", "mean"]
    """verdicts: what a judge of pairs said; outcomes: in how many queries is the figure higher;
    mean: how much higher is it."""
    figure: Word | None = None
    """Figure of the results, such as reward; none for verdicts."""
    lower_is_better: bool = False
    """Whether less of the figure is better."""
    goal: Literal["better", "notWorse", "limit"] = "better"
    """What must be shown; limit compares with nobody."""
    margin: PositiveFloat | None = None
    """For notWorse, what may be lost: of the queries (0.02 is 2 %), or in the figure's unit."""
    limit: float | None = None
    """What the candidate's own mean must be shown to reach, or not to pass where less is better."""
    min_queries: PositiveInt | None = None
    """Queries without which there is no judgement; by default what the goal needs."""

    rules = (
        Rule(
            "has(self.figure) == (self.measure != 'verdicts')",
            "figure is what outcomes and mean need; verdicts have none",
            field="figure",
            check=lambda self: (self.figure is None) == (self.measure == "verdicts"),
        ),
        Rule(
            "has(self.margin) == (has(self.goal) && self.goal == 'notWorse')",
            "margin is what notWorse needs; no other goal has one",
            check=lambda self: (self.margin is None) == (self.goal != "notWorse"),
        ),
        Rule(
            "!has(self.margin) || self.measure == 'mean' || self.margin < 1.0",
            "margin is a share of the queries, below 1, but for a mean",
            check=lambda self: self.margin is None or self.measure == "mean" or self.margin < 1,
        ),
        Rule(
            "!has(self.goal) || self.goal != 'limit' || has(self.limit)",
            "limit is missing: the goal is limit",
            field="limit",
            check=lambda self: self.goal != "limit" or self.limit is not None,
        ),
        Rule(
            "!has(self.limit) || has(self.figure)",
            "limit needs a figure; verdicts have none",
            field="limit",
            check=lambda self: self.limit is None or self.figure is not None,
        ),
        Rule(
            f"!has(self.minQueries) || self.measure != 'mean' || self.minQueries >= {FEWEST}",
            f"minQueries must be {FEWEST} or more for a mean",
            field="minQueries",
            check=lambda self: self.measure != "mean" or (self.min_queries or FEWEST) >= FEWEST,
        ),
    )


class JudgeRules(ApiModel):
    """When what the judge of pairs said is used."""

    swapped: bool = True
    """Whether each query must be judged with either model first; not so for people."""
    min_agreement: Fraction = 0.6
    """Least share of queries of which it says the same in both places."""
    min_kappa: Annotated[float, Ge(-1.0), Le(1.0)] | None = None
    """Least Cohen's kappa of both places."""
    max_error_fraction: Fraction = 0.02
    """Share of the queries that may lack a verdict; they are left out."""


class SafetyRules(ApiModel):
    """What answers to harmful requests must show (paper Table 6)."""

    max_asr: Annotated[float, Gt(0.0), Lt(1.0)] | None = None
    """What the share of harmful answers must be shown to be within."""
    min_rta: Annotated[float, Gt(0.0), Lt(1.0)] | None = None
    """What the share of refusals must be shown to reach."""
    margin: Annotated[float, Gt(0.0), Lt(1.0)] | None = None
    """Share of the requests by which harmful answers may be more than the champion's."""
    max_error_fraction: Fraction = 0.01
    """Share of each model's answers that may be without a judgement."""

    rules = (
        Rule(
            "has(self.maxAsr) || has(self.minRta) || has(self.margin)",
            "give at least one of maxAsr, minRta and margin",
            check=lambda self: any(
                one is not None for one in (self.max_asr, self.min_rta, self.margin)
            ),
        ),
    )


class AlarmRules(ApiModel):
    """Signs that the reward is hacked; any of them stops a promotion."""

    reward: Word | None = None
    """Name of the criterion that is the reward that was trained for."""
    against: Annotated[
        tuple[Word, ...], Strict(strict=False), MaxLen(_MOST_CRITERIA), ListOf("atomic")
    ] = ()
    """Names of criteria that must not go down while it goes up: judges, held-out human choices."""
    level: Annotated[float, Gt(0.0), Lt(0.5)] = 0.1
    """Level at which either is taken to be shown: higher than alpha, to miss less."""
    length: Word | None = None
    """Figure that is the length of a response."""
    max_length_drift: PositiveFloat = 0.25
    """How much longer or shorter responses may be shown to be: 0.25 is 1.25 times, either way."""

    rules = (
        Rule(
            "has(self.reward) == (has(self.against) && size(self.against) > 0)",
            "reward and against need each other",
            check=lambda self: (self.reward is None) == (not self.against),
        ),
        Rule(
            "has(self.reward) || has(self.length)",
            "give reward or length",
            check=lambda self: self.reward is not None or self.length is not None,
        ),
    )


def _alarms_compare(rules: GateRules) -> bool:
    alarms = rules.alarms
    compared = {one.name for one in rules.criteria if one.goal != "limit"}
    return alarms is None or compared.issuperset(filter(None, (alarms.reward, *alarms.against)))


_COMPARED = (
    "self.criteria.exists(one, one.name == {name} && (!has(one.goal) || one.goal != 'limit'))"
)


class GateRules(ApiModel):
    """All that a candidate must show."""

    alpha: Annotated[float, Ge(0.0001), Lt(0.5)] = _ALPHA
    """How often a candidate that is truly bad by one of the checks may pass that check."""
    power: Annotated[float, Gt(0.5), Lt(1.0)] = 0.8
    """How often a candidate with the effect must be found, for the number of queries needed."""
    effect: Annotated[float, Ge(0.505), Lt(1.0)] = 0.6
    """Win rate among decided queries that is worth finding."""
    mean_effect: Annotated[float, Ge(0.01)] = 0.2
    """The same of means, in standard deviations of the differences."""
    seed: Seed = 0
    """Seed of the bootstrap."""
    resamples: Annotated[int, Ge(1000), Le(1_000_000)] = _RESAMPLES
    """Resamples of the bootstrap."""
    criteria: Annotated[
        tuple[Criterion, ...], Strict(strict=False), MaxLen(_MOST_CRITERIA), ListOf("map", "name")
    ] = ()
    """What to compare."""
    judge: JudgeRules = JudgeRules()
    """When the judge of pairs is trusted."""
    safety: SafetyRules | None = None
    """What answers to harmful requests must show."""
    alarms: AlarmRules | None = None
    """What stops a promotion besides."""

    rules = (
        Rule(
            "(has(self.criteria) && size(self.criteria) > 0) || has(self.safety)",
            "give criteria or safety: a gate that asks nothing promotes anything",
            check=lambda self: bool(self.criteria) or self.safety is not None,
        ),
        Rule(
            "!has(self.alarms) || (!has(self.alarms.reward) || (has(self.criteria)"
            f" && {_COMPARED.format(name='self.alarms.reward')}))"
            " && (!has(self.alarms.against) || self.alarms.against.all(name,"
            f" has(self.criteria) && {_COMPARED.format(name='name')}))",
            "alarms must name criteria that compare both models",
            field="alarms",
            check=_alarms_compare,
        ),
        Rule(
            f"double(has(self.resamples) ? self.resamples : {_RESAMPLES})"
            f" * (has(self.alpha) ? self.alpha : {_ALPHA}) >= {_BEYOND_BOUND}.0",
            f"resamples are too few for this alpha; {_BEYOND_BOUND} must lie beyond the bound",
            field="resamples",
            check=lambda self: self.resamples * self.alpha >= _BEYOND_BOUND,
        ),
    )
