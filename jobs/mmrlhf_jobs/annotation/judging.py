"""From an answer in blind slots to a judgement about responses, with every rule checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from mmrlhf_jobs.annotation.answers import SLOT_FIELDS, TASK_FIELDS, Answer
from mmrlhf_jobs.annotation.judgements import Constructed, Judgement, Opinion, rank_places
from mmrlhf_jobs.annotation.rubric import DECISIONS, FLAGS, RUBRIC, TIES, Tie
from mmrlhf_jobs.annotation.tasks import Task
from mmrlhf_jobs.data.parts import Scores

__all__ = ["TIE_POLICIES", "Problem", "TiePolicy", "ViolationsError", "judge"]

C = TypeVar("C", bound=str)

TiePolicy: TypeAlias = Literal["paper", "guideline"]
"""What a tie asks for. ``paper`` (2.3.1): a constructed positive for poor ones, a constructed
negative for good ones. ``guideline`` (App. B.4.4): a constructed negative, whatever they are."""

_DIGITS: Final = 10

TIE_POLICIES: Final[tuple[TiePolicy, ...]] = get_args(TiePolicy)


@dataclass(frozen=True)
class Problem:
    """A rule that an answer breaks.

    Attributes:
        field: Field of the answer, see ``answers``.
        reason: What is wrong and what to do.
    """

    field: str
    reason: str


class ViolationsError(ValueError):
    """An answer breaks rules.

    Attributes:
        problems: All that it breaks, not the first alone.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{one.field}: {one.reason}" for one in problems))
        self.problems = tuple(problems)


def judge(answer: Answer, task: Task, *, reviewer: bool, tie_policy: TiePolicy) -> Judgement:
    """Check an answer and lead it back from slots to responses (paper App. B.4).

    Raises:
        ViolationsError: It breaks rules.
    """
    form = _Form(answer.fields, task)
    decision = form.choice("decision", DECISIONS)
    if decision is not None and not reviewer:
        form.fault("decision", "is for reviewers; name this annotator as one, or clear it")
    opinion = None
    decided = decision == "reject" or (decision == "accept" and set(answer.fields) == {"decision"})
    if not (reviewer and decided):
        opinion = form.opinion(tie_policy)
    if form.problems:
        raise ViolationsError(form.problems)
    return Judgement(answer, reviewer, opinion, decision)


class _Form:
    """Fields of an answer, and what was found wrong with them."""

    def __init__(self, fields: Mapping[str, object], task: Task) -> None:
        self._fields = fields
        self._task = task
        self.problems: list[Problem] = []
        known = {f"{letter}.{name}" for letter in task.letters for name in SLOT_FIELDS}
        for name in sorted(set(fields) - known - set(TASK_FIELDS)):
            self.fault(name, "is no field of this task; the tool was set up for another export")

    def fault(self, field: str, reason: str) -> None:
        """Note a broken rule."""
        self.problems.append(Problem(field, reason))

    def opinion(self, tie_policy: TiePolicy) -> Opinion | None:
        """Ranks and scores, or None when something is wrong with them."""
        letters = self._task.letters
        places = [
            self._number(f"{one}.rank", 1, len(letters), "the response is not ranked")
            for one in letters
        ]
        scores = [
            {c.name: self._number(f"{one}.{c.name}", 1, 5, "the score is missing") for c in RUBRIC}
            for one in letters
        ]
        reasons = [self._text(f"{one}.reason", "why does it have its scores?") for one in letters]
        basis = self._text("basis", "why are the responses ranked so?")
        flag = self.choice("question_flag", FLAGS) or "ok"
        positive, negative = self._positive(), self._negative()
        ties = self._tie(places, positive, negative, tie_policy) if all(places) else "none"
        if self.problems:
            return None
        ranks = rank_places(places)
        order = [self._task.slots.index(one.response_id) for one in self._task.query.responses]
        return Opinion(
            ranks=tuple(ranks[slot] for slot in order),
            scores=tuple(Scores(**scores[slot]) for slot in order),
            reasons=tuple(reasons[slot] for slot in order),
            basis=basis,
            tie=ties,
            flag=flag,
            positive=positive,
            negative=negative,
        )

    def choice(self, field: str, options: Mapping[C, str]) -> C | None:
        """One of the options, or None when the field is empty or wrong."""
        value = self._fields.get(field)
        if value is None:
            return None
        for option in options:
            if option == value:
                return option
        self.fault(field, f"{value!r} is none of {', '.join(options)}")
        return None

    def _number(self, field: str, least: int, most: int, missing: str) -> int:
        """A whole number, or 0 when something is wrong with it."""
        value = self._fields.get(field)
        if value is None:
            self.fault(field, missing)
            return 0
        text = str(value)
        # int() refuses thousands of digits.
        whole = len(text) < _DIGITS and text.isascii() and text.isdigit()
        if not (whole and least <= int(text) <= most):
            self.fault(field, f"{value!r} is no number from {least} to {most}")
            return 0
        return int(text)

    def _text(self, field: str, missing: str) -> str:
        text = self._free(field)
        if text is None:
            self.fault(field, f"is empty: {missing}")
        return text or ""

    def _free(self, field: str) -> str | None:
        value = self._fields.get(field)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, str):
            self.fault(field, f"{value!r} is no text")
            return None
        return value.strip()

    def _positive(self) -> Constructed | None:
        text = self._new_text("constructed_positive")
        return Constructed(text) if text else None

    def _negative(self) -> Constructed | None:
        text = self._new_text("constructed_negative")
        letter = self._free("derived_from")
        if letter is not None and letter not in self._task.letters:
            self.fault("derived_from", f"{letter!r} is none of {', '.join(self._task.letters)}")
            return None
        if text is None:
            if letter is not None:
                self.fault("derived_from", "is given, but there is no constructed negative")
            return None
        if letter is None:
            self.fault("derived_from", "name the response that the negative was made from")
            return None
        return Constructed(text, self._task.slots[self._task.letters.index(letter)])

    def _new_text(self, field: str) -> str | None:
        """A text that no response has, or the same annotator's other constructed one."""
        text = self._free(field)
        if text is None:
            return None
        for letter, response in zip(self._task.letters, self._task.shown, strict=True):
            if response.text.strip() == text:
                self.fault(field, f"is the text of response {letter}; write one of its own")
        if field == "constructed_negative" and text == self._free("constructed_positive"):
            self.fault(field, "is the text of the constructed positive")
        return text

    def _tie(
        self,
        places: Sequence[int],
        positive: Constructed | None,
        negative: Constructed | None,
        policy: TiePolicy,
    ) -> Tie:
        """Tie status, which must be what the ranks say, with what it asks for."""
        tied = len(set(places)) < len(places)
        tie = self.choice("tie", TIES)
        if "tie" not in self._fields and not tied:
            return "none"
        if tie is None:
            if "tie" not in self._fields:
                self.fault("tie", "responses are tied; say whether they are poor, good or neither")
            return "mixed"
        if tied != (tie != "none"):
            ranked = ", ".join(f"{a} {b}" for a, b in zip(self._task.letters, places, strict=True))
            self.fault("tie", f"is {tie!r}, but the responses are ranked {ranked}")
        if tie == "poor" and positive is None:
            self.fault(
                "constructed_positive", "the tied responses are poor: write a correct answer"
            )
        if tie == "good" and negative is None:
            self.fault(
                "constructed_negative", "the tied responses are good: write a version with errors"
            )
        elif tied and policy == "guideline" and negative is None:
            self.fault("constructed_negative", "there is a tie: write a version with errors")
        return tie
