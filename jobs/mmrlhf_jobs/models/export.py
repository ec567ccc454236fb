"""Weights as the files that transformers reads, written weight by weight.

``save_pretrained`` holds all weights, and a second time what it converts. Here the files are laid
out by shapes alone, by the same functions of transformers and of the hub, and every weight is
written to its place as it comes: the bytes are those that ``save_pretrained`` would write. The
names are those of transformers 5.17 to 5.23 (``modeling_utils.py``, ``core_model_loading.py``); the
format is that of https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from mmrlhf_jobs.models.contents import WEIGHT_INDEX, WEIGHTS
from mmrlhf_jobs.models.weights import Weight

__all__ = ["write_weights"]

_METADATA: Final = {"format": "pt"}
_SHARD: Final = "50GB"
"""As in ``save_pretrained``."""


def write_weights(
    model: PreTrainedModel,
    weights: Mapping[str, Weight],
    folder: Path,
    *,
    shard: int | str = _SHARD,
) -> None:
    """Write weights as ``save_pretrained`` does; at most a layer of them is in memory at once.

    Args:
        model: Tells how its weights are named on disk, and which have two names.
        weights: All weights by their name in the model.
        folder: Folder without weights.
        shard: Bytes of a file at most, as ``max_shard_size``.

    Raises:
        ValueError: Weights have two names in a way that the files cannot say.
    """
    kept = _named_once(model, weights)
    shapes = {name: _shape_of(one.shape, one.dtype) for name, one in kept.items()}
    described = _Described(model, shapes)
    plan = _plan(described, shapes)
    laid_out = plan.laid_out
    split = split_state_dict_into_shards_factory(
        laid_out,
        # As of tensors with memory: what is cut from one weight stays in one file.
        get_storage_size=lambda one: one.untyped_storage().nbytes(),
        get_storage_id=lambda one: one.untyped_storage()._cdata,  # noqa: SLF001
        filename_pattern=WEIGHTS.replace(".safetensors", "{suffix}.safetensors"),
        max_shard_size=shard,
    )
    files = {
        name: _File.begin(folder / name, {one: laid_out[one] for one in own})
        for name, own in split.filename_to_tensors.items()
    }

    def put(name: str, value: Tensor) -> None:
        files[split.tensor_to_filename[name]].put(name, value)

    def convert(group: Sequence[str]) -> None:
        read = {name: kept[name].read() for name in group}
        for name, value in _as_on_disk(described, read).items():
            put(name, value)

    for name, on_disk in plan.renamed.items():
        put(on_disk, kept[name].read())
    for group in plan.groups:
        convert(group)
    if split.is_sharded:
        index = {
            "metadata": {
                "total_parameters": sum(one.numel() for one in laid_out.values()),
                **split.metadata,
            },
            "weight_map": split.tensor_to_filename,
        }
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (folder / WEIGHT_INDEX).write_text(text, encoding="utf-8")


def _shape_of(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _named_once(model: PreTrainedModel, weights: Mapping[str, Weight]) -> dict[str, Weight]:
    """Weights under the one name that they have on disk."""
    ignored = model._keys_to_ignore_on_save or ()  # noqa: SLF001
    kept = {name: one for name, one in weights.items() if name not in ignored}
    names: dict[Weight, list[str]] = {}
    for name, one in kept.items():
        names.setdefault(one, []).append(name)
    for several in names.values():
        if len(several) == 1:
            continue
        copies = [one for one in several if one in model.all_tied_weights_keys]
        if len(several) - len(copies) > 1:
            raise ValueError(f"{several} are one weight, and the model does not say so")
        for name in copies[: len(several) - 1]:
            del kept[name]
    return kept


class _Described:
    """A model whose weights may be elsewhere, with their shapes, by which some are converted."""

    def __init__(self, model: PreTrainedModel, shapes: Mapping[str, Tensor]) -> None:
        self._model = model
        self._shapes = shapes

    def get_parameter(self, name: str) -> Tensor:
        """A weight, of which nothing but the shape is there."""
        return self._shapes[name] if name in self._shapes else self._model.get_parameter(name)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the model has
        return getattr(self._model, name)


def _as_on_disk(model: _Described, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by their names in files, such as experts one by one."""
    found: dict[str, Tensor] = revert_weight_conversion(model, dict(weights))
    return found


@dataclass(frozen=True)
class _Plan:
    """How weights come to be what is in the files.

    Attributes:
        laid_out: What is in the files, in their order, by shapes alone.
        renamed: Names on disk of weights that are written as they are, by their name in the model.
        groups: The others, in the smallest groups that can be converted alone.
    """

    laid_out: dict[str, Tensor]
    renamed: Mapping[str, str]
    groups: Sequence[Sequence[str]]


def _plan(model: _Described, shapes: Mapping[str, Tensor]) -> _Plan:
    """Plan by shapes alone.

    What comes out of the conversion as the very object that went in is renamed. Groups of the rest
    are too small if what comes of them is not what comes of the whole.
    """
    whole = _as_on_disk(model, shapes)
    renamed = _unchanged(shapes, whole)
    rest = {name: one for name, one in shapes.items() if name not in renamed}
    converted = {name: one for name, one in whole.items() if name not in renamed.values()}
    for key in (_own, _layer):
        groups = _group(rest, key)
        if _is_whole(converted, (_as_on_disk(model, _pick(rest, one)) for one in groups)):
            return _Plan(whole, renamed, groups)
    return _Plan(whole, {}, [list(shapes)])


def _unchanged(shapes: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> dict[str, str]:
    """Names on disk by names in the model, of weights that are there once and as they are."""
    places: dict[int, list[str]] = {}
    for name, one in whole.items():
        places.setdefault(id(one), []).append(name)
    return {
        name: found[0] for name, one in shapes.items() if len(found := places.get(id(one), [])) == 1
    }


def _pick(shapes: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    return {name: shapes[name] for name in names}


def _group(names: Mapping[str, object], key: Callable[[str], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return list(groups.values())


def _own(name: str) -> str:
    return name


def _layer(name: str) -> str:
    """Up to the first number in a name; all of a module where there is none."""
    parts = name.split(".")
    number = next((place for place, part in enumerate(parts) if part.isdigit()), len(parts) - 2)
    return ".".join(parts[: number + 1])


def _is_whole(whole: Mapping[str, Tensor], parts: Iterator[Mapping[str, Tensor]]) -> bool:
    """Whether parts have each weight of the whole once, and no other."""
    left = {name: (one.shape, one.dtype) for name, one in whole.items()}
    try:
        for part in parts:
            for name, one in part.items():
                if left.pop(name, None) != (one.shape, one.dtype):
                    return False
    except (RuntimeError, ValueError, KeyError, IndexError):
        return False  # it cannot be converted without others
    return not left


@dataclass(frozen=True)
class _File:
    """A file of weights, each with its place.

    Attributes:
        path: Where it is.
        places: First byte of each weight.
    """

    path: Path
    places: Mapping[str, int]

    @classmethod
    def begin(cls, path: Path, shapes: Mapping[str, Tensor]) -> _File:
        """Make a file of its full length, with its header."""
        # Their order, and the names of number formats, are for safetensors to say.
        blank = save(
            {name: torch.empty(0, dtype=one.dtype) for name, one in shapes.items()}, _METADATA
        )
        entries = json.loads(blank[8 : 8 + int.from_bytes(blank[:8], "little")])
        places: dict[str, int] = {}
        end = 0
        for name in (one for one in entries if one in shapes):  # there is metadata besides
            places[name] = end
            end += shapes[name].nbytes
            entries[name] |= {"shape": [*shapes[name].shape], "data_offsets": [places[name], end]}
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        first = 8 + len(text)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(first + end)
        return cls(path, {name: first + place for name, place in places.items()})

    def put(self, name: str, value: Tensor) -> None:
        """Write a weight to its place."""
        numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        with self.path.open("r+b") as file:
            file.seek(self.places[name])
            file.write(numbers.data)
