"""What an import came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Final

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.budgets import allowed_faults, short_line
from mmrlhf_jobs.errors import DataError

__all__ = ["AnswerProblem", "ImportReport"]

_LISTED: Final = 1000


@dataclass(frozen=True)
class AnswerProblem:
    """A broken rule.

    Attributes:
        task: The tool's id of the task.
        record_id: The record that it is about.
        place: The answer in the task.
        field: Field of the answer, see ``answers``.
        reason: What is wrong and what to do.
    """

    task: str
    record_id: str
    place: str
    field: str
    reason: str

    def __str__(self) -> str:
        place = f"task {self.task} (record {self.record_id}), {self.place}, field {self.field}"
        return short_line(f"{place}: {self.reason}")


@dataclass
class ImportReport:
    """Counts, and what was wrong.

    Attributes:
        tasks: Tasks in the key, without self-tests.
        unanswered: Tasks that nobody has finished yet, or that are not in the export.
        records: Ranked records written.
        pairs: Preference pairs that they form.
        records_without_pairs: Records among them that form none, such as an unanswerable question.
        answers: Answers that count: submitted, and the last one of their annotator; a task that
            cannot be used has its answers, or one. They are ``used`` or ``invalid``.
        used: Answers among them that were judged.
        invalid: Answers among them that were left out.
        reasons: Invalid answers by reason: ``rules`` for those that break one, or what is wrong
            with their task, such as ``other-texts``.
        superseded: Earlier answers of the same annotator to the same task.
        set_aside: Cancelled answers, drafts and predictions, which are never read.
        methods: Records by how several answers became one.
        unresolved: Tasks to annotate again, by reason: ``rejected``, ``contradictory``,
            ``undecided``, ``invalid`` when no answer was valid, or ``shown-otherwise``.
        pairs_without_majority: Pairs of responses that are tied for lack of a majority.
        left_out: Reasons and constructed responses of annotators who do not speak in the record.
        ties: Records by tie status.
        question_flags: Records by what is wrong with the question.
        constructed: Constructed responses by kind.
        against_scores: Records that rank a response before one that beats it in all scores.
        self_tests: Annotators whose answer to a self-test was right, and who gave none.
        kendall_tau: Mean agreement of annotators on ranks, over tasks with several.
        alpha: Krippendorff's alpha of their scores, by criterion.
        problems: The first broken rules.
    """

    tasks: int = 0
    unanswered: int = 0
    records: int = 0
    pairs: int = 0
    records_without_pairs: int = 0
    answers: int = 0
    used: int = 0
    invalid: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    superseded: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    unresolved: Counter[str] = field(default_factory=Counter)
    pairs_without_majority: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    ties: Counter[str] = field(default_factory=Counter)
    question_flags: Counter[str] = field(default_factory=Counter)
    constructed: Counter[str] = field(default_factory=Counter)
    against_scores: int = 0
    self_tests: Counter[str] = field(default_factory=Counter)
    kendall_tau: float | None = None
    alpha: dict[str, float | None] = field(default_factory=dict)
    problems: list[AnswerProblem | DataError] = field(default_factory=list)
    num_problems: int = 0

    def leave_out(self, reason: str, answers: int = 1) -> None:
        """Count answers that cannot be used."""
        self.invalid += answers
        self.reasons[reason] += answers

    def note(self, problem: AnswerProblem | DataError) -> None:
        """Add a broken rule."""
        self.num_problems += 1
        if len(self.problems) < _LISTED:
            self.problems.append(problem)

    def check(self, max_invalid_fraction: float) -> None:
        """Hold the answers to a budget of invalid ones.

        Raises:
            DataError: There are more. The message shows the first 20 problems.
        """
        allowed = allowed_faults(max_invalid_fraction, self.answers)
        nothing = self.invalid == self.answers and set(self.reasons) - {"rules"}
        if self.invalid <= allowed and not nothing:
            return
        shown = [
            f"  {short_line(str(line))}"
            for line in first_few(self.problems, total=self.num_problems)
        ]
        counts = ", ".join(f"{number} {name}" for name, number in self.reasons.most_common())
        raise DataError(
            f"{self.invalid} of {self.answers} answers break a rule ({counts}), and a share of"
            f" {max_invalid_fraction:g} allows {allowed}; have them mended in the tool, or raise"
            " --max-invalid-fraction to leave them out:\n" + "\n".join(shown)
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        # Not by asdict, which makes nonsense of counters.
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["problems"] = [str(problem) for problem in self.problems]
        return {
            name: dict(sorted(value.items())) if isinstance(value, Counter) else value
            for name, value in values.items()
        }
