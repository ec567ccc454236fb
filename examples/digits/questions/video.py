"""Questions about a video that shows one digit a frame."""

from __future__ import annotations

from random import Random

from examples.digits.claims import Task, misread
from examples.digits.questions.long import describe_task
from examples.digits.questions.parts import ORDINALS, distinct_from, reading_task, value_task
from examples.digits.questions.short import ask_count
from examples.digits.scenes import Scene

__all__ = ["ask_video_count", "ask_video_description", "ask_video_position", "ask_video_reading"]


_VIDEO_WORDINGS = (
    (
        "The video shows {count} handwritten digits, one in each frame. In order they are "
        "{list}. The largest of them is {max} and the smallest of them is {min}."
    ),
    (
        "In this video I see {count} handwritten digits in {count} frames. In order they are "
        "{list}, where {max} is the largest of them and {min} is the smallest of them."
    ),
    (
        "I see {count} frames, a handwritten digit in each of them. In this video they are, "
        "in order, {list}. Of them {max} is the largest and {min} is the smallest."
    ),
)


def ask_video_reading(scene: Scene, rng: Random) -> Task:
    """Which digits, one after the other."""
    return reading_task(
        scene,
        rng,
        question="Which digits are shown, one after the other?",
        wordings=("The digits are {x}.", "I see {x}.", "One after the other: {x}."),
    )


def ask_video_count(scene: Scene, rng: Random) -> Task:
    """How many digits in the whole video."""
    return ask_count(scene, rng)


def ask_video_position(scene: Scene, rng: Random) -> Task:
    """Which digit comes first, second, ..."""
    place = rng.randrange(len(scene.digits))
    right = scene.digits[place]
    name = ORDINALS[place]
    return value_task(
        kind="position",
        question=f"Which digit is shown in the {name} frame?",
        wordings=(f"The {name} digit is {{x}}.", "It is {x}.", f"{{x}} is the {name} one."),
        right=right,
        wrong=distinct_from(right, [misread(right, rng), *scene.digits], rng),
        rng=rng,
    )


def ask_video_description(scene: Scene, rng: Random) -> Task:
    """A full description of a video."""
    return describe_task(
        scene, rng, question="Describe the video in detail.", wordings=_VIDEO_WORDINGS
    )
