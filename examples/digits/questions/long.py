"""Full descriptions, longer than 128 characters."""

from __future__ import annotations

from random import Random

from examples.digits.claims import Claim, Grade, Task, list_digits
from examples.digits.questions.parts import COUNTS, ORDINALS, misread_some, misreadings
from examples.digits.scenes import Scene

__all__ = ["ask_description", "describe_task"]

_PICTURE_WORDINGS = (
    (
        "The picture shows {count} handwritten digits in a row. From left to right they are "
        "{list}. The largest of them is {max} and the smallest of them is {min}."
    ),
    (
        "In this picture I see {count} handwritten digits. From left to right they are "
        "{list}, where {max} is the largest of them and {min} is the smallest of them."
    ),
    (
        "I see {count} digits, handwritten in a row. In this picture they are, "
        "from left to right, {list}. Of them {max} is the largest and {min} is the smallest."
    ),
)
_OFF_TOPIC = (
    "It is just a picture.",
    "The picture shows a dog that runs on the beach.",
    "I see a street with many cars.",
    "Somebody wrote something.",
)


def describe_task(scene: Scene, rng: Random, *, question: str, wordings: tuple[str, ...]) -> Task:
    """A question for a description; ``wordings`` name count, list, largest and smallest digit."""
    digits = scene.digits

    def say(shown: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(
            wording.format(
                count=COUNTS[len(shown)], list=list_digits(shown), max=max(shown), min=min(shown)
            )
            for wording in wordings
        )

    place = rng.randrange(len(digits))
    nearly = misread_some(digits, [place], rng)
    slip = Claim(
        Grade.PARTIAL,
        say(nearly),
        f"takes the {ORDINALS[place]} digit for {nearly[place]}, it is {digits[place]}",
    )
    return Task(
        kind="describe",
        question=question,
        right=Claim(Grade.RIGHT, say(digits), "complete, every digit right"),
        flawed=(
            slip,
            *(
                Claim(Grade.WRONG, say(shown), "most digits wrong, so largest and smallest too")
                for shown in misreadings(digits, rng)
            ),
        ),
        worst=Claim(Grade.UNHELPFUL, (rng.choice(_OFF_TOPIC),), "no description of what is shown"),
    )


def ask_description(scene: Scene, rng: Random) -> Task:
    """A full description of a picture."""
    question = rng.choice(("Describe the picture in detail.", "What does the picture show?"))
    return describe_task(scene, rng, question=question, wordings=_PICTURE_WORDINGS)
