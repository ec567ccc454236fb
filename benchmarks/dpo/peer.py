"""The peer: TRL's DPOTrainer on the batch of all pairs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from benchmarks.dpo.steps import Clock, Trained, peak_memory

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["BETA", "GAMMA", "train"]

BETA: Final = 0.1
GAMMA: Final = 0.25
"""Weight of the supervised term."""


def train(
    model: PreTrainedModel,
    rows: Sequence[dict[str, Any]],
    processing_class: Any,  # noqa: ANN401 - a tokenizer or a processor
    *,
    reference: PreTrainedModel | None,
    pairs: int,
    at_once: int,
    steps: int,
    learning_rate: float,
    workers: int = 0,
) -> Trained:
    """Do some optimizer steps on the same pairs.

    Args:
        model: What is trained, where it computes, in its number format.
        rows: ``prompt``, ``chosen``, ``rejected``, and ``images`` where there are any.
        processing_class: Its processor, or its tokenizer for rows without images.
        reference: The model before training, for rows with images: TRL refuses to precompute their
            reference. None: computed before the first step.
        pairs: Those of a step.
        at_once: Pairs of a micro-batch; they must divide those of a step.
        steps: Timed steps, after one that warms up; 0 times that one alone.
        learning_rate: Of every step.
        workers: Processes that make micro-batches ready.

    Raises:
        ImportError: TRL is not installed.
    """
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    clock, losses, tokens, places = Clock(), [], 0, 0

    class Ends(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            clock.mark()

        def on_step_end(self, *_: object, **__: object) -> None:
            clock.mark()

    class Observed(DPOTrainer):
        def compute_loss(
            self,
            model: nn.Module,
            inputs: dict[str, torch.Tensor],
            *args: object,
            **kwargs: object,
        ) -> torch.Tensor:
            nonlocal tokens, places
            loss: torch.Tensor = super().compute_loss(model, inputs, *args, **kwargs)
            losses.append(float(loss.detach()))
            tokens += int(inputs["attention_mask"].sum())
            places += inputs["input_ids"].numel()
            return loss

    weight = next(model.parameters())
    accumulation, rest = divmod(pairs, at_once)
    assert rest == 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = Observed(
            model=model,
            ref_model=reference,
            args=DPOConfig(
                output_dir=folder,
                use_cpu=weight.device.type == "cpu",
                bf16=weight.dtype == torch.bfloat16,
                activation_checkpointing=False,
                max_length=None,
                beta=BETA,
                loss_type=["sigmoid", "sft"],
                loss_weights=[1.0, GAMMA],
                precompute_ref_log_probs=reference is None,
                per_device_train_batch_size=at_once,
                gradient_accumulation_steps=accumulation,
                max_steps=steps + 1,
                learning_rate=learning_rate,
                lr_scheduler_type="constant",
                warmup_steps=0,
                weight_decay=0.0,
                max_grad_norm=1.0,
                optim="adamw_torch_fused",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                report_to=[],
                dataloader_num_workers=workers,
                # Images are looked at by the collator, which needs them.
                remove_unused_columns=reference is None,
            ),
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=processing_class,
            callbacks=[Ends()],
        )
        before = peak_memory()
        trainer.train()
    per_step = [
        statistics.fmean(losses[i : i + accumulation]) for i in range(0, len(losses), accumulation)
    ]
    done = steps + 1
    return Trained(clock.steps(), per_step, tokens // done, places // done, before, peak_memory())
