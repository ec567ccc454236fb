from __future__ import annotations

from itertools import permutations

import pytest

from mmrlhf_jobs.annotation.importing import Imported, ImportOptions, import_answers
from mmrlhf_jobs.annotation.self_test import expected, make_self_test
from mmrlhf_jobs.annotation.tasks import Task
from mmrlhf_jobs.errors import DataError
from tests.unit.annotation.forms import answer, answered, fill, task_of

TASK = task_of()


def run(
    *given: object, options: ImportOptions | None = None, key: list[Task] | None = None
) -> Imported:
    tasks = key or [TASK]
    return import_answers(
        {task.task_id: task for task in tasks},
        given,  # type: ignore[arg-type]
        options or ImportOptions(),
    )


def test_a_record_keeps_who_said_what() -> None:
    found = run(answered(TASK, answer(fill(TASK, (2, 1, 3)))))
    (record,) = found.records
    assert record.ranks == (2, 1, 3)
    (raw,) = record.annotations
    assert raw.annotator_id == "1"
    assert raw.ranks == {"q1-0": 2, "q1-1": 1, "q1-2": 3}
    assert raw.scores is not None
    assert raw.scores["q1-1.faithfulness"] == 5
    assert record.responses[0].model == TASK.query.responses[0].model
    assert record.responses[0].critique is not None
    assert record.responses[0].critique.human == "Reason of q1-0."
    assert (found.report.records, found.report.pairs, found.report.methods["single"]) == (1, 3, 1)


@pytest.mark.parametrize("place", range(3))
def test_texts_that_changed_places_are_refused(place: int) -> None:
    texts = [response.text for response in TASK.shown]
    texts[place] += " "
    with pytest.raises(DataError, match=rf"field {'ABC'[place]}\.text: another text was shown"):
        run(answered(TASK, answer(fill(TASK, (2, 1, 3))), texts=texts))


def test_another_question_or_task_is_refused() -> None:
    with pytest.raises(DataError, match="field question: another text was shown"):
        run(answered(TASK, question="Which letter?"))
    with pytest.raises(DataError, match="is not in the key"):
        run(answered(TASK, task_id="unknown"))
    with pytest.raises(DataError, match="2 responses were shown, 3 exported"):
        run(answered(TASK, texts=[one.text for one in TASK.shown[:2]]))
    with pytest.raises(DataError, match="are the same one"):
        run(answered(TASK), answered(TASK))


def test_the_last_answer_of_an_annotator_counts() -> None:
    found = run(
        answered(
            TASK,
            answer(fill(TASK, (1, 2, 3)), at="2026-01-02"),
            answer(fill(TASK, (3, 2, 1)), at="2026-01-01"),
        )
    )
    assert found.records[0].ranks == (1, 2, 3)
    assert found.report.superseded == 1


def test_invalid_answers_fail_the_import_or_are_counted() -> None:
    other = task_of(record_id="q2")
    given = [
        answered(TASK, answer(fill(TASK, (1, 2, 3)))),
        answered(other, answer(fill(other, (1, 2, 3), B__reason=None))),
    ]
    with pytest.raises(
        DataError, match=r"task 7-\w+ \(record q2\), annotation of 1, field B.reason"
    ):
        run(*given, key=[TASK, other])
    found = run(*given, key=[TASK, other], options=ImportOptions(max_invalid_fraction=0.5))
    assert [record.record_id for record in found.records] == ["q1"]
    assert [query.record_id for query in found.unresolved] == ["q2"]
    assert found.report.invalid == 1
    assert found.report.unresolved == {"invalid": 1}


def test_every_task_is_accounted_for() -> None:
    tasks = [task_of(record_id=f"q{number}") for number in range(4)]
    found = run(
        answered(tasks[0], answer(fill(tasks[0], (1, 2, 3)))),
        answered(
            tasks[1],
            answer(fill(tasks[1], (1, 2, 3)), by="1"),
            answer(fill(tasks[1], (3, 1, 2)), by="2"),
        ),
        answered(tasks[2]),
        key=tasks,
    )
    report = found.report
    assert report.tasks == report.records + report.unanswered + sum(report.unresolved.values()) == 4
    assert report.unresolved == {"contradictory": 1}
    assert report.kendall_tau == pytest.approx(-1 / 3)
    assert report.alpha["ethics"] is not None
    assert report.alpha["ethics"] < 0


def test_rankings_against_all_scores_are_counted() -> None:
    scores = [(1, 1, 1), (5, 5, 5), (3, 3, 3)]
    assert run(answered(TASK, answer(fill(TASK, (1, 2, 3), scores)))).report.against_scores == 1
    scores = [(1, 5, 1), (5, 5, 5), (3, 3, 3)]
    assert run(answered(TASK, answer(fill(TASK, (1, 2, 3), scores)))).report.against_scores == 0


@pytest.mark.parametrize("num_responses", [2, 3, 5])
def test_a_self_test_that_arrives_otherwise_stops_the_import(num_responses: int) -> None:
    test = make_self_test(num_responses, seed=3)
    right = expected(test)
    passed = run(
        answered(test, answer(right, by="1")),
        answered(
            TASK, answer(fill(TASK, (1, 2, 3)), by="1"), answer(fill(TASK, (1, 2, 3)), by="2")
        ),
        key=[test, TASK],
    )
    assert passed.report.self_tests == {"passed": 1, "unanswered": 1}
    assert passed.report.tasks == 1
    in_slot_order = {f"{one}.rank": place + 1 for place, one in enumerate(test.letters)}
    turned = {name: 6 - value for name, value in right.items() if not name.endswith("rank")}
    for wrong in (in_slot_order, turned):
        if {**right, **wrong} != right:
            with pytest.raises(DataError, match="self-test of annotator 1 arrived otherwise"):
                run(answered(test, answer({**right, **wrong})), key=[test, TASK])


def test_rankings_that_are_all_in_slot_order_are_not_believed() -> None:
    """As argilla#5712 saved them."""
    tasks = [task_of(record_id=f"q{number}") for number in range(8)]

    def in_slot_order(task: Task) -> dict[str, object]:
        fields = fill(task, (1, 2, 3))
        return fields | {f"{one}.rank": place + 1 for place, one in enumerate(task.letters)}

    given = [answered(task, answer(in_slot_order(task))) for task in tasks]
    with pytest.raises(DataError, match="all 8 rankings are A, B, C"):
        run(*given, key=tasks)
    assert len(run(*given[:7], key=tasks).records) == 7
    honest = answered(tasks[7], answer(fill(tasks[7], (1, 2, 3))))
    assert len(run(*given[:7], honest, key=tasks).records) == 8


def test_every_order_of_slots_leads_back() -> None:
    for ranks in permutations((1, 2, 3)):
        assert run(answered(TASK, answer(fill(TASK, ranks)))).records[0].ranks == ranks
