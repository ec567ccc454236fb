"""Runs of one side, in a process of their own."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.dpo import ours, peer
from benchmarks.dpo.lengths import count_pairs
from benchmarks.dpo.models import IMAGE_SIDE, IMAGE_TOKEN, build_model, build_processor
from benchmarks.dpo.rows import Case
from benchmarks.dpo.steps import Trained
from benchmarks.dpo.words import NO_IMAGE, build_image, image_opening, make_groups, make_rows
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, register_shared_prefix_attention
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models.architecture import make_adapter
from mmrlhf_jobs.models.precision import Precision

__all__ = ["run"]

LEARNING_RATE: Final = 1e-5


def run(case: Case) -> Trained:
    """Train as the case says."""
    model = build_model(images=case.images, layers=case.layers)
    processor = build_processor(images=case.images)
    adapter = make_adapter(model.config, processor)
    opening = NO_IMAGE
    if case.images:
        opening = image_opening(adapter, IMAGE_TOKEN, IMAGE_TOKEN, build_image(IMAGE_SIDE))
    groups = make_groups(case.lengths, opening, processor.tokenizer, seed=1)
    if case.trainer == "trl":
        return peer.train(
            model,
            make_rows(groups, opening, processor.tokenizer),
            processor if case.images else processor.tokenizer,
            reference=build_model(images=True, layers=case.layers) if case.images else None,
            pairs=count_pairs(case.lengths),
            at_once=case.batch,
            steps=case.steps,
            learning_rate=LEARNING_RATE,
        )
    register_shared_prefix_attention()
    decoder: Any = adapter.decoder(model)
    decoder.set_attn_implementation(SHARED_PREFIX_SDPA)
    module = ResponseModel(model, adapter, shared_prefix=True)
    return ours.train(
        module,
        ours.refer(module, ours.make_queries(groups)),
        at_once=case.batch,
        steps=case.steps,
        learning_rate=LEARNING_RATE,
        precision=Precision("float32", "sdpa"),
    )
