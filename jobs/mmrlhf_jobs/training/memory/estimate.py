"""How many bytes each process of a training takes, by part; pure functions of shapes and the spec.

What engines hold is as the ZeRO paper has it (Rajbhandari et al., arXiv 1910.02054, section 5),
with what DeepSpeed's implementation adds, which was counted tensor by tensor and is held by tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mmrlhf_api.job import TrainJobSpec
from mmrlhf_api.quantities import parse_quantity
from mmrlhf_jobs.features.limits import limits_of_job
from mmrlhf_jobs.forward.logprobs import choose_chunk, logit_budget
from mmrlhf_jobs.models.quantization import BITS
from mmrlhf_jobs.training.engines.registry import engine_name
from mmrlhf_jobs.training.engines.zero import LIVE_NUMBERS, reduce_bucket
from mmrlhf_jobs.training.memory.rows import Batch
from mmrlhf_jobs.training.memory.shape import ModelShape

__all__ = ["Card", "Estimate", "Part", "engine_stage", "estimate", "peak_parts"]

_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_WIDE: Final = 4
_MOMENTS: Final = 2 * _WIDE
_WEIGHTS: Final = "weights"
_MASTERS: Final = "float32 masters"
_STATE: Final = "AdamW's moments"
_RUNTIME: Final = 1 << 30
"""A card's memory that CUDA, its libraries and NCCL take before any tensor, about."""
_OFFLOADED: Final = {
    "optimizer": frozenset((_MASTERS, _STATE)),
    "parameters": frozenset((_MASTERS, _STATE, _WEIGHTS)),
}
"""Parts that `parallelism.offload` keeps in main memory."""
_USABLE: Final = 0.9
"""Of a card's memory; the rest is lost to fragments of the allocator, and is room for error."""


@dataclass(frozen=True)
class Card:
    """What each process has.

    Attributes:
        memory: Bytes of one GPU; None on CPUs, where `spec.resources.memory` is the bound.
    """

    memory: int | None


@dataclass(frozen=True)
class Part:
    """Part of the memory of a process.

    Attributes:
        name: What it is.
        count: Bytes.
        note: What it depends on.
    """

    name: str
    count: int
    note: str


@dataclass(frozen=True)
class Estimate:
    """Memory of one training.

    Attributes:
        parts: Of each process, at its peak.
        per_process: Their sum, bytes.
        limit: What a process may take, bytes.
        host: Memory of a node outside of GPUs, bytes, at most.
        host_limit: What `spec.resources.memory` gives a node, bytes.
    """

    parts: tuple[Part, ...]
    per_process: int
    limit: int
    host: int
    host_limit: int

    @property
    def fits(self) -> bool:
        """Whether both bounds hold."""
        return self.per_process <= self.limit and self.host <= self.host_limit


def engine_stage(spec: TrainJobSpec) -> int:
    """ZeRO stage that a job trains with; 0 is plain torch, which splits nothing."""
    name = engine_name(spec.parallelism, spec.resources.world_size)
    return spec.parallelism.zero_stage if name == "deepspeed" else 0


def estimate(spec: TrainJobSpec, shape: ModelShape, batch: Batch, card: Card) -> Estimate:
    """How much memory a training takes at its peak.

    That is when a backward pass begins and all activations are there; or when it ends and, of a
    step's first, all gradients are; or when the optimizer takes its step.

    Args:
        spec: The job.
        shape: Its model, as the job trains it.
        batch: The largest micro-batch.
        card: What each process has.
    """
    parts = [*_held(spec, shape), *peak_parts(spec, shape, batch, card)]
    aside = 0
    if card.memory is not None:
        moved = _OFFLOADED.get(spec.parallelism.offload, frozenset())
        aside = sum(part.count for part in parts if part.name in moved)
        parts = [part for part in parts if part.name not in moved]
    if card.memory is not None:
        parts.append(Part("CUDA and NCCL", _RUNTIME, "before any tensor"))
    per_process = _sum(parts)
    host_limit = int(parse_quantity(spec.resources.memory))
    features = limits_of_job(spec.resources)
    kept_features = 0 if features is None else features.memory
    processes = spec.resources.processes_per_node
    # Each process reads all weights, unless they are divided as they are read.
    shares = spec.resources.world_size if engine_stage(spec) == 3 else 1
    loading = processes * _BYTES[spec.model.dtype] * (shape.trained + shape.frozen) // shares
    if card.memory is None:
        limit = (host_limit - kept_features) // processes
        host = kept_features + max(loading, processes * per_process)
    else:
        limit = int(_USABLE * card.memory)
        host = kept_features + max(loading, processes * aside)
    return Estimate(
        parts=tuple(part for part in parts if part.count),
        per_process=per_process,
        limit=limit,
        host=host,
        host_limit=host_limit,
    )


def peak_parts(spec: TrainJobSpec, shape: ModelShape, batch: Batch, card: Card) -> tuple[Part, ...]:
    """What there is at the peak beside what is held all the time; arguments as in `estimate`."""
    moments: tuple[list[Part], ...] = (
        _beginning(spec, shape, batch, card),
        _end(spec, shape, batch),
        [_gradients(spec, shape), _step(spec, shape)],
    )
    return tuple(max(moments, key=_sum))


def _held(spec: TrainJobSpec, shape: ModelShape) -> list[Part]:
    """What is there for all of the training."""
    stage, world = engine_stage(spec), spec.resources.world_size
    size, trained, frozen = _BYTES[spec.model.dtype], shape.trained, shape.frozen
    total = trained + frozen
    own = world if stage >= 1 else 1
    split = f"of {world} processes" if own > 1 else "whole on each process"
    # Plain torch updates float32 weights where they are; DeepSpeed copies these too.
    masters = 0 if stage == 0 and size == _WIDE else _WIDE * trained // own
    weights = size * (total // world if stage == 3 else total)
    note = f"{total:,} numbers, {_share(stage == 3, world)}"
    if shape.quantized:
        weights -= int(shape.quantized * (size - BITS / 8))
        note += f", {shape.quantized:,} of them in {BITS:.2f} bits"
    parts = [
        Part(_WEIGHTS, weights, note),
        Part("weights of a layer", size * shape.widest, "out of 4 bits, one at a time"),
        Part(_MASTERS, masters, f"{trained:,} numbers, {split}"),
        Part(_STATE, _MOMENTS * trained // own, f"two of {trained:,} numbers, {split}"),
    ]
    if stage == 3:
        live = size * min(total, LIVE_NUMBERS)
        parts.append(Part("gathered weights", live, f"at most {LIVE_NUMBERS:,} numbers at once"))
    if stage >= 1:
        bucket = size * reduce_bucket(trained)
        parts.append(Part("buffer of the sums", bucket, "for gradients on their way"))
    return parts


def _share(divided: bool, world: int) -> str:
    return f"divided by {world} processes" if divided else "whole on each process"


def _sum(parts: Iterable[Part]) -> int:
    return sum(part.count for part in parts)


def _gradients(spec: TrainJobSpec, shape: ModelShape) -> Part:
    """All of them: plain torch sums them in float32, DeepSpeed in the format of the weights."""
    stage, world = engine_stage(spec), spec.resources.world_size
    size = _WIDE if stage == 0 else _BYTES[spec.model.dtype]
    count = size * shape.trained // (world if stage >= 2 else 1)
    return Part("gradients", count, _share(stage >= 2, world))


def _beginning(spec: TrainJobSpec, shape: ModelShape, batch: Batch, card: Card) -> list[Part]:
    """When a backward pass begins."""
    training, world = spec.training, spec.resources.world_size
    passes = math.ceil(training.queries_per_step / (world * training.queries_per_micro_batch))
    parts = [_kept(spec, shape, batch), _head(spec, shape, batch, card)]
    # Before the first of a step there are none; stage 3 has a place for them all the time.
    there = passes > 1 or engine_stage(spec) == 3
    return [_gradients(spec, shape), *parts] if there else parts


def _end(spec: TrainJobSpec, shape: ModelShape, batch: Batch) -> list[Part]:
    """When a backward pass ends, at the first layer."""
    layer = int(batch.tokens * shape.kept / max(shape.layers, 1))
    return [_gradients(spec, shape), Part("activations", layer, "of the first layer")]


def _kept(spec: TrainJobSpec, shape: ModelShape, batch: Batch) -> Part:
    """What the forward pass of the largest micro-batch leaves for the backward pass."""
    size = _BYTES[spec.model.dtype]
    layer = shape.kept / max(shape.layers, 1)
    plain = shape.layers - shape.recomputed
    # Of recomputed layers the input stays. The last layer of all is there as a whole when the
    # backward pass comes to it, made again or kept; those before it take its room.
    wanted = spec.training.recomputed
    every = None if wanted is None else wanted.language_model_every
    again = layer if every is not None and (shape.layers - 1) % every == 0 else 0.0
    token = plain * layer + shape.recomputed * size * shape.hidden + again
    count = int(batch.tokens * token + batch.patches * shape.tower_kept)
    how = "counted" if shape.counted else "by formula"
    return Part(
        "activations", count, f"{batch.tokens:,} tokens, {token / 1024:,.0f} KiB each, {how}"
    )


def _head(spec: TrainJobSpec, shape: ModelShape, batch: Batch, card: Card) -> Part:
    """Logits of a chunk, in float32 and as they were made, and the gradient of the output layer."""
    chunk = choose_chunk(shape.vocabulary, logit_budget(card.memory))
    chunk = min(chunk, max(batch.tokens, 1))
    size = _BYTES[spec.model.dtype]
    narrow = 0 if size == _WIDE else size
    logits = chunk * shape.vocabulary * (_WIDE + narrow)
    gradient = _WIDE * shape.head if shape.head_trained else 0
    return Part("output layer", logits + gradient, f"logits of {chunk:,} tokens at a time")


def _step(spec: TrainJobSpec, shape: ModelShape) -> Part:
    """What the optimizer has beside what is held: gradients in float32, of the process's share."""
    stage, world = engine_stage(spec), spec.resources.world_size
    count = 0 if stage == 0 else _WIDE * shape.trained // world
    return Part("optimizer's step", count, "gradients of its share in float32")
