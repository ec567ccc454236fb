"""Short questions about a picture."""

from __future__ import annotations

from random import Random

from examples.digits.claims import Claim, Grade, Task, misread
from examples.digits.questions.parts import ORDINALS, distinct_from, evade, reading_task, value_task
from examples.digits.scenes import Scene

__all__ = [
    "ask_count",
    "ask_extreme",
    "ask_occurrences",
    "ask_parity",
    "ask_position",
    "ask_reading",
]


def ask_reading(scene: Scene, rng: Random) -> Task:
    """Which digits, from left to right."""
    question = rng.choice(
        ("Which digits do you see, from left to right?", "Read the digits from left to right.")
    )
    return reading_task(
        scene,
        rng,
        question=question,
        wordings=("The digits are {x}.", "I see {x}.", "From left to right: {x}."),
    )


def ask_count(scene: Scene, rng: Random) -> Task:
    """How many digits."""
    right = len(scene.digits)
    return value_task(
        kind="count",
        question=rng.choice(("How many digits are there?", "How many digits do you see?")),
        wordings=("There are {x} digits.", "I count {x} digits.", "{x} digits."),
        right=right,
        wrong=rng.sample([value for value in (2, 3, 4, 5) if value != right], 3),
        rng=rng,
    )


def ask_occurrences(scene: Scene, rng: Random) -> Task:
    """How often one digit occurs; it may not occur at all."""
    asked = rng.choice(scene.digits) if rng.random() < 0.8 else rng.randrange(10)
    right = scene.digits.count(asked)
    return value_task(
        kind="occurrences",
        question=f"How many times does the digit {asked} appear?",
        wordings=("The answer is {x}.", "I count {x}.", "{x} in all."),
        right=right,
        wrong=distinct_from(right, [right + 1 if right == 0 else right - 1], rng, upto=4),
        rng=rng,
    )


def ask_extreme(scene: Scene, rng: Random) -> Task:
    """Which digit is the largest, or the smallest."""
    name, pick = rng.choice((("largest", max), ("smallest", min)))
    right = pick(scene.digits)
    return value_task(
        kind="extreme",
        question=f"Which digit is the {name}?",
        wordings=(f"The {name} digit is {{x}}.", "It is {x}.", f"{{x}} is the {name} one."),
        right=right,
        wrong=distinct_from(right, [misread(right, rng), *scene.digits], rng),
        rng=rng,
    )


def ask_position(scene: Scene, rng: Random) -> Task:
    """Which digit stands at a position."""
    place = rng.randrange(len(scene.digits))
    right = scene.digits[place]
    name = ORDINALS[place]
    return value_task(
        kind="position",
        question=f"Which digit is the {name} from the left?",
        wordings=(f"The {name} digit is {{x}}.", "It is {x}.", f"{{x}} is the {name} one."),
        right=right,
        wrong=distinct_from(right, [misread(right, rng), *scene.digits], rng),
        rng=rng,
    )


def ask_parity(scene: Scene, rng: Random) -> Task:
    """Whether the digit at a position is even or odd."""
    place = rng.randrange(len(scene.digits))
    right = scene.digits[place]

    def say(digit: int, *, flip: bool = False) -> tuple[str, ...]:
        word = ("even", "odd")[(digit + flip) % 2]
        return (
            f"The {ORDINALS[place]} digit is {digit}, which is {word}.",
            f"It is {digit}, so {word}.",
            f"{digit} is {word}.",
        )

    wrong = distinct_from(right, [misread(right, rng)], rng)
    return Task(
        kind="parity",
        question=f"Is the {ORDINALS[place]} digit even or odd?",
        right=Claim(Grade.RIGHT, say(right), "digit and parity right"),
        flawed=(
            Claim(Grade.PARTIAL, say(right, flip=True), "digit right, parity wrong"),
            *(Claim(Grade.WRONG, say(digit), f"reads {right} as {digit}") for digit in wrong),
        ),
        worst=evade(rng),
    )
