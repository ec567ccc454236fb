"""What is measured, in the order of its worth: one row a measurement, and one line a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from mmrlhf_api.models import DType

__all__ = ["Attention", "Form", "Kind", "Row", "Settings", "rows", "shrink"]

Form: TypeAlias = Literal["shared", "pairwise", "step", "trl"]
"""shared: the forward pass, objective and backward pass of a job, one prompt for all responses.
pairwise: the same for pairs of responses, each with its prompt. step: whole optimizer steps of the
job's engine. trl: those of TRL's DPOTrainer, which are of all pairs."""
Kind: TypeAlias = Literal["equal", "log-normal", "digits"]
"""Lengths: all the same; around these medians; prompts and responses of the digits' records, put
together anew. The last two are new ones in every micro-batch, those of the warm-up included."""
Attention: TypeAlias = Literal["proven", "split", "flex"]
"""Of rows that share a prompt. proven: the first that the proof before a training finds right.
split: a call of torch's own attention for each part. flex: FlexAttention, which jobs do not have
(:mod:`tools.gpu.flex`)."""


@dataclass(frozen=True)
class Settings:
    """How a row is computed; a setting that is tried beside others is a field here.

    Attributes:
        dtype: Number format.
        recompute: Activations of every so many-th layer are made again in the backward pass: 1 is
            all layers.
        attention: Which attention rows that share a prompt take.
        compiled: Norms and feed-forward layers are compiled (``training.compile``).
        lora: An adapter of this rank is trained in place of the weights (``spec.adapter``).
    """

    dtype: DType = "bfloat16"
    recompute: int | None = None
    attention: Attention = "proven"
    compiled: bool = False
    lora: int | None = None

    def __str__(self) -> str:
        words = {
            self.dtype: self.dtype != "bfloat16",
            "checkpointing": self.recompute == 1,
            f"checkpointing every {self.recompute}": (self.recompute or 1) > 1,
            f"attention {self.attention}": self.attention != "proven",
            "compiled": self.compiled,
            f"LoRA {self.lora}": self.lora is not None,
        }
        return ", ".join(word for word, told in words.items() if told)


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        shape: The model; a key of :data:`tools.gpu.shapes.SHAPES`.
        form: What is computed.
        kind: How lengths are drawn.
        n: Responses of a query.
        prompt: Tokens of a prompt, those of its image included; the median of a log-normal.
        response: Tokens of a response; the median of a log-normal.
        at_once: Queries of a micro-batch; pairs for the forms pairwise and trl.
        images: Every prompt begins with an image.
        settings: How it is computed.
        layers: Layers of the decoder, where not all fit in a card with an optimizer.
        queries: Queries of an optimizer step.
        batches: Micro-batches of a repeat.
        needs: Seconds that must be left for it to begin.
    """

    shape: str
    form: Form
    kind: Kind
    n: int
    prompt: int
    response: int
    at_once: int
    images: bool = False
    settings: Settings = Settings()
    layers: int | None = None
    queries: int = 4
    batches: int = 1
    needs: float = 15.0

    @property
    def name(self) -> str:
        """What it is called; every row has another one."""
        drawn = "" if self.kind == "digits" else f" P={self.prompt} R={self.response}"
        parts = [
            self.shape + (f" of {self.layers} layers" if self.layers else ""),
            "images" if self.images else "text",
            f"n={self.n}",
            f"{self.kind}{drawn}",
            f"{self.form} {self.at_once} at once",
            str(self.settings),
        ]
        return ", ".join(filter(None, parts))


LLAVA: Final = "LLaVA-OneVision-7B"
QWEN: Final = "Qwen2.5-VL-7B"
SMALL: Final = "LLaVA-OneVision-0.5B"
_CHECKPOINTING: Final = Settings(recompute=1)
_EVERY_OTHER: Final = Settings(recompute=2)
_SPLIT: Final = Settings(attention="split")
_FLEX: Final = Settings(attention="flex")
_COMPILED: Final = Settings(compiled=True)
_LORA: Final = Settings(lora=16)
_STEP_LAYERS: Final = 8
"""So many of 28: with an optimizer, all of them are more than a card of 80 GB holds."""


def rows() -> Iterator[Row]:
    """All rows, those that matter most first, and those of one model beside each other."""
    yield from _formats()
    for shape, prompt in ((LLAVA, 1585), (QWEN, 1398)):
        yield from _first(shape, prompt)
        yield from _against_trl(shape, prompt)
    yield from _tried(LLAVA, 1585)
    for shape, prompt in ((LLAVA, 1585), (QWEN, 1398)):
        yield from _second(shape, prompt)


def _formats() -> Iterator[Row]:
    """Ragged lengths in both number formats: one must not be much slower than the other."""
    digits = Row(SMALL, "shared", "digits", 4, 829, 200, 24, batches=8)
    for row in (digits, replace(digits, kind="log-normal", at_once=2)):
        yield row
        yield replace(row, settings=Settings("float32"))


def _first(shape: str, prompt: int) -> Iterator[Row]:
    yield Row(shape, "shared", "equal", 4, 829, 200, 4)
    yield Row(shape, "shared", "log-normal", 4, 829, 200, 2, batches=4)
    yield Row(shape, "shared", "equal", 4, prompt, 200, 2, images=True)
    yield Row(shape, "pairwise", "equal", 4, prompt, 200, 2, images=True)
    yield Row(shape, "pairwise", "equal", 4, 829, 200, 3)
    yield Row(shape, "shared", "digits", 4, 829, 200, 24, batches=4)
    yield Row(shape, "shared", "equal", 4, 829, 200, 4, settings=_SPLIT)
    yield Row(shape, "shared", "log-normal", 4, 829, 200, 2, settings=_SPLIT, batches=4)


def _against_trl(shape: str, prompt: int) -> Iterator[Row]:
    step = Row(
        shape, "step", "equal", 4, prompt, 200, 2, images=True, layers=_STEP_LAYERS, needs=40
    )
    yield step
    yield replace(step, form="trl", at_once=4, needs=70)
    yield replace(step, form="trl", at_once=2, needs=70)


def _tried(shape: str, prompt: int) -> Iterator[Row]:
    """What jobs may switch on, and an attention that they do not have, beside the first rows."""
    equal = Row(shape, "shared", "equal", 4, 829, 200, 4)
    ragged = replace(equal, kind="log-normal", at_once=2, batches=4)
    for settings in (_COMPILED, _FLEX):
        yield replace(ragged, settings=settings)
        yield replace(equal, settings=settings)
    yield replace(equal, settings=_LORA)
    yield replace(equal, prompt=prompt, images=True, at_once=2, settings=_LORA)
    step = Row(shape, "step", "equal", 4, prompt, 200, 2, images=True, settings=_LORA, needs=40)
    yield replace(step, layers=_STEP_LAYERS)
    # All layers with an optimizer, which whole weights leave no room for.
    yield step


def _second(shape: str, prompt: int) -> Iterator[Row]:
    yield Row(shape, "shared", "equal", 8, prompt, 200, 2, images=True)
    yield Row(shape, "pairwise", "equal", 8, prompt, 200, 2, images=True)
    yield Row(shape, "shared", "equal", 8, 829, 200, 2)
    yield Row(shape, "shared", "log-normal", 8, 829, 200, 1, batches=4)
    yield Row(shape, "shared", "digits", 8, 829, 200, 16, batches=4)
    yield Row(shape, "shared", "log-normal", 4, prompt, 200, 1, images=True, batches=4)
    for n, at_once in ((4, 4), (8, 3)):
        equal = Row(shape, "shared", "equal", n, 829, 200, at_once, settings=_CHECKPOINTING)
        yield replace(equal, prompt=prompt, images=True)
        yield equal
        yield replace(equal, kind="log-normal", batches=4)
        yield replace(equal, kind="digits", at_once=32, batches=4)
    yield Row(shape, "shared", "equal", 4, prompt, 200, 3, images=True, settings=_EVERY_OTHER)
    yield Row(shape, "pairwise", "equal", 4, prompt, 200, 4, images=True, settings=_CHECKPOINTING)
    yield Row(shape, "pairwise", "log-normal", 4, 829, 200, 3, batches=4)


def shrink(row: Row) -> Row:
    """The same for a model of a few thousand weights, on a CPU."""
    return replace(
        row,
        prompt=48 if row.images else 16,
        response=5,
        at_once=min(row.at_once, 2),
        layers=1 if row.layers else None,
        settings=replace(row.settings, lora=2 if row.settings.lora else None),
        queries=1,
        batches=min(row.batches, 2),
    )
