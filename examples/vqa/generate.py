"""Writes the data set: ``python -m examples.vqa.generate --out DIR``.

The same arguments give the same bytes. Layout of ``DIR``::

    train.jsonl  heldout.jsonl         RankedResponse/v1 records
    media/train/  media/heldout/       the pictures, named by the records
    rewards/{train,heldout}.parquet    side-cars: one reward per response

Training questions are of easy-VQA's train split, held-out ones of its test split, whose pictures
are others. Every question has the same three answers to rank: right, evasive, wrong.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

from examples.vqa.questions import (
    PACKAGE,
    Split,
    VqaQuestion,
    answers,
    read_images,
    read_questions,
)
from mmrlhf_jobs.data.parts import Media, Origin, Query
from mmrlhf_jobs.data.records import (
    SCHEMA,
    RankedResponse,
    Ranking,
    Response,
    record_id,
    response_id,
)
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter

__all__ = ["REWARDS", "draw", "generate", "main"]

REWARDS = SidecarIdentity(kind="reward", model="rules/right-evasive-wrong")
"""What the rewards say about themselves."""
_REWARDS = (5.0, 3.0, 1.0)
"""Of the right, the evasive and the wrong answer."""


def generate(out: Path, *, train: int, heldout: int, seed: int) -> None:
    """Writes both splits below ``out``; files of an earlier run are overwritten."""
    _write_split(out, "train", "train", count=train, seed=seed)
    _write_split(out, "heldout", "test", count=heldout, seed=seed)


def draw(split: Split, count: int, *, seed: int | str) -> list[VqaQuestion]:
    """Questions of a split, as many about colours, about shapes and with yes or no."""
    rng = Random(f"{seed}/{split}")
    kinds: dict[tuple[str, ...], list[VqaQuestion]] = {}
    # Questions of one text about one picture would be one record.
    for question in dict.fromkeys(read_questions(split)):
        kinds.setdefault(question.words, []).append(question)
    for questions in kinds.values():
        rng.shuffle(questions)
    drawn = [questions.pop() for _ in range(count) for questions in kinds.values()][:count]
    rng.shuffle(drawn)
    return drawn


def _write_split(out: Path, name: str, split: Split, *, count: int, seed: int) -> None:
    for folder in (f"media/{name}", "rewards"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    questions = draw(split, count, seed=seed)
    pictures = dict(read_images(split, {question.image for question in questions}))
    rng = Random(f"{seed}/{split}/answers")
    with SidecarWriter(str(out / f"rewards/{name}.parquet"), REWARDS) as rewards:

        def records() -> Iterator[RankedResponse]:
            for question in questions:
                place = f"media/{name}/{question.image}.png"
                content = pictures[question.image]
                (out / place).write_bytes(content)
                record = _record(question, place, content, split, rng)
                rewards.write(
                    record_keys(record),
                    [_REWARDS[rank - 1] for rank in record.ranks],
                    record_id=record.record_id,
                    response_ids=[response.response_id for response in record.responses],
                )
                yield record

        write_records(records(), str(out / f"{name}.jsonl"))


def _record(
    question: VqaQuestion, place: str, content: bytes, split: Split, rng: Random
) -> RankedResponse:
    digest = hashlib.sha256(content).hexdigest()
    identity = record_id(question.text, [digest])
    ranked = list(enumerate(answers(question, rng), start=1))
    rng.shuffle(ranked)
    responses = tuple(
        Response(response_id=response_id(identity, text), text=text) for _, text in ranked
    )
    return RankedResponse(
        schema=SCHEMA,
        record_id=identity,
        domain="image",
        type="short",
        source=Origin(
            row_id=f"{question.image}: {question.text}", dataset=PACKAGE, split=split, licence="MIT"
        ),
        query=Query(text=question.text, language="en", reference_answer=question.answer),
        media=(Media(uri=place, sha256=digest, mime="image/png", width=64, height=64),),
        responses=responses,
        ranking=Ranking(
            ranks={
                response.response_id: rank
                for response, (rank, _) in zip(responses, ranked, strict=True)
            },
        ),
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--train", type=int, default=160, help="training records")
    parser.add_argument("--heldout", type=int, default=60, help="held-out records")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    generate(options.out, train=options.train, heldout=options.heldout, seed=options.seed)


if __name__ == "__main__":
    main()
