"""What a candidate must show, as a file: the same rules for every round."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Strict, model_validator

from mmrlhf_api.base import ApiModel
from mmrlhf_api.scalars import (
    Fraction,
    PositiveFloat,
    PositiveInt,
    Seed,
    Word,
)
from mmrlhf_jobs.evaluation.gate.means import FEWEST

__all__ = ["AlarmRules", "Criterion", "GateRules", "JudgeRules", "SafetyRules"]


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

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.figure is None) != (self.measure == "verdicts"):
            raise ValueError(f"{self.name}: outcomes and mean need a figure, verdicts have none")
        if (self.margin is None) != (self.goal != "notWorse"):
            raise ValueError(f"{self.name}: notWorse needs a margin, and nothing else has one")
        if self.measure != "mean" and self.margin is not None and self.margin >= 1:
            raise ValueError(f"{self.name}: margin is a share of the queries, below 1")
        if self.goal == "limit" and self.limit is None:
            raise ValueError(f"{self.name}: the goal is limit, but there is none")
        if self.limit is not None and self.figure is None:
            raise ValueError(f"{self.name}: a limit needs a figure; verdicts have none")
        if self.measure == "mean" and (self.min_queries or FEWEST) < FEWEST:
            raise ValueError(f"{self.name}: a mean needs minQueries of {FEWEST} or more")
        return self


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

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if self.max_asr is None and self.min_rta is None and self.margin is None:
            raise ValueError("needs maxAsr, minRta or margin")
        return self


class AlarmRules(ApiModel):
    """Signs that the reward is hacked; any of them stops a promotion."""

    reward: Word | None = None
    """Name of the criterion that is the reward that was trained for."""
    against: Annotated[tuple[Word, ...], Strict(strict=False)] = ()
    """Names of criteria that must not go down while it goes up: judges, held-out human choices."""
    level: Annotated[float, Gt(0.0), Lt(0.5)] = 0.1
    """Level at which either is taken to be shown: higher than alpha, to miss less."""
    length: Word | None = None
    """Figure that is the length of a response."""
    max_length_drift: PositiveFloat = 0.25
    """How much longer or shorter responses may be shown to be: 0.25 is 1.25 times, either way."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.reward is None) != (not self.against):
            raise ValueError("reward and against need each other")
        if self.reward is None and self.length is None:
            raise ValueError("needs reward or length")
        return self


class GateRules(ApiModel):
    """All that a candidate must show."""

    alpha: Annotated[float, Ge(0.0001), Lt(0.5)] = 0.05
    """How often a candidate that is truly bad by one of the checks may pass that check."""
    power: Annotated[float, Gt(0.5), Lt(1.0)] = 0.8
    """How often a candidate with the effect must be found, for the number of queries needed."""
    effect: Annotated[float, Ge(0.505), Lt(1.0)] = 0.6
    """Win rate among decided queries that is worth finding."""
    mean_effect: Annotated[float, Ge(0.01)] = 0.2
    """The same of means, in standard deviations of the differences."""
    seed: Seed = 0
    """Seed of the bootstrap."""
    resamples: Annotated[int, Ge(1000), Le(1_000_000)] = 10_000
    """Resamples of the bootstrap."""
    criteria: Annotated[tuple[Criterion, ...], Strict(strict=False)] = ()
    """What to compare."""
    judge: JudgeRules = JudgeRules()
    """When the judge of pairs is trusted."""
    safety: SafetyRules | None = None
    """What answers to harmful requests must show."""
    alarms: AlarmRules | None = None
    """What stops a promotion besides."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two criteria are called {repeated[0]!r}")
        if not names and self.safety is None:
            raise ValueError("needs criteria or safety: a gate that asks nothing promotes anything")
        compared = [one.name for one in self.criteria if one.goal != "limit"]
        if self.alarms is not None:
            for name in filter(None, (self.alarms.reward, *self.alarms.against)):
                if name not in compared:
                    raise ValueError(f"alarms: there is no criterion {name!r} that compares")
        if self.resamples * self.alpha < 20:
            raise ValueError("resamples: too few for this alpha; 20 must lie beyond the bound")
        return self
