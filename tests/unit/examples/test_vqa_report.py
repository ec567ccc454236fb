"""What the report of examples/vqa says about the answers of two models."""

from __future__ import annotations

import pytest

from examples.digits.evaluate import AnswerScores
from examples.vqa.run import compare


def scores(verdicts: str) -> AnswerScores:
    """A letter a question: ``+`` answered rightly."""
    known = {f"q{place}": sign == "+" for place, sign in enumerate(verdicts)}
    return AnswerScores({"short": sum(known.values())}, {"short": len(known)}, known)


@pytest.mark.parametrize(
    ("before", "after", "gained", "lost", "chance"),
    [
        ("+-+-", "+-+-", 0, 0, 1.0),
        ("----+", "++++-", 4, 1, 6 / 32),
        ("++++", "----", 0, 4, 1.0),
        ("----------", "++++++++++", 10, 0, 2**-10),
    ],
)
def test_questions_that_one_model_alone_answers_are_what_a_gain_is_judged_by(
    before: str, after: str, gained: int, lost: int, chance: float
) -> None:
    found = compare(scores(before), scores(after))
    assert (found["gained"], found["lost"]) == (gained, lost)
    assert found["chance"] == pytest.approx(chance)
