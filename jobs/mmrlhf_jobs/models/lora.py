"""LoRA (arXiv 2106.09685) by peft: layers get low-rank matrices, which alone are trained.

They are put into the model as it is, so that all that reads a family's model by the names of its
parts goes on to do so. With them off, it is the model before training: no second one is loaded.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel

from mmrlhf_api import Adapter
from mmrlhf_api.listing import first_few
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.quantization import is_plain, plain_weight, quantize
from mmrlhf_jobs.models.shares import count_numbers
from mmrlhf_jobs.models.weights import Weight

if TYPE_CHECKING:
    from peft import LoraConfig

__all__ = ["Lora", "add_lora", "choose_layers", "merge_lora", "without_adapter"]

_NAME: Final = "default"
"""peft's name for the adapter of a model that has one."""
_BASE: Final = ".base_layer."
_OF_A_LAYER: Final = re.compile(rf"(.+)\.lora_([AB])\.{_NAME}\.weight")
_WEIGHTS: Final = "adapter_model.safetensors"
"""Where peft looks for the weights of an adapter."""
_CARD: Final = """---
base_model: {base}
base_model_digest: {digest}
library_name: peft
---

An adapter of rank {rank} that mmrlhf has trained. It belongs to the model above and to no other:
the digest is over the names and contents of that model's files. `manifest.json` beside this folder
says how it was trained, and `model` has both in one.
"""


@dataclass(frozen=True)
class Lora:
    """The adapter of a model.

    Attributes:
        settings: ``spec.adapter``.
        layers: Names of the layers that have one.
        trained: Numbers that are trained.
        frozen: Numbers of the model, none of which is.
        quantized: Those of them that are kept in `Adapter.quantization`.
        widest: Those of the layer that has most of them.
    """

    settings: Adapter
    layers: tuple[str, ...]
    trained: int
    frozen: int
    quantized: int = 0
    widest: int = 0

    @property
    def scale(self) -> float:
        """Factor of the product of the matrices."""
        rank = self.settings.rank
        return self.settings.alpha / (math.sqrt(rank) if self.settings.use_rslora else rank)

    def sentence(self) -> str:
        """One line for people."""
        return (
            f"an adapter of rank {self.settings.rank} on {len(self.layers)} linear layers: "
            f"{self.trained} numbers are trained, {self.frozen} stay as they are"
            + (f", {self.quantized} of them in {self.settings.quantization}" * bool(self.quantized))
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest; layers that differ in numbers alone are named once."""
        names = {re.sub(r"\.\d+(?=\.)", ".*", name) for name in self.layers}
        return {
            "kind": self.settings.kind,
            "rank": self.settings.rank,
            "alpha": self.settings.alpha,
            "scale": self.scale,
            "layers": len(self.layers),
            "layerNames": sorted(names),
            "trainedParameters": self.trained,
            "frozenParameters": self.frozen,
            **self._quantization(),
        }

    def _quantization(self) -> dict[str, Any]:
        how = self.settings.quantization
        return {} if how is None else {"quantization": how, "quantizedParameters": self.quantized}

    def save(
        self, weights: Mapping[str, Weight], *, base: str, base_digest: str, folder: Path
    ) -> None:
        """Write the adapter alone, as ``peft.PeftModel.from_pretrained`` loads it onto its base.

        Args:
            weights: Weights of the model by name, or none to try what else is written.
            base: URI of the model that it was trained on.
            base_digest: Digest of that model's files, as `digest_folder` makes it.
            folder: New folder.
        """
        folder.mkdir(parents=True)
        config = _config(self.settings, self.layers)
        config.target_modules = sorted(self.layers)  # peft has a set, in any order
        config.base_model_name_or_path = base
        config.inference_mode = True
        config.save_pretrained(str(folder))
        own = {
            f"base_model.model.{found[1]}.lora_{found[2]}.weight": value.read().cpu().contiguous()
            for name, value in weights.items()
            if (found := _OF_A_LAYER.fullmatch(name))
        }
        save_file(own, folder / _WEIGHTS, metadata={"format": "pt"})
        card = _CARD.format(base=json.dumps(base), digest=base_digest, rank=self.settings.rank)
        (folder / "README.md").write_text(card, encoding="utf-8")


def add_lora(loaded: LoadedModel, settings: Adapter, *, seed: int) -> Lora:
    """Give layers of the trained parts an adapter, and train nothing else.

    The product of its matrices is 0 at first: the model computes, to the bit, what it did before.

    Args:
        loaded: The model, with ``requires_grad`` of each parameter as its part is trained, in main
            memory: the first weights are the same wherever it goes.
        settings: ``spec.adapter``.
        seed: Of the first weights.

    Raises:
        SpecError: Names of layers, or the rank, do not fit the model, or a package is missing.
    """
    from peft import inject_adapter_in_model

    model: Any = loaded.model
    layers = choose_layers(model, settings)
    frozen = sum(map(count_numbers, model.parameters()))
    narrow = [
        name
        for name in layers
        if settings.quantization is not None and is_plain(model.get_submodule(name))
    ]
    sizes = [count_numbers(model.get_submodule(name).weight) for name in narrow]
    is_shape = model.device.type == "meta"
    if narrow and not is_shape:
        quantize(model, narrow)
        model.is_loaded_in_4bit = True  # as peft asks for its own layers
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        try:
            # Which freezes all else.
            inject_adapter_in_model(_config(settings, layers), model, adapter_name=_NAME)
        except ValueError as error:
            raise SpecError(f"spec.adapter: peft refuses these layers: {error}") from error
    if narrow and not is_shape:
        model.is_loaded_in_4bit = False
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return Lora(
        settings, tuple(layers), trained, frozen, quantized=sum(sizes), widest=max(sizes, default=0)
    )


def choose_layers(model: PreTrainedModel, settings: Adapter) -> list[str]:
    """Names of the linear layers that get an adapter.

    The output layer never does: its weight is read by itself, a chunk of tokens at a time.

    Args:
        model: The model, with ``requires_grad`` of each parameter as its part is trained.
        settings: ``spec.adapter``.

    Raises:
        SpecError: A name fits no layer, or none that can have an adapter, or a layer is smaller
            than the rank.
    """
    output = model.get_output_embeddings()
    able = {
        name: layer
        for name, layer in model.named_modules()
        if _is_able(layer) and layer.weight.requires_grad and layer is not output
    }
    chosen = dict(able)
    if settings.target_modules is not None:
        chosen = {
            name: able[name]
            for target in settings.target_modules
            for name in _named(target, able, model)
        }
    if not chosen:
        raise SpecError(
            "spec.adapter: the parts that spec.trainable names have no linear layer; name others"
        )
    for name, layer in chosen.items():
        side = min(layer.in_features, layer.out_features)
        if settings.rank > side:
            raise SpecError(
                f"spec.adapter.rank: {settings.rank} is more than the smaller side of {name}, "
                f"{side}: take {side} or less, or leave the layer out of spec.adapter.targetModules"
            )
    return list(chosen)


def _is_able(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a linear layer; that of torch's own attention is read past its forward pass."""
    return isinstance(layer, nn.Linear) and not isinstance(layer, NonDynamicallyQuantizableLinear)


def _named(target: str, able: Mapping[str, nn.Linear], model: PreTrainedModel) -> list[str]:
    """Layers whose names end with a target, by whole parts."""

    def fits(name: str) -> bool:
        return f".{name}".endswith(f".{target}")

    if found := [name for name in able if fits(name)]:
        return found
    where = "spec.adapter.targetModules"
    others = [(name, layer) for name, layer in model.named_modules() if fits(name)]
    if not others:
        ends = sorted({name.rpartition(".")[2] for name in able})
        near = difflib.get_close_matches(target, ends, n=3, cutoff=0.5)
        known = ", ".join(first_few(ends))
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {known}"
        raise SpecError(
            f"{where}: no module of the model has a name that ends with {target}; {hint}"
        )
    name, layer = others[0]
    if layer is model.get_output_embeddings():
        raise SpecError(f"{where}: {name} is the output layer, which can have no adapter")
    if not _is_able(layer):
        raise SpecError(
            f"{where}: {name} is a {type(layer).__name__}; only linear layers can have an adapter"
        )
    raise SpecError(f"{where}: {name} is of a part that is not trained; see spec.trainable")


def _config(settings: Adapter, layers: Sequence[str]) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        use_rslora=settings.use_rslora,
        target_modules=list(layers),
        bias="none",
    )


@contextmanager
def without_adapter(model: nn.Module) -> Iterator[None]:
    """Compute as before there was an adapter; does nothing to a model without one."""
    # By what peft's layers have, so that jobs without an adapter need not wait for its import.
    layers: list[Any] = [one for one in model.modules() if hasattr(one, _BASE.strip("."))]
    for one in layers:
        one.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for one in layers:
            one.enable_adapters(enabled=True)


def merge_lora(weights: Mapping[str, Weight], scale: float) -> dict[str, Weight]:
    """Weights of the plain model: ``W + scale * B A``, by the names that it has without an adapter.

    The sum is taken when a weight is read, in float32 (float64 for such weights), and rounded once,
    to the format of W: of a quantized one, to that which its layer computes in.

    Args:
        weights: Weights of the model by name.
        scale: Factor of the product.
    """
    merged: dict[str, Weight] = {}
    for name, value in weights.items():
        if _OF_A_LAYER.fullmatch(name):
            continue
        layer, base, kind = name.rpartition(_BASE)
        if not base:
            merged[name] = value
        elif kind.startswith("weight."):
            continue  # how the weight is quantized
        elif kind != "weight":
            merged[f"{layer}.{kind}"] = value
        else:
            plain = plain_weight(weights, name)
            first, second = (weights[f"{layer}.lora_{which}.{_NAME}.weight"] for which in "AB")
            read = partial(_merge, plain, first, second, scale)
            merged[f"{layer}.weight"] = Weight(plain.shape, plain.dtype, read)
    return merged


def _merge(plain: Weight, first: Weight, second: Weight, scale: float) -> Tensor:
    wide = torch.promote_types(plain.dtype, torch.float32)
    product = second.read().to(wide) @ first.read().to(wide)
    # In main memory, where it is written from: the device has the model already.
    return (plain.read().to(wide) + scale * product).to(plain.dtype).cpu()
