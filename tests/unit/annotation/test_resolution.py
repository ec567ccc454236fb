from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from mmrlhf_jobs.annotation.judgements import Judgement
from mmrlhf_jobs.annotation.judging import judge
from mmrlhf_jobs.annotation.ranked import make_record
from mmrlhf_jobs.annotation.resolution import Resolved, Unresolved, resolve
from tests.unit.annotation.forms import answer, fill, task_of

TASK = task_of()


def said(
    *ranks: int,
    reviewer: bool = False,
    scores: list[tuple[int, int, int]] | None = None,
    **changes: Any,
) -> Judgement:
    fields = fill(TASK, ranks, scores, **changes) if ranks else changes
    return judge(answer(fields), TASK, reviewer=reviewer, tie_policy="paper")


def resolved(*judgements: Judgement) -> Resolved:
    found = resolve(judgements)
    assert isinstance(found, Resolved)
    return found


def test_one_judgement_counts_as_it_is() -> None:
    found = resolved(said(2, 1, 3))
    assert (found.resolution.method, found.opinion.ranks) == ("single", (2, 1, 3))
    assert found.resolution.kendall_tau is None


def test_the_majority_counts_pair_by_pair() -> None:
    found = resolved(said(1, 2, 3), said(2, 1, 3), said(1, 3, 2))
    assert (found.resolution.method, found.opinion.ranks) == ("majority", (1, 2, 3))
    assert found.without_majority == 0
    assert found.resolution.kendall_tau == pytest.approx((1 / 3 + 1 / 3 - 1 / 3) / 3)
    assert found.left_out == {"reasons": 2, "constructed": 0}


def test_a_pair_without_a_majority_is_tied() -> None:
    found = resolved(said(1, 2, 3), said(2, 1, 3))
    assert (found.opinion.ranks, found.opinion.tie) == ((1, 1, 3), "mixed")
    assert found.without_majority == 1


@pytest.mark.parametrize(
    "rankings",
    [
        [(1, 2, 3), (2, 3, 1), (3, 1, 2)],  # Condorcet's circle
        [(1, 2, 3), (3, 1, 2)],  # ties that do not carry over
    ],
)
def test_what_is_no_ranking_is_contradictory(rankings: list[tuple[int, ...]]) -> None:
    assert resolve([said(*ranks) for ranks in rankings]) == Unresolved("contradictory")


def test_the_result_does_not_depend_on_the_order_but_for_who_speaks() -> None:
    judgements = [said(1, 2, 3), said(2, 1, 3), said(1, 3, 2)]
    ranks = {resolved(*order).opinion.ranks for order in permutations(judgements)}
    assert ranks == {(1, 2, 3)}


def test_scores_are_medians_and_reasons_those_of_who_agrees_most() -> None:
    high, low = [(5, 5, 5)] * 3, [(2, 3, 4)] * 3
    found = resolved(
        said(2, 1, 3, scores=high, A__reason="of the first"),
        said(1, 2, 3, scores=low, A__reason="of the second"),
        said(1, 2, 3, scores=low, A__reason="of the third"),
    )
    assert found.opinion.scores[0].faithfulness == 2
    assert "of the second" in found.opinion.reasons


def test_the_last_reviewer_has_the_last_word() -> None:
    found = resolved(said(1, 2, 3), said(3, 2, 1, reviewer=True, decision="revise"))
    assert (found.resolution.method, found.opinion.ranks) == ("reviewer", (3, 2, 1))
    found = resolved(said(3, 2, 1, reviewer=True), said(2, 3, 1, reviewer=True))
    assert found.opinion.ranks == (2, 3, 1)
    found = resolved(said(1, 2, 3), said(reviewer=True, decision="accept"))
    assert (found.resolution.method, found.opinion.ranks) == ("reviewer", (1, 2, 3))
    assert resolve([said(1, 2, 3), said(reviewer=True, decision="reject")]) == Unresolved(
        "rejected"
    )
    assert resolve([said(reviewer=True, decision="accept")]) == Unresolved("undecided")


def test_constructed_responses_stand_alone_at_both_ends() -> None:
    found = resolved(
        said(
            1, 2, 2,
            tie="good",
            constructed_positive="Best of all.",
            constructed_negative="Worst of all.",
            derived_from="B",
        )
    )  # fmt: skip
    record = make_record(TASK, found, [said(1, 2, 2, tie="mixed")], tool="t", number="1")
    assert record.ranks == (2, 3, 3, 1, 5)
    assert [one.origin for one in record.responses[3:]] == [
        "constructed_positive",
        "constructed_negative",
    ]
    assert record.responses[4].derived_from == TASK.slots[1]
    assert record.obstacle is None


def test_of_several_constructed_ones_the_first_is_kept_and_the_others_counted() -> None:
    tied: dict[str, Any] = {"tie": "poor"}
    found = resolved(
        said(1, 1, 1, constructed_positive="Mine.", **tied),
        said(1, 1, 1, constructed_positive="Yours.", **tied),
    )
    assert found.opinion.positive is not None
    assert found.opinion.positive.text == "Mine."
    assert found.opinion.tie == "poor"
    assert found.left_out["constructed"] == 1
