"""Whether what was measured is used at all: is it of these models, and can the judge be used?"""

from __future__ import annotations

from typing import Any

from mmrlhf_api.steps.gate_rules import GateRules
from mmrlhf_jobs.evaluation.gate.check import Check, Standing
from mmrlhf_jobs.evaluation.gate.evidence import Evidence, UnjudgeableError, Verdicts
from mmrlhf_jobs.evaluation.gate.judging import Agreement, Said, count_outcomes, measure_agreement
from mmrlhf_jobs.evaluation.gate.outcomes import Outcomes

__all__ = ["check_judge", "check_models", "judge_outcomes"]


def check_judge(rules: GateRules, evidence: Evidence) -> Check:
    """Can the judge of pairs be used?

    Raises:
        UnjudgeableError: It cannot, so that nothing is judged by it.
    """
    _, agreement = judge_outcomes(rules, evidence)
    asks = "a judge of pairs that can be used"
    if agreement is None:
        return Check("judge", asks, Standing.PASSED, "people saw no places; nothing to swap")
    figures = _agreement_figures(agreement, rules)
    return Check("judge", asks, Standing.PASSED, _agreement_words(agreement), figures)


def check_models(evidence: Evidence) -> Check:
    """Were the candidate that is to be promoted and the champion that stands there measured?

    Raises:
        UnjudgeableError: Results are of another artifact.
    """
    named = unnamed = 0
    said = evidence.verdicts or Verdicts({})
    for whose, model, digest, judged in (
        ("candidate", evidence.candidate, evidence.artifact, said.candidate),
        ("champion", evidence.champion, evidence.champion_artifact, said.champion),
    ):
        if digest is None:
            continue
        if model is not None:
            if others := sorted(model.artifacts - {digest}):
                raise _of_another(f"the {whose}'s results are", others[0], whose, digest)
            named += len(model.artifacts)
            unnamed += model.unnamed
        if evidence.verdicts is not None:
            if judged is not None and judged != digest:
                raise _of_another(f"the verdicts' {whose} is", judged, whose, digest)
            named += judged is not None
            unnamed += judged is None
    asks = "results of these very models"
    figures = {"unnamed": unnamed}
    if not named:
        sentence = "no results name the artifact that they are of"
    elif unnamed:
        sentence = (
            "results that name their artifact are of these models; whose the others are rests on"
            f" who gave them: {unnamed} name none"
        )
    else:
        sentence = "all results name their artifact, and are of these models"
    return Check("models", asks, Standing.PASSED, sentence, figures)


def _of_another(found: str, other: str, whose: str, digest: str) -> UnjudgeableError:
    return UnjudgeableError(
        f"{found} of artifact {other[:12]}, but the {whose} is {digest[:12]}: measure that one"
    )


def judge_outcomes(rules: GateRules, evidence: Evidence) -> tuple[Outcomes, Agreement | None]:
    """What the judge of pairs said, if it can be used.

    Raises:
        UnjudgeableError: It was not asked in both places, fails too often, or follows the place.
    """
    if evidence.verdicts is None:
        raise UnjudgeableError("there are no verdicts of a judge of pairs: name them by --verdicts")
    said = evidence.verdicts.said
    if not said:
        raise UnjudgeableError("the judge's file holds no verdict")
    if rules.judge.swapped and (
        lacking := sorted(q for q, by in said.items() if set(by) != {True, False})
    ):
        raise UnjudgeableError(
            f"{len(lacking)} of {len(said)} queries were judged in one place alone, the first"
            f" {lacking[0]!r}: judge each with either model first (people: judge.swapped false)"
        )
    errors = sum(Said.ERROR in by.values() for by in said.values())
    if errors > rules.judge.max_error_fraction * len(said):
        raise UnjudgeableError(
            f"the judge failed in {errors} of {len(said)} queries, more than"
            f" {rules.judge.max_error_fraction:.1%}: ask it again about those",
            {"queries": len(said), "errors": errors},
        )
    outcomes = count_outcomes({query: tuple(by.values()) for query, by in said.items()})
    if not rules.judge.swapped:
        return outcomes, None
    agreement = measure_agreement([(by[True], by[False]) for by in said.values()], rules.alpha)
    if agreement is None:
        raise UnjudgeableError("the judge gave no verdict without an error")
    kappa, least = agreement.kappa, rules.judge.min_kappa
    if agreement.share < rules.judge.min_agreement or (
        least is not None and kappa is not None and kappa < least
    ):
        raise UnjudgeableError(
            f"{_agreement_words(agreement)}; that is below minAgreement"
            f" {rules.judge.min_agreement:g}{'' if least is None else f' or minKappa {least:g}'},"
            " so nothing is judged by it: use a better judge",
            _agreement_figures(agreement, rules),
        )
    return outcomes, agreement


def _agreement_figures(agreement: Agreement, rules: GateRules) -> dict[str, Any]:
    return {
        "queries": agreement.queries,
        "agreement": agreement.share,
        "agreementLower": agreement.lower,
        "kappa": agreement.kappa,
        "firstBias": agreement.first_bias,
        "pBias": agreement.p_bias,
        "minAgreement": rules.judge.min_agreement,
        "minKappa": rules.judge.min_kappa,
    }


def _agreement_words(agreement: Agreement) -> str:
    kappa = "undefined" if agreement.kappa is None else f"{agreement.kappa:.2f}"
    return (
        f"the judge says the same in both places in {agreement.same} of"
        f" {agreement.queries} queries ({agreement.share:.1%}, kappa {kappa}), and leans to the"
        f" first by {agreement.first_bias:.1%}"
    )
