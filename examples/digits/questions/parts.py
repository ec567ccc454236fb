"""What questions of several categories share: evasions, misreadings, tasks of one form."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from examples.digits.claims import Claim, Grade, Task, list_digits, misread
from examples.digits.scenes import Scene

__all__ = [
    "COUNTS",
    "ORDINALS",
    "distinct_from",
    "evade",
    "misread_some",
    "misreadings",
    "reading_task",
    "value_task",
]

ORDINALS = ("first", "second", "third", "fourth")
COUNTS = ("zero", "one", "two", "three", "four", "five")

_EVASIONS = (
    "I am not sure.",
    "It is just a picture.",
    "Numbers are useful in everyday life.",
    "Please ask somebody else.",
)


def evade(rng: Random) -> Claim:
    """A worst answer that says nothing about the picture."""
    return Claim(Grade.UNHELPFUL, (rng.choice(_EVASIONS),), "does not answer the question")


def misread_some(digits: tuple[int, ...], positions: Sequence[int], rng: Random) -> tuple[int, ...]:
    """The digits with those at ``positions`` misread."""
    return tuple(
        misread(digit, rng) if place in positions else digit for place, digit in enumerate(digits)
    )


def misreadings(digits: tuple[int, ...], rng: Random) -> tuple[tuple[int, ...], ...]:
    """Three different readings with every digit wrong, some of them too short or too long."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < 3:
        shown = misread_some(digits, range(len(digits)), rng)
        if rng.random() < 0.3:
            shown = shown[:-1] if len(shown) > 2 else (*shown, rng.randrange(10))
        found[shown] = None
    return tuple(found)


def distinct_from(
    right: int, candidates: Sequence[int], rng: Random, *, upto: int = 9
) -> list[int]:
    """The candidates without the right value and repeats, filled up to three with random values."""
    values = [value for value in dict.fromkeys(candidates) if value != right]
    rest = [value for value in range(upto + 1) if value != right and value not in values]
    return values + rng.sample(rest, max(0, 3 - len(values)))


def value_task(
    *,
    kind: str,
    question: str,
    wordings: tuple[str, ...],
    right: int,
    wrong: Sequence[int],
    rng: Random,
) -> Task:
    """A question with one number as its answer; ``wordings`` hold ``{x}`` in its place."""

    def say(value: object) -> tuple[str, ...]:
        return tuple(wording.format(x=value) for wording in wordings)

    pair = (right, wrong[0]) if rng.random() < 0.5 else (wrong[0], right)
    hedge = Claim(
        Grade.PARTIAL, say(f"{pair[0]} or {pair[1]}"), f"does not decide, {right} is right"
    )
    mistakes = tuple(
        Claim(Grade.WRONG, say(value), f"says {value}, {right} is right") for value in wrong[:3]
    )
    return Task(
        kind=kind,
        question=question,
        right=Claim(Grade.RIGHT, say(right), f"{right} is right"),
        flawed=(hedge, *mistakes),
        worst=evade(rng),
    )


def reading_task(scene: Scene, rng: Random, *, question: str, wordings: tuple[str, ...]) -> Task:
    """A question for all digits in order; ``wordings`` hold ``{x}`` in the place of the list."""
    digits = scene.digits

    def say(shown: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(wording.format(x=list_digits(shown)) for wording in wordings)

    place = rng.randrange(len(digits))
    nearly = misread_some(digits, [place], rng)
    return Task(
        kind="read",
        question=question,
        right=Claim(Grade.RIGHT, say(digits), "all digits right, in order"),
        flawed=(
            Claim(
                Grade.PARTIAL,
                say(nearly),
                f"reads the {ORDINALS[place]} digit as {nearly[place]}, it is {digits[place]}",
            ),
            *(
                Claim(Grade.WRONG, say(shown), "most digits are wrong")
                for shown in misreadings(digits, rng)
            ),
        ),
        worst=evade(rng),
    )
