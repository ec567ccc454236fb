"""Multiple-choice questions about a picture."""

from __future__ import annotations

from random import Random

from examples.digits.claims import Claim, Grade, Task, misread
from examples.digits.questions.parts import ORDINALS, evade
from examples.digits.scenes import Scene

__all__ = ["ask_choice"]

_OPTIONS = {"A": (0, 1, 2), "B": (3, 4), "C": (5, 6, 7), "D": (8, 9)}
"""Ranges of digits. The same ones each time: finding a digit among shuffled options is a skill that
a model of this size does not learn from a few hundred questions."""
_LABELS = {"A": "0 to 2", "B": "3 or 4", "C": "5 to 7", "D": "8 or 9"}


def ask_choice(scene: Scene, rng: Random) -> Task:
    """In which range the largest or smallest digit lies, or the digit at a position."""
    asked, right = rng.choice(
        (
            ("largest", max(scene.digits)),
            ("smallest", min(scene.digits)),
            *(
                (f"{ORDINALS[place]} from the left", digit)
                for place, digit in enumerate(scene.digits)
            ),
        )
    )
    letter = _letter_of(right)

    def say(value: int) -> tuple[str, ...]:
        chosen = _letter_of(value)
        return (
            f"It is {value}, so the answer is {chosen}.",
            f"I see {value}, so {chosen}.",
            f"{value}, answer {chosen}.",
        )

    others = [value for value in range(10) if _letter_of(value) != letter]
    look_alike = misread(right, rng)
    wrong = [look_alike] if look_alike in others else []
    wrong += rng.sample([value for value in others if value not in wrong], 3 - len(wrong))
    listing = "\n".join(f"{name}. {label}" for name, label in _LABELS.items())
    return Task(
        kind="choice",
        question=f"Which digit is the {asked}?\n{listing}\nAnswer with the letter.",
        right=Claim(Grade.RIGHT, say(right), f"{letter} is right"),
        flawed=(
            Claim(Grade.PARTIAL, (f"It is {right}.", f"I see {right}."), "right digit, no letter"),
            *(
                Claim(Grade.WRONG, say(value), f"chose {_letter_of(value)}, {letter} is right")
                for value in wrong
            ),
        ),
        worst=evade(rng),
        options=tuple(_LABELS.values()),
    )


def _letter_of(digit: int) -> str:
    return next(letter for letter, digits in _OPTIONS.items() if digit in digits)
