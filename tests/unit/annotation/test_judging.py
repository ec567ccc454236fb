from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_jobs.annotation.judging import TiePolicy, ViolationsError, judge
from tests.unit.annotation.forms import answer, fill, task_of


def broken(
    *, policy: TiePolicy = "paper", ranks: tuple[int, ...] = (1, 2, 3), **changes: Any
) -> set[str]:
    """Fields at fault of an answer that is right but for the changes."""
    task = task_of(len(ranks))
    with pytest.raises(ViolationsError) as error:
        judge(answer(fill(task, ranks, **changes)), task, reviewer=False, tie_policy=policy)
    return {problem.field for problem in error.value.problems}


def test_slots_lead_back_to_responses() -> None:
    scores = [(1, 2, 3), (3, 4, 5), (5, 1, 2)]
    task = task_of()
    assert task.slots != tuple(one.response_id for one in task.query.responses)
    opinion = judge(
        answer(fill(task, (3, 1, 2), scores)), task, reviewer=False, tie_policy="paper"
    ).opinion
    assert opinion is not None
    assert opinion.ranks == (3, 1, 2)
    assert [(s.faithfulness, s.helpfulness, s.ethics) for s in opinion.scores] == scores
    assert opinion.reasons == tuple(f"Reason of q1-{place}." for place in range(3))


def test_empty_ranks_between_others_count_nothing() -> None:
    task = task_of(4)
    fields = fill(task, (4, 2, 2, 4), tie="mixed")
    opinion = judge(answer(fields), task, reviewer=False, tie_policy="paper").opinion
    assert opinion is not None
    assert opinion.ranks == (3, 1, 1, 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"B__rank": None}, "B.rank"),
        ({"B__rank": "4"}, "B.rank"),
        ({"A__faithfulness": None}, "A.faithfulness"),
        ({"C__ethics": 6}, "C.ethics"),
        ({"C__ethics": "good"}, "C.ethics"),
        ({"A__reason": "  "}, "A.reason"),
        ({"basis": None}, "basis"),
        ({"tie": "good"}, "tie"),
        ({"tie": "some"}, "tie"),
        ({"question_flag": "odd"}, "question_flag"),
        ({"decision": "accept"}, "decision"),
        ({"D__rank": 1}, "D.rank"),
        ({"basis (given 2 times)": "x"}, "basis (given 2 times)"),
        ({"constructed_negative": "Wrong."}, "derived_from"),
        ({"constructed_negative": "Wrong.", "derived_from": "D"}, "derived_from"),
        ({"derived_from": "A"}, "derived_from"),
        ({"constructed_positive": "Answer <0>\n\nto q1 & more. "}, "constructed_positive"),
    ],
)
def test_a_broken_rule_is_told_with_its_field(changes: dict[str, Any], field: str) -> None:
    assert field in broken(**changes)


def test_all_broken_rules_are_told() -> None:
    assert broken(A__rank=None, B__reason=None, basis=None) == {"A.rank", "B.reason", "basis"}


def test_a_tie_must_be_stated_as_the_ranks_have_it() -> None:
    assert broken(ranks=(1, 1, 3), tie="none") == {"tie"}
    assert broken(ranks=(1, 1, 3), tie=None) == {"tie"}


def test_ties_ask_for_constructed_responses_by_the_policy() -> None:
    tied = (1, 1, 1)
    right: dict[str, Any] = {"constructed_positive": "Right."}
    assert broken(ranks=tied, tie="poor") == {"constructed_positive"}
    assert broken(ranks=tied, tie="good") == {"constructed_negative"}
    assert broken(ranks=tied, tie="poor", policy="guideline", **right) == {"constructed_negative"}
    task = task_of()
    for tie, given in (("poor", right), ("mixed", {})):
        fields = fill(task, tied, tie=tie, **given)
        assert judge(answer(fields), task, reviewer=False, tie_policy="paper").opinion


def test_a_reviewer_may_decide_without_ranking() -> None:
    task = task_of()
    for decision in ("accept", "reject"):
        given = answer({"decision": decision})
        judgement = judge(given, task, reviewer=True, tie_policy="paper")
        assert (judgement.decision, judgement.opinion) == (decision, None)
    with pytest.raises(ViolationsError):
        judge(answer({"decision": "revise"}), task, reviewer=True, tie_policy="paper")
