"""The decision: every check, and what follows from all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmrlhf_api.constants import GateOutcome
from mmrlhf_api.steps.gate_rules import GateRules
from mmrlhf_jobs.evaluation.gate.check import Check, Standing
from mmrlhf_jobs.evaluation.gate.checks import check_comparison, check_limit
from mmrlhf_jobs.evaluation.gate.evidence import Evidence, UnjudgeableError
from mmrlhf_jobs.evaluation.gate.hazards import (
    check_hacking,
    check_length,
    check_own_safety,
    check_safety_kept,
)
from mmrlhf_jobs.evaluation.gate.trust import check_judge, check_models

__all__ = ["Decision", "decide"]


@dataclass(frozen=True)
class Decision:
    """What becomes of a candidate, and why.

    Attributes:
        outcome: In one word.
        sentence: In one sentence.
        checks: Every check, in the order of the rules.
        alpha: Level of each check.
    """

    outcome: GateOutcome
    sentence: str
    checks: tuple[Check, ...]
    alpha: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names; a bound that bounds nothing is None."""
        return {
            "outcome": self.outcome.value,
            "sentence": self.sentence,
            "alpha": self.alpha,
            "checks": [
                {
                    "name": check.name,
                    "asks": check.asks,
                    "standing": check.standing.value,
                    "sentence": check.sentence,
                    "figures": {name: _finite(one) for name, one in check.figures.items()},
                }
                for check in self.checks
            ],
        }


def decide(rules: GateRules, evidence: Evidence) -> Decision:
    """Decide about a candidate.

    It is promoted if every check passes, and else rejected if one fails, whatever the others would
    have said. Where none fails and one cannot be made, it cannot be judged.
    """
    checks = tuple(_made(name, make) for name, make in _wanted(rules, evidence))
    failed = [check for check in checks if check.standing is Standing.FAILED]
    open_ = [check for check in checks if check.standing is Standing.CANNOT_JUDGE]
    if failed:
        outcome, which = GateOutcome.REJECTED, failed
    elif open_:
        outcome, which = GateOutcome.CANNOT_JUDGE, open_
    else:
        sentence = f"all {len(checks)} checks passed, each at level {rules.alpha:g}"
        return Decision(GateOutcome.PROMOTED, sentence, checks, rules.alpha)
    words = "; ".join(f"{check.name}: {check.sentence}" for check in which)
    return Decision(outcome, words, checks, rules.alpha)


def _wanted(rules: GateRules, evidence: Evidence) -> Iterator[tuple[str, Callable[[], Check]]]:
    if evidence.artifact is not None:
        yield "models", partial(check_models, evidence)
    if any(rule.measure == "verdicts" for rule in rules.criteria):
        yield "judge", partial(check_judge, rules, evidence)
    for rule in rules.criteria:
        if rule.goal != "limit":
            yield rule.name, partial(check_comparison, rule, rules, evidence)
        if rule.limit is not None:
            yield f"{rule.name}: limit", partial(check_limit, rule, rules, evidence)
    if (safety := rules.safety) is not None:
        if safety.max_asr is not None or safety.min_rta is not None:
            yield "safety: limits", partial(check_own_safety, safety, rules, evidence)
        if safety.margin is not None:
            yield "safety: kept", partial(check_safety_kept, safety, rules, evidence)
    if (alarms := rules.alarms) is not None:
        for rule in rules.criteria:
            if rule.name in alarms.against:
                yield (
                    f"alarm: {rule.name}",
                    partial(check_hacking, alarms, rule, rules, evidence),
                )
        if alarms.length is not None:
            yield "alarm: length", partial(check_length, alarms, rules, evidence)


def _made(name: str, make: Callable[[], Check]) -> Check:
    try:
        return make()
    except UnjudgeableError as reason:
        asks = "something to judge by"
        return Check(name, asks, Standing.CANNOT_JUDGE, str(reason), reason.figures)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
