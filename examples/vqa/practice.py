"""Shows the model how questions are answered: right, evasive and wrong answers, all alike.

That makes it what alignment is for: it can see and answer, but a bad answer comes as readily as a
good one. The uppermost layers of the text model learn, and all others stay as they were published;
what is below them needs no gradient, which makes a step half as dear.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from random import Random

import torch
from PIL import Image

from examples.vqa.generate import draw
from examples.vqa.questions import answers, read_images
from mmrlhf_jobs.data.media import as_loaded
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel

__all__ = ["practise"]


def practise(
    loaded: LoadedModel,
    *,
    seed: int,
    questions: int,
    upper_layers: int,
    batch_size: int = 8,
    learning_rate: float = 5e-4,
) -> None:
    """Train the uppermost layers on all answers of some questions.

    Args:
        loaded: Model, processor and adapter; the model is trained in place.
        seed: Decides about questions, answers and order.
        questions: How many of the train split, each seen once.
        upper_layers: Layers of the text model that learn.
        batch_size: Questions a step.
        learning_rate: Peak of a one-cycle schedule.
    """
    model = loaded.model
    model.requires_grad_(False)
    text = model.model.text_model
    trained = [*text.layers[-upper_layers:], text.norm]
    parameters = [one.requires_grad_() for part in trained for one in part.parameters()]
    lesson = _lesson(loaded, questions, seed=seed)
    batches = [lesson[start : start + batch_size] for start in range(0, len(lesson), batch_size)]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=len(batches)
    )
    start = time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        scores = response_log_probs(model, loaded.adapter, batch, shared_prefix=True)
        loss = -scores.sums.sum() / scores.lengths.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            seconds = time.perf_counter() - start
            print(f"practice: step {step}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    model.requires_grad_()


def _lesson(loaded: LoadedModel, count: int, *, seed: int) -> Sequence[EncodedGroup]:
    rng = Random(f"{seed}/practice")
    asked = draw("train", count, seed=f"{seed}/practice")
    pictures = dict(read_images("train", (question.image for question in asked)))
    return [
        loaded.adapter.encode(
            question.text,
            (as_loaded(Image.open(io.BytesIO(pictures[question.image]))),),
            answers(question, rng),
        )
        for question in asked
    ]
