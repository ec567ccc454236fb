"""Makes the base model: ``python -m examples.digits.supervise --data DIR --out MODEL``.

Four lessons, all from the train split:

1. vision: tower and projector learn to name single digits;
2. practice: reading rows of digits aloud, on freshly composed pictures;
3. study: the best answer to every question;
4. mimicry: an answer drawn from all four of a question, each as likely as the others.

The last lesson makes the base model what alignment is for: it can see and answer, but bad answers
come as readily as good ones.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from examples.digits.batches import IGNORED, Example, collate, shuffle_batches
from examples.digits.drawing import draw_row
from examples.digits.model import (
    build_model,
    build_processor,
    read_texts,
    save_model,
    train_tokenizer,
)
from examples.digits.questions.short import ask_reading
from examples.digits.scans import ScanPool, pool_of
from examples.digits.scenes import compose_scene
from examples.digits.vision import pretrain_vision
from mmrlhf_jobs.data.media import LoadedMedia, load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.models.families.llava_onevision import LlavaOnevisionAdapter

__all__ = ["Recipe", "main", "supervise"]

Lesson = Literal["practice", "study", "mimicry"]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to teach; the defaults were tuned for 2,000 training records."""

    vision_epochs: int = 4
    practice_steps: int = 250
    study_steps: int = 600
    mimicry_steps: int = 200
    practice_pictures: int = 2000
    batch_size: int = 64
    learning_rate: float = 2e-3
    """Constant during practice, then down to a twentieth along a cosine."""
    warmup_steps: int = 30

    @property
    def steps(self) -> int:
        """Steps of all lessons but the first."""
        return self.practice_steps + self.study_steps + self.mimicry_steps

    def lesson(self, step: int) -> Lesson:
        """The lesson that a step belongs to."""
        if step < self.practice_steps:
            return "practice"
        return "study" if step < self.practice_steps + self.study_steps else "mimicry"

    def rate(self, step: int) -> float:
        """Learning rate of a step as a part of the peak."""
        if step < self.practice_steps:
            return min(1.0, (step + 1) / self.warmup_steps)
        done = (step - self.practice_steps) / max(1, self.steps - self.practice_steps)
        return max(0.05, 0.5 * (1 + math.cos(math.pi * done)))


def supervise(
    data: Path,
    out: Path,
    *,
    seed: int,
    recipe: Recipe | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    max_tokens: int = 512,
) -> None:
    """Trains a base model on the train split of a generated data set and saves it.

    The same arguments and number of threads give the same weights.

    Args:
        data: Folder that ``generate`` wrote.
        out: Model folder to write.
        seed: Seed of weights, drawings and order.
        recipe: Lengths and rates; None takes the defaults.
        tokenizer: None trains one on the questions and responses.
        max_tokens: Longest sequence that the model says it takes.
    """
    recipe = recipe or Recipe()
    train = data / "train.jsonl"
    records = [
        RankedResponse.model_validate_json(line)
        for line in train.read_text(encoding="utf-8").splitlines()
    ]
    # What the records were drawn from, whatever seed they were made with: held-out scans stay out.
    pool = pool_of(records)
    processor = build_processor(tokenizer or train_tokenizer(read_texts(train)))
    model = build_model(processor.tokenizer, seed=seed, max_tokens=max_tokens)
    accuracy = pretrain_vision(model, processor, pool, seed=seed, epochs=recipe.vision_epochs)
    print(f"vision: {accuracy:.1%} of single digits named right", flush=True)
    adapter = LlavaOnevisionAdapter(model.config, processor)
    curriculum = _Curriculum(adapter, records, data, pool, seed=seed, recipe=recipe)
    _train(model, curriculum, pad_id=processor.tokenizer.pad_token_id, recipe=recipe)
    save_model(model.eval(), processor, out)


class _Curriculum:
    """The examples of each lesson."""

    def __init__(
        self,
        adapter: LlavaOnevisionAdapter,
        records: Sequence[RankedResponse],
        data: Path,
        pool: ScanPool,
        *,
        seed: int,
        recipe: Recipe,
    ) -> None:
        self._rng = Random(f"{seed}/order")
        self._batch_size = recipe.batch_size
        self._practice = list(
            _reading_practice(
                adapter, pool, Random(f"{seed}/practice"), count=recipe.practice_pictures
            )
        )
        self._ranks = [record.ranks for record in records]
        self._groups = [
            adapter.encode(
                record.query.text,
                load_media(record, str(data)),
                [response.text for response in record.responses],
            )
            for record in records
        ]

    def batches(self, lesson: Lesson) -> Iterator[list[Example]]:
        """One pass over the lesson's examples, newly drawn and shuffled."""
        examples = self._practice if lesson == "practice" else list(self._draw(lesson))
        return shuffle_batches(examples, batch_size=self._batch_size, rng=self._rng)

    def _draw(self, lesson: Lesson) -> Iterator[Example]:
        for group, ranks in zip(self._groups, self._ranks, strict=True):
            best = [place for place, rank in enumerate(ranks) if rank == 1]
            choices = best if lesson == "study" else range(len(ranks))
            yield group, self._rng.choice(choices)


def _reading_practice(
    adapter: LlavaOnevisionAdapter, pool: ScanPool, rng: Random, *, count: int
) -> Iterator[Example]:
    for _ in range(count):
        scene = compose_scene(pool, rng)
        task = ask_reading(scene, rng)
        picture = LoadedMedia("image", (draw_row(scene.scans, rng),))
        yield adapter.encode(task.question, (picture,), [rng.choice(task.right.texts)]), 0


def _train(
    model: LlavaOnevisionForConditionalGeneration,
    curriculum: _Curriculum,
    *,
    pad_id: int,
    recipe: Recipe,
) -> None:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, recipe.rate)
    model.train()
    step, start, losses = 0, time.perf_counter(), list[float]()
    while step < recipe.steps:
        lesson = recipe.lesson(step)
        for batch in curriculum.batches(lesson):
            loss = _mean_loss(model, collate(batch, pad_id=pad_id))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            step += 1
            if step % 50 == 0:
                mean = sum(losses[-50:]) / 50
                seconds = time.perf_counter() - start
                print(f"{lesson}: step {step}, loss {mean:.3f}, {seconds:.0f} s", flush=True)
            if step == recipe.steps or recipe.lesson(step) != lesson:
                break


def _mean_loss(model: LlavaOnevisionForConditionalGeneration, inputs: dict[str, Tensor]) -> Tensor:
    """Mean negative log-likelihood per token; a response of n tokens counts as n ** 0.5 tokens.

    In the plain mean over tokens, long descriptions outweigh the short answers, whose few tokens
    tell more about the picture.
    """
    labels = inputs.pop("labels")[:, 1:]
    hidden = model.model(**inputs).last_hidden_state[:, :-1]
    asked = labels != IGNORED
    losses = functional.cross_entropy(model.lm_head(hidden[asked]), labels[asked], reduction="none")
    weights = asked.sum(1, keepdim=True).rsqrt().expand(asked.shape)[asked]
    return (losses * weights).sum() / weights.sum()


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that generate wrote")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    supervise(options.data, options.out, seed=options.seed)


if __name__ == "__main__":
    main()
