"""Candidate against champion, and against limits, by one criterion of the rules each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mmrlhf_api.steps.gate_rules import Criterion, GateRules
from mmrlhf_jobs.evaluation.gate.binomial import lower_bound, pairs_needed, power, upper_bound
from mmrlhf_jobs.evaluation.gate.check import Check, require_queries, standing
from mmrlhf_jobs.evaluation.gate.evidence import (
    Column,
    Evidence,
    Paired,
    UnjudgeableError,
    by_query,
    pair_columns,
)
from mmrlhf_jobs.evaluation.gate.means import MeanBounds, bound_mean, queries_for_effect
from mmrlhf_jobs.evaluation.gate.outcomes import (
    OutcomeComparison,
    Outcomes,
    compare_outcomes,
    queries_needed,
)
from mmrlhf_jobs.evaluation.gate.trust import judge_outcomes

__all__ = [
    "check_comparison",
    "check_limit",
    "measured_means",
    "measured_outcomes",
    "paired_figure",
]


def check_comparison(rule: Criterion, rules: GateRules, evidence: Evidence) -> Check:
    """Is the candidate better than the champion, or no worse by more than the margin?

    Raises:
        UnjudgeableError: What was measured does not do.
    """
    if rule.measure == "mean":
        return _compare_means(rule, rules, evidence)
    return _compare_outcomes(rule, rules, evidence)


def check_limit(rule: Criterion, rules: GateRules, evidence: Evidence) -> Check:
    """Does the candidate's own mean reach the limit?

    Raises:
        UnjudgeableError: What was measured does not do.
    """
    assert rule.limit is not None
    values = by_query(_column(rule, evidence), whose="candidate")
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    if binary:
        # With fewer even a candidate without a fault could not pass.
        faults = rule.limit if rule.lower_is_better else 1 - rule.limit
        fewest = math.ceil(math.log(rules.alpha) / math.log1p(-faults)) if 0 < faults < 1 else 1
    else:
        fewest = queries_for_effect(rules.mean_effect, rules.alpha, rules.power)
    require_queries(len(values), rule.min_queries or fewest)
    mean, lower, upper = _own_bounds(values, rules, binary=binary)
    figures = {
        "queries": len(values),
        "mean": mean,
        "lower": lower,
        "upper": upper,
        "limit": rule.limit,
    }
    if rule.lower_is_better:
        passed, bound, word = upper <= rule.limit, upper, "at most"
    else:
        passed, bound, word = lower >= rule.limit, lower, "at least"
    reach = f"{rule.figure} {word} {rule.limit:g}"
    sentence = (
        f"{rule.figure} of the candidate is {mean:.4g} over {len(values)} queries, and shown to be"
        f" {word} {bound:.4g}; the limit is {word} {rule.limit:g}"
    )
    return Check(f"{rule.name}: limit", reach, standing(passed), sentence, figures)


def measured_outcomes(rule: Criterion, rules: GateRules, evidence: Evidence) -> Outcomes:
    """Wins, ties and losses of a criterion.

    Raises:
        UnjudgeableError: They cannot be told.
    """
    if rule.measure == "verdicts":
        return judge_outcomes(rules, evidence)[0]
    gains = _gains(rule, evidence)
    return Outcomes(
        *(int(count) for count in ((gains > 0).sum(), (gains == 0).sum(), (gains < 0).sum()))
    )


def measured_means(
    rule: Criterion, rules: GateRules, evidence: Evidence, alpha: float
) -> tuple[int, MeanBounds]:
    """Number of queries, and the mean gain of the candidate over them.

    Raises:
        UnjudgeableError: It cannot be told.
    """
    gains = _gains(rule, evidence)
    require_queries(len(gains), 2)
    bounds = bound_mean(gains, alpha, seed=rules.seed, resamples=rules.resamples)
    return len(gains), bounds


def paired_figure(name: str, evidence: Evidence) -> Paired:
    """A figure of both models by query.

    Raises:
        UnjudgeableError: It was not measured of both, or not on the same.
    """
    if evidence.champion is None:
        raise UnjudgeableError(
            "there is no champion to compare with: promote the first model by hand"
        )
    found = []
    for whose, model in (("candidate", evidence.candidate), ("champion", evidence.champion)):
        if name not in model.figures:
            have = ", ".join(sorted(model.figures)) or "none"
            raise UnjudgeableError(f"{name} was not measured of the {whose}, which has: {have}")
        found.append(model.figures[name])
    return pair_columns(*found)


def _compare_outcomes(rule: Criterion, rules: GateRules, evidence: Evidence) -> Check:
    outcomes = measured_outcomes(rule, rules, evidence)
    needed = pairs_needed(rules.effect, rules.alpha, rules.power)
    better = rule.goal == "better"
    fewest = needed if rule.margin is None else queries_needed(rule.margin, rules.alpha)
    require_queries(outcomes.queries, rule.min_queries or fewest)
    found = compare_outcomes(outcomes, rules.alpha)
    passed = found.p_better <= rules.alpha if better else found.lower >= -(rule.margin or 0.0)
    figures = _outcome_figures(outcomes, found, rules) | {"margin": rule.margin}
    sentence = _outcome_words(outcomes, found, rule)
    # So few decided that the effect would not have been found: say so, unless it is ruled out.
    gain = 2 * rules.effect - 1
    if better and not passed and outcomes.decided < needed and found.upper >= gain:
        total = -(-needed * outcomes.queries // max(1, outcomes.decided))
        raise UnjudgeableError(
            f"{sentence}; {outcomes.decided} decided queries are too few to find a win rate of"
            f" {rules.effect:g} with power {rules.power:g}: it takes {needed}, about {total}"
            " queries",
            figures | {"neededDecided": needed, "neededQueries": total},
        )
    return Check(rule.name, _asks(rule), standing(passed), sentence, figures)


def _compare_means(rule: Criterion, rules: GateRules, evidence: Evidence) -> Check:
    fewest = queries_for_effect(rules.mean_effect, rules.alpha, rules.power)
    gains = _gains(rule, evidence)
    require_queries(len(gains), rule.min_queries or fewest)
    queries, bounds = measured_means(rule, rules, evidence, rules.alpha)
    threshold = -(rule.margin or 0.0)
    passed = bounds.lower > 0 if rule.goal == "better" else bounds.lower >= threshold
    figures = {
        "queries": queries,
        "gain": bounds.mean,
        "lower": bounds.lower,
        "upper": bounds.upper,
        "deviation": bounds.deviation,
        "margin": rule.margin,
    }
    sentence = (
        f"{rule.figure} is better by {bounds.mean:.4g} on average over {queries} queries, and shown"
        f" to be better by at least {bounds.lower:.4g}; it takes"
        f" {'more than 0' if rule.goal == 'better' else f'{threshold:g}'}"
    )
    return Check(rule.name, _asks(rule), standing(passed), sentence, figures)


def _gains(rule: Criterion, evidence: Evidence) -> npt.NDArray[np.float64]:
    """What the candidate is better by in each query."""
    assert rule.figure is not None
    paired = paired_figure(rule.figure, evidence)
    gains = paired.candidate - paired.champion
    return -gains if rule.lower_is_better else gains


def _column(rule: Criterion, evidence: Evidence) -> Column:
    assert rule.figure is not None
    if rule.figure not in evidence.candidate.figures:
        raise UnjudgeableError(f"{rule.figure} was not measured of the candidate")
    return evidence.candidate.figures[rule.figure]


def _own_bounds(
    values: npt.NDArray[np.float64], rules: GateRules, *, binary: bool
) -> tuple[float, float, float]:
    if binary:
        n, right = len(values), int(values.sum())
        return (
            right / n,
            lower_bound(right, n, rules.alpha),
            upper_bound(right, n, rules.alpha),
        )
    found = bound_mean(values, rules.alpha, seed=rules.seed, resamples=rules.resamples)
    return found.mean, found.lower, found.upper


def _outcome_figures(
    outcomes: Outcomes, found: OutcomeComparison, rules: GateRules
) -> dict[str, Any]:
    return {
        "queries": outcomes.queries,
        "wins": outcomes.wins,
        "ties": outcomes.ties,
        "losses": outcomes.losses,
        "winRate": found.win_rate,
        "winRateLower": found.win_rate_lower,
        "difference": found.difference,
        "lower": found.lower,
        "upper": found.upper,
        "pBetter": found.p_better,
        "pWorse": found.p_worse,
        "powerAtEffect": power(outcomes.decided, rules.effect, rules.alpha),
    }


def _outcome_words(outcomes: Outcomes, found: OutcomeComparison, rule: Criterion) -> str:
    rate = "nothing" if found.win_rate is None else f"{found.win_rate:.1%} of {outcomes.decided}"
    counts = f"{outcomes.wins} won, {outcomes.ties} tied, {outcomes.losses} lost"
    if rule.goal == "better":
        return (
            f"the candidate wins {rate} decided queries ({counts}), and is shown to win more than"
            f" {found.win_rate_lower:.1%} (p = {found.p_better:.2g}); it takes 50%"
        )
    return (
        f"the candidate wins {rate} decided queries ({counts}): {found.difference:+.1%} of all,"
        f" shown to be at least {found.lower:+.1%}; it takes {-(rule.margin or 0.0):+.1%}"
    )


def _asks(rule: Criterion) -> str:
    what = "verdicts" if rule.figure is None else rule.figure
    if rule.goal == "better":
        return f"{what}: better than the champion"
    return f"{what}: no worse than the champion by more than {rule.margin:g}"
