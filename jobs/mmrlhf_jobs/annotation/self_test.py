"""A task with a known answer, which shows whether answers arrive as they were given.

Tools have saved every ranking in the order of its options, whatever the annotator did
(argilla#5712), and a scale that is read the wrong way round looks like data. So the first task of
an export tells in its responses how to rank and score them, ties included. Nothing is imported
from annotators whose answer to it arrives otherwise.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from mmrlhf_jobs.annotation.tasks import Task, make_task
from mmrlhf_jobs.data.parts import Media, Query
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord
from mmrlhf_jobs.data.responses import Response

__all__ = ["PICTURE_URL", "expected", "make_self_test", "mistakes"]

# A white pixel, PNG.
_PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)
PICTURE_URL: Final = f"data:image/png;base64,{base64.b64encode(_PICTURE).decode()}"
"""What is shown in place of media."""

_SCORES: Final = ((5, 3, 4), (2, 5, 1), (4, 1, 3), (1, 4, 2), (3, 2, 5))


def make_self_test(num_responses: int, *, seed: int) -> Task:
    """The self-test for tasks of so many responses.

    The last two are to be tied, if there are three or more.
    """
    responses = tuple(
        Response(
            response_id=f"self-test-{place}",
            text=(
                f"Rank this response {rank}{_tie(place, num_responses)}. Scores: faithfulness"
                f" {scores[0]}, helpfulness {scores[1]}, ethics {scores[2]}."
            ),
        )
        for place, (rank, scores) in enumerate(_answers(num_responses))
    )
    query = QueryRecord(
        schema=QUERY_SCHEMA,
        record_id=f"self-test-{num_responses}",
        domain="image",
        type="short",
        query=Query(
            text="Self-test, not part of the data: rank and score the responses as they say."
            " Write anything where a text is needed."
        ),
        media=(Media(uri="self-test.png", sha256=hashlib.sha256(_PICTURE).hexdigest()),),
        responses=responses,
    )
    return make_task(query, seed=seed, self_test=True)


def expected(task: Task) -> dict[str, int]:
    """Ranks and scores that the responses ask for, by field of the answer."""
    answers = _answers(len(task.slots))
    fields = {}
    for letter, response in zip(task.letters, task.shown, strict=True):
        rank, scores = answers[int(response.response_id.rpartition("-")[2])]
        fields[f"{letter}.rank"] = rank
        for name, score in zip(("faithfulness", "helpfulness", "ethics"), scores, strict=True):
            fields[f"{letter}.{name}"] = score
    return fields


def mistakes(task: Task, fields: Mapping[str, object]) -> list[str]:
    """Fields of an answer that are not what the responses ask for."""
    return [
        f"{field} is {fields.get(field)!r} and should be {value}"
        for field, value in expected(task).items()
        if str(fields.get(field)) != str(value)
    ]


def _answers(num_responses: int) -> list[tuple[int, tuple[int, int, int]]]:
    ranks = list(range(1, num_responses + 1))
    if num_responses > 2:
        ranks[-1] = ranks[-2]
    return [(rank, _SCORES[place % len(_SCORES)]) for place, rank in enumerate(ranks)]


def _tie(place: int, num_responses: int) -> str:
    if num_responses > 2 and place >= num_responses - 2:
        return f", in a tie (number {place - num_responses + 3} of the two)"
    return ""
