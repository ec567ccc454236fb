"""Optimisation, parallelism and checkpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import (
    Fraction,
    NonNegativeFloat,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Seed,
)

__all__ = ["Checkpoint", "Optimizer", "Parallelism", "Recompute", "Training"]


class Optimizer(ApiModel):
    """AdamW and its learning-rate schedule."""

    learning_rate: PositiveFloat = 1e-6
    """Peak learning rate. The paper searches 1e-7, 5e-7, 1e-6, 5e-6 and 1e-5 (paper 5.1); the
    released scripts use 1e-6."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay (released scripts: 0)."""
    beta1: OpenFraction = 0.9
    """Decay of the first moment, 0 to below 1."""
    beta2: OpenFraction = 0.999
    """Decay of the second moment, 0 to below 1."""
    epsilon: PositiveFloat = 1e-8
    """Term that keeps the update's denominator from 0."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after warm-up, down to 0 except for constant (released scripts:
    cosine)."""
    warmup_ratio: Fraction = 0.1
    """Part of the steps, 0 to 1, over which the rate rises from 0 (released scripts: 0.1)."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this global norm."""


class Recompute(ApiModel):
    """Layers whose activations are not kept but made again in the backward pass.

    The output layer keeps none in any case: its logits are always made again.
    """

    language_model_every: PositiveInt | None = None
    """Every so many-th layer of the language model, the first among them: 1 is all, 2 every other;
    without it, none."""
    vision_tower: bool = False
    """All layers of the vision tower and of the projector; frozen ones keep nothing anyway."""


class Training(ApiModel):
    """Length of training, batches and determinism; the unit is a query with ranked responses."""

    epochs: PositiveInt = 1
    """Passes over the data (released scripts: 1)."""
    max_steps: PositiveInt | None = None
    """Optimizer steps after which to stop, even within an epoch; without it, epochs decides."""
    queries_per_step: PositiveInt = 64
    """Queries of one optimizer step over all processes; a query of n responses is up to n(n-1)/2
    pairs. 64 queries of 4 responses are 384 pairs, the batch of the released scripts."""
    queries_per_micro_batch: PositiveInt = 1
    """Queries that a process takes through the model at once; memory grows with it, the result
    does not change."""
    seed: Seed = 0
    """Seed of the data order, of sampling and of new weights."""
    gradient_checkpointing: bool = False
    """Recompute activations of all layers in the backward pass: less memory, about a third more
    time."""
    recompute: Recompute | None = None
    """The same for some layers, instead of gradientCheckpointing: less time for more memory."""
    compile: bool = False
    """Compile norms and feed-forward layers of the language model with torch.compile, before the
    first step. It needs a C++ compiler in the image, and weights that are not split (zeroStage 3);
    where it cannot or is wrong, the job goes on without and says why."""
    evaluate_every_steps: PositiveInt | None = None
    """Optimizer steps between evaluations; without it, only at the end."""

    rules = (
        Rule(
            "!self.gradientCheckpointing || !has(self.recompute)",
            "recompute says which layers gradientCheckpointing is for; give one of the two",
            field="recompute",
            check=lambda self: not self.gradient_checkpointing or self.recompute is None,
        ),
    )

    @property
    def recomputed(self) -> Recompute | None:
        """What is recomputed, however it was asked for; None: nothing."""
        if self.gradient_checkpointing:
            return Recompute(language_model_every=1, vision_tower=True)
        return self.recompute


class Parallelism(ApiModel):
    """How the model is spread over processes."""

    engine: Literal["auto", "none", "deepspeed"] = "auto"
    """Engine that runs the steps: auto takes DeepSpeed for more than one process."""
    zero_stage: Annotated[int, Ge(0), Le(3)] = 2
    """ZeRO stage of DeepSpeed, 0 to 3: 1 spreads optimizer state, 2 also gradients, 3 also weights
    (released scripts: 3)."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What DeepSpeed keeps in main memory instead of on GPUs, at the cost of traffic: optimizer is
    float32 masters and moments, which are updated there; parameters also each process's part of the
    weights while no layer reads it, for zeroStage 3."""

    rules = (
        Rule(
            "!has(self.offload) || self.offload == 'none'"
            " || (self.engine != 'none' && self.zeroStage > 0)",
            "offload is DeepSpeed's, of zeroStage 1 to 3; take another engine or stage, or none",
            field="offload",
            check=lambda self: (
                self.offload == "none" or (self.engine != "none" and self.zero_stage > 0)
            ),
        ),
        Rule(
            "!has(self.offload) || self.offload != 'parameters' || self.zeroStage == 3",
            "offload parameters needs zeroStage 3, which alone divides weights; or take optimizer",
            field="offload",
            check=lambda self: self.offload != "parameters" or self.zero_stage == 3,
        ),
    )


class Checkpoint(ApiModel):
    """State that lets a job go on where it stopped."""

    every_steps: PositiveInt = 100
    """Optimizer steps between checkpoints."""
    keep: PositiveInt = 2
    """Checkpoints to keep; older ones are deleted."""
    resume: Literal["latest", "none"] = "latest"
    """Whether a new attempt goes on from the latest whole checkpoint or starts over."""
