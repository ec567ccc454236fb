"""The model of a row, built on the device and changed as the row's settings say."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from mmrlhf_api import Adapter
from mmrlhf_jobs.attention.backends import take_way
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SPLIT
from mmrlhf_jobs.forward.compilation import compile_layers
from mmrlhf_jobs.forward.sharing import Comparison
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.lora import add_lora
from tools.gpu.flex import FLEX, register_flex
from tools.gpu.flops import Weights
from tools.gpu.session import CheckFailedError, UnavailableError
from tools.gpu.shapes import SHAPES, Shape, build, count_weights, open_image, prove
from tools.gpu.table import Row, Settings

if TYPE_CHECKING:
    from benchmarks.dpo.words import Opening

__all__ = ["Built", "Figures", "Models"]

Figures = dict[str, Any]
"""Of one measurement, by name: numbers, or lists of them."""


@dataclass
class Built:
    """The model that is there, and an image as it reads it.

    Attributes:
        key: Of the settings that it was built with.
        shape: What it was built of.
        loaded: The model.
        weights: Its numbers, without an adapter.
        image: An image at the begin of a prompt.
        proof: What the proof before a training finds right.
        figures: What its settings cost: graphs and seconds of a warm-up, numbers that are trained.
    """

    key: tuple[Any, ...]
    shape: Shape
    loaded: LoadedModel
    weights: Weights
    image: Opening
    proof: Comparison
    figures: Figures


@dataclass
class Models:
    """Builds the models of rows, one at a time, and keeps it for those that follow.

    Attributes:
        device: Where to compute.
        clock: Seconds.
        tiny: Models of a few thousand weights.
        built: The model that is there.
    """

    device: torch.device
    clock: Callable[[], float]
    tiny: bool = False
    built: Built | None = field(default=None, init=False)

    def clear(self) -> None:
        """Give the memory back."""
        self.built = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def take(self, row: Row) -> Built:
        """The model of a row, anew if its settings say so.

        Raises:
            CheckFailedError: Rows cannot share a prompt, or nothing is compiled.
            UnavailableError: The device has no kernel for it.
        """
        settings = row.settings
        flex = settings.attention == "flex"
        key = (row.shape, row.layers, settings.dtype, settings.compiled, settings.lora, flex)
        if self.built is None or self.built.key != key:
            self.clear()
            shape = SHAPES[row.shape](self.tiny, row.layers)
            loaded = build(shape, dtype=getattr(torch, settings.dtype), device=self.device)
            if flex:
                self._take_flex(loaded)
            image = open_image(shape, loaded)
            weights, proof = count_weights(loaded), prove(shape, loaded)
            figures = self._change(loaded, settings)
            self.built = Built(key, shape, loaded, weights, image, proof, figures)
        self._take_attention(row, self.built)
        return self.built

    def _take_flex(self, loaded: LoadedModel) -> None:
        if self.device.type == "cpu":
            raise UnavailableError(
                f"FlexAttention of torch {torch.__version__} has no backward pass on CPUs"
            )
        register_flex()
        take_way(loaded.adapter.decoder(loaded.model).config, FLEX)

    def _change(self, loaded: LoadedModel, settings: Settings) -> Figures:
        """As a training does, after its proof.

        Raises:
            CheckFailedError: Nothing is compiled.
        """
        figures: Figures = {}
        if settings.lora is not None:
            figures["trained"] = add_lora(loaded, Adapter(rank=settings.lora), seed=0).trained
        if settings.compiled:
            # Code for CPUs takes minutes to make, and what it gains is not asked there.
            backend = "aot_eager" if self.tiny else "inductor"
            found = compile_layers(loaded, backend=backend, clock=self.clock)
            if found.reason:
                raise CheckFailedError(found.sentence(), {})
            figures |= {"compiled_modules": found.modules, "warm_up_graphs": found.graphs}
            figures["warm_up_s"] = found.seconds
        return figures

    def _take_attention(self, row: Row, built: Built) -> None:
        """As a training would, or as the row says.

        Raises:
            CheckFailedError: A training would take one row a response instead of what is measured.
        """
        config = built.loaded.adapter.decoder(built.loaded.model).config
        if row.settings.attention == "split":
            take_way(config, SHARED_PREFIX_SPLIT)
            return
        take_way(config, built.proof.way)
        if row.form in {"shared", "step"} and not built.proof.trusted:
            raise CheckFailedError(f"rows cannot share a prompt: {built.proof.reason}", {})
