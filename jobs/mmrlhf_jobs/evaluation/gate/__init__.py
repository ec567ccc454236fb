"""Whether a candidate may take the champion's place: pure functions over what was measured.

Rules and evidence go in, a decision comes out; nothing here imports torch::

    decision = decide(rules, evidence)
    decision.outcome, [check.sentence for check in decision.checks]
    decision.to_dict()          # for JSON

Every check must pass, each at the same level, so that a candidate that is truly bad by any one of
them is promoted at most that often (intersection-union test, Berger 1982, Technometrics 24, 295).
"""

from __future__ import annotations

from mmrlhf_api.steps.gate_rules import GateRules
from mmrlhf_jobs.evaluation.gate.decision import Decision, decide
from mmrlhf_jobs.evaluation.gate.evidence import Column, Evidence

__all__ = ["Column", "Decision", "Evidence", "GateRules", "decide"]
