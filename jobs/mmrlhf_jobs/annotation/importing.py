"""The pass over the answers of a tool, to ranked records."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from mmrlhf_jobs.annotation.agreement import krippendorff_alpha, mean_tau
from mmrlhf_jobs.annotation.answers import Answer, AnsweredTask
from mmrlhf_jobs.annotation.judgements import Judgement, score_values
from mmrlhf_jobs.annotation.judging import TiePolicy, ViolationsError, judge
from mmrlhf_jobs.annotation.ranked import make_record
from mmrlhf_jobs.annotation.report import AnswerProblem, ImportReport
from mmrlhf_jobs.annotation.resolution import Unresolved, resolve
from mmrlhf_jobs.annotation.rubric import RUBRIC
from mmrlhf_jobs.annotation.self_test import mistakes
from mmrlhf_jobs.annotation.tasks import Task
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.errors import DataError

__all__ = ["ImportOptions", "Imported", "import_answers"]

_CHANCE: Final = 1e-6
"""Rankings that are less likely than this to be all in the order of the slots are not believed."""


@dataclass(frozen=True)
class ImportOptions:
    """How to read answers.

    Attributes:
        reviewers: Ids of the annotators in the tool who are reviewers.
        tie_policy: What a tie asks for.
        max_invalid_fraction: Share of the answers that may break rules and are left out.
    """

    reviewers: Collection[str] = ()
    tie_policy: TiePolicy = "paper"
    max_invalid_fraction: float = 0.0


@dataclass(frozen=True)
class Imported:
    """What came of the answers, in the order of the key.

    Attributes:
        records: Ranked records.
        unresolved: Queries to annotate again; they can be exported as they are.
        report: Counts.
    """

    records: list[RankedResponse] = field(default_factory=list)
    unresolved: list[QueryRecord] = field(default_factory=list)
    report: ImportReport = field(default_factory=ImportReport)


def import_answers(
    key: Mapping[str, Task], answered: Iterable[AnsweredTask | RowFault], options: ImportOptions
) -> Imported:
    """Turn answers into records.

    Args:
        key: Tasks by id, as they were exported.
        answered: Tasks as the tool gives them back, in any order, and items that are none.
        options: How to read them.

    Raises:
        DataError: More answers break rules than may, or are given to tasks that are not in the
            key, come twice or show other texts than were exported. Or the tool does not keep what
            is entered: a self-test arrived otherwise than it was to be answered, or all rankings
            are in the order of the slots.
    """
    run = _Run(key, options)
    for task in answered:
        try:
            run.take(task)
        except RowFault as fault:
            run.leave_out(fault, task)
    return run.finish()


class _Run:
    def __init__(self, key: Mapping[str, Task], options: ImportOptions) -> None:
        self._key = key
        self._options = options
        self._judgements: dict[str, list[Judgement]] = {}
        self._seen: dict[str, AnsweredTask] = {}
        self._shown_otherwise: set[str] = set()
        self._annotators: set[str] = set()
        self._tested: set[str] = set()
        self._in_slot_order: list[int] = []
        self._all_in_slot_order = True
        self._report = ImportReport(tasks=sum(not task.self_test for task in key.values()))

    def take(self, answered: AnsweredTask | RowFault) -> None:
        """Check a task and its answers.

        Raises:
            RowFault: The task cannot be used, whatever was answered.
            DataError: It is a self-test that arrived otherwise than it was to be answered.
        """
        if isinstance(answered, RowFault):
            raise answered
        task = self._match(answered)
        if self._seen.setdefault(task.task_id, answered) is not answered:
            raise RowFault(
                f"tasks {self._seen[task.task_id].number} and {answered.number} are the same one"
                f" (task_id {task.task_id!r}); it was loaded twice, export one of them",
                kind="repeated-id",
            )
        self._report.set_aside.update(answered.set_aside)
        answers = self._last_answers(answered)
        if task.self_test:
            self._test(task, answered, answers)
            return
        self._report.answers += len(answers)
        judgements = []
        for answer in answers:
            self._annotators.add(answer.annotator)
            judgement = self._judge(task, answered, answer)
            if judgement is not None:
                self._note_order(task, answer)
                judgements.append(judgement)
        self._report.used += len(judgements)
        if answers:
            self._judgements[task.task_id] = judgements

    def leave_out(self, fault: RowFault, answered: AnsweredTask | RowFault) -> None:
        """Count the answers of a task that cannot be used."""
        answers = 1
        if isinstance(answered, AnsweredTask):
            self._report.set_aside.update(answered.set_aside)
            answers = max(1, len(self._last_answers(answered)))
        self._report.answers += answers
        self._report.leave_out(fault.fault or "record", answers)
        self._report.note(fault)

    def finish(self) -> Imported:
        """Resolve all tasks."""
        if any(task.self_test for task in self._key.values()):
            self._report.self_tests["passed"] = len(self._tested)
            self._report.self_tests["unanswered"] = len(self._annotators - self._tested)
        imported = Imported(report=self._report)
        for task_id, task in self._key.items():
            if task.self_test:
                continue
            if task_id in self._judgements:
                self._resolve(task, self._judgements[task_id], imported)
            elif task_id in self._shown_otherwise - self._seen.keys():
                self._report.unresolved["shown-otherwise"] += 1
                imported.unresolved.append(task.query)
            else:
                self._report.unanswered += 1
        self._report.check(self._options.max_invalid_fraction)
        self._check_order()
        self._measure_agreement()
        self._report.records = len(imported.records)
        return imported

    def _match(self, answered: AnsweredTask) -> Task:
        """The task in the key, if the tool showed what was exported."""
        name = answered.task_id
        task = self._key.get(name) if isinstance(name, str) else None
        if task is None:
            raise RowFault(
                f"task {answered.number} is not in the key (task_id {answered.task_id!r}); was it"
                " exported with another one?",
                kind="unknown-task",
            )
        shown = [response.text for response in task.shown]
        wrong = ""
        if answered.question != task.question:
            wrong = (
                ", field question: another text was shown than was exported; its answers may"
                " belong to another query"
            )
        elif len(answered.texts) != len(shown):
            wrong = f": {len(answered.texts)} responses were shown, {len(shown)} exported"
        for letter, mine, theirs in zip(task.letters, shown, answered.texts, strict=False):
            if not wrong and mine != theirs:
                wrong = (
                    f", field {letter}.text: another text was shown than was exported; its answers"
                    " may belong to another response"
                )
        if wrong:
            self._shown_otherwise.add(task.task_id)
            where = f"task {answered.number} (record {task.query.record_id})"
            raise RowFault(f"{where}{wrong}", kind="other-texts")
        return task

    def _last_answers(self, answered: AnsweredTask) -> list[Answer]:
        """The last answer of each annotator, in the order of time."""
        last: dict[str, Answer] = {}
        for answer in sorted(answered.answers, key=lambda one: (one.updated_at, one.place)):
            if last.pop(answer.annotator, None) is not None:
                self._report.superseded += 1
            last[answer.annotator] = answer
        return list(last.values())

    def _test(self, task: Task, answered: AnsweredTask, answers: Iterable[Answer]) -> None:
        for answer in answers:
            wrong = mistakes(task, answer.fields)
            if wrong:
                raise DataError(
                    f"task {answered.number}, {answer.place}: the self-test of annotator"
                    f" {answer.annotator} arrived otherwise than it asks for: {'; '.join(wrong)}."
                    " Either the tool does not keep what is entered, and then no answer is to be"
                    " believed, or the annotator did not do as it says: have it corrected there"
                )
            self._tested.add(answer.annotator)

    def _judge(self, task: Task, answered: AnsweredTask, answer: Answer) -> Judgement | None:
        try:
            return judge(
                answer,
                task,
                reviewer=answer.annotator in self._options.reviewers,
                tie_policy=self._options.tie_policy,
            )
        except ViolationsError as error:
            self._report.leave_out("rules")
            for problem in error.problems:
                self._note(task, answered, answer.place, problem.field, problem.reason)
            return None

    def _note(
        self, task: Task, answered: AnsweredTask, place: str, field: str, reason: str
    ) -> None:
        record = task.query.record_id
        self._report.note(AnswerProblem(answered.number, record, place, field, reason))

    def _note_order(self, task: Task, answer: Answer) -> None:
        places = [str(answer.fields.get(f"{letter}.rank")) for letter in task.letters]
        self._all_in_slot_order &= places == [str(place + 1) for place in range(len(places))]
        self._in_slot_order.append(len(places))

    def _check_order(self) -> None:
        chance = -sum(math.lgamma(n + 1) for n in self._in_slot_order)
        if self._all_in_slot_order and chance < math.log(_CHANCE):
            raise DataError(
                f"all {len(self._in_slot_order)} rankings are A, B, C and so on, the order in which"
                " the responses are shown; the tool does not keep what annotators enter, or they"
                " do not rank"
            )

    def _resolve(self, task: Task, judgements: list[Judgement], imported: Imported) -> None:
        report, answered = self._report, self._seen[task.task_id]
        if not judgements:
            report.unresolved["invalid"] += 1
            imported.unresolved.append(task.query)
            return
        resolved = resolve(judgements)
        if isinstance(resolved, Unresolved):
            report.unresolved[resolved.reason] += 1
            imported.unresolved.append(task.query)
            return
        try:
            record = make_record(
                task, resolved, judgements, tool=answered.tool, number=answered.number
            )
        except ValidationError as error:
            name, reason = explain(error)
            report.used -= len(judgements)
            report.leave_out("record", len(judgements))
            where = f"task {answered.number} (record {task.query.record_id})"
            report.note(RowFault(f"{where} makes no valid record: {name}: {reason}"))
            report.unresolved["invalid"] += 1
            imported.unresolved.append(task.query)
            return
        imported.records.append(record)
        report.methods[resolved.resolution.method] += 1
        report.pairs_without_majority += resolved.without_majority
        report.left_out.update(resolved.left_out)
        report.ties[record.tie or "none"] += 1
        report.question_flags[record.question_flag] += 1
        report.constructed.update(one.origin for one in record.responses if one.origin != "model")
        report.against_scores += resolved.opinion.against_scores
        report.records_without_pairs += record.obstacle is not None
        report.pairs += len(form_pairs(record.ranks)) if record.obstacle is None else 0

    def _measure_agreement(self) -> None:
        """Agreement of annotators, without reviewers, who have seen what the others did."""
        taus = []
        units: dict[str, list[tuple[int, ...]]] = {criterion.name: [] for criterion in RUBRIC}
        for judgements in self._judgements.values():
            opinions = [one.opinion for one in judgements if one.opinion and not one.reviewer]
            tau = mean_tau([opinion.ranks for opinion in opinions])
            if tau is not None:
                taus.append(tau)
            for responses in zip(*(opinion.scores for opinion in opinions), strict=True):
                columns = zip(*map(score_values, responses), strict=True)
                for criterion, values in zip(RUBRIC, columns, strict=True):
                    units[criterion.name].append(values)
        self._report.kendall_tau = sum(taus) / len(taus) if taus else None
        self._report.alpha = {name: krippendorff_alpha(given) for name, given in units.items()}
