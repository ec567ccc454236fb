"""Turns scenes into ``RankedResponse/v1`` records with their media files."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from PIL import Image

from examples.digits.annotation import Answer, Tie, annotate
from examples.digits.claims import Task
from examples.digits.drawing import draw_frames, draw_row
from examples.digits.questions import QUESTIONS
from examples.digits.scans import LICENCE, SOURCE, ScanPool
from examples.digits.scenes import Scene, compose_scene
from mmrlhf_jobs.data.parts import Critique, Origin, Reasons, Scores
from mmrlhf_jobs.data.records import (
    SCHEMA,
    Category,
    Frame,
    Media,
    Query,
    RankedResponse,
    Ranking,
    Response,
    record_id,
    response_id,
)

__all__ = ["SHARES", "Sample", "make_samples"]

SHARES: dict[Category, float] = {
    "short": 0.45,
    "long": 0.15,
    "video": 0.18,
    "safety": 0.12,
    "mcq": 0.10,
}
"""Share of each category. More short and fewer long questions than in the paper's Table 1: long
answers cost most of the training time."""

_VIDEO_FRAME_MS = 500.0


@dataclass(frozen=True)
class Sample:
    """A record with what belongs to it.

    Attributes:
        record: The record.
        files: Media files, path relative to the data file -> bytes.
        rewards: Per response of the record, the mean of its three annotation scores, 1 to 5.
        scene: What the media show.
    """

    record: RankedResponse
    files: dict[str, bytes]
    rewards: tuple[float, ...]
    scene: Scene


def make_samples(pool: ScanPool, *, count: int, seed: int) -> Iterator[Sample]:
    """Makes ``count`` samples from the scans of one split.

    A sample depends on the seed, the split, ``count`` and its position only.
    """
    for index, (category, turn) in enumerate(_plan(count, Random(f"{seed}/{pool.split}/plan"))):
        rng = Random(f"{seed}/{pool.split}/{index}")
        scene = compose_scene(pool, rng)
        questions = QUESTIONS[category]
        task = questions[turn % len(questions)](scene, rng)
        yield _make_sample(
            pool.split, index=index, category=category, scene=scene, task=task, rng=rng
        )


def _plan(count: int, rng: Random) -> list[tuple[Category, int]]:
    """(category, running number within the category) of every sample, shuffled."""
    plan: list[tuple[Category, int]] = []
    for category, share in SHARES.items():
        size = round(count * share)
        plan += [(category, turn) for turn in range(size)]
    missing = count - len(plan)
    plan += [("short", count + turn) for turn in range(missing)]
    rng.shuffle(plan)
    return plan[:count]


def _make_sample(
    split: str, *, index: int, category: Category, scene: Scene, task: Task, rng: Random
) -> Sample:
    medium, files = _draw(split, index, category=category, scene=scene, rng=rng)
    identity = record_id(task.question, [medium.content_sha256])
    tie, answers = annotate(task, rng)
    responses = _responses(identity, answers)
    scans = "-".join(map(str, scene.scans))
    record = RankedResponse(
        schema=SCHEMA,
        record_id=identity,
        domain=category if category in ("safety", "video") else "image",
        type=_response_type(task),
        source=Origin(row_id=scans, dataset=SOURCE, split=split, licence=LICENCE),
        query=Query(
            text=task.question,
            language="en",
            options=task.options,
            reference_answer=task.right.texts[0],
        ),
        media=(medium,),
        responses=responses,
        ranking=Ranking(
            ranks={
                response.response_id: answer.rank
                for response, answer in zip(responses, answers, strict=True)
            },
            reason=_ranking_reason(tie),
        ),
        tie=tie,
    )
    return Sample(record, files, tuple(answer.scores.mean for answer in answers), scene)


def _draw(
    split: str, index: int, *, category: Category, scene: Scene, rng: Random
) -> tuple[Media, dict[str, bytes]]:
    if category != "video":
        image = draw_row(scene.scans, rng)
        content, name = _png(image), f"media/{split}/{index:06d}.png"
        medium = Media(
            uri=name,
            sha256=hashlib.sha256(content).hexdigest(),
            mime="image/png",
            width=image.width,
            height=image.height,
        )
        return medium, {name: content}
    files = {
        f"media/{split}/{index:06d}-{number}.png": _png(frame)
        for number, frame in enumerate(draw_frames(scene.scans, rng))
    }
    frames = tuple(
        Frame(uri=name, sha256=hashlib.sha256(content).hexdigest(), pts_ms=number * _VIDEO_FRAME_MS)
        for number, (name, content) in enumerate(files.items())
    )
    return Media(kind="video", frames=frames, duration_ms=len(frames) * _VIDEO_FRAME_MS), files


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _responses(identity: str, answers: tuple[Answer, ...]) -> tuple[Response, ...]:
    names = [response_id(identity, answer.text) for answer in answers]
    best = names[min(range(len(answers)), key=lambda place: answers[place].rank)]
    return tuple(
        Response(
            response_id=name,
            text=answer.text,
            origin=answer.origin,
            derived_from=best if answer.origin == "constructed_negative" else None,
            scores=Scores(
                faithfulness=answer.scores.faithfulness,
                helpfulness=answer.scores.helpfulness,
                ethics=answer.scores.ethics,
            ),
            reasons=Reasons(overall=answer.reason),
            critique=Critique(human=answer.reason, augmented=answer.critique),
        )
        for name, answer in zip(names, answers, strict=True)
    )


def _response_type(task: Task) -> Literal["long", "short", "mcq"]:
    """The paper's types (section 2.2): long if the answer has more than 128 characters."""
    if task.options:
        return "mcq"
    return "long" if len(task.right.texts[0]) > 128 else "short"


def _ranking_reason(tie: Tie) -> str:
    return {
        "none": "Ordered by how much of the answer is right and of use.",
        "mixed": "Two answers are equally wrong.",
        "poor": "The answers were equally wrong, a right one was added.",
        "good": "The answers were equally good, a wrong one was added.",
    }[tie]
