"""Files of training state: tensors by name, read without running anything that they say.

safetensors has nothing but numbers, so whoever may write to the artifacts cannot run code in the
jobs that go on from them. A tensor is named by its first number, its kind and its parameter:
``4096:exp_avg:model.layers.0.mlp.up_proj.weight``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.training.engines.state import MASTER, Fragment, split

__all__ = ["FILE_BYTES", "SavedState", "files_of"]

FILE_BYTES: Final = 256 * 2**20
"""Bytes of a file, about; a few are on their way at once."""
_STEP: Final = "step"


def files_of(
    fragments: Sequence[Fragment], *, copied: bool = False, limit: int = FILE_BYTES
) -> dict[str, Callable[[], bytes]]:
    """Files of fragments, at least one, each made when it is asked for.

    Args:
        fragments: What is written.
        copied: Whether they hold the numbers as they are now, by a copy in the memory of this
            machine, and not as they will be when the file is made.
        limit: Bytes of a file, about.

    Returns:
        What makes each file, by its name.
    """
    made: dict[str, Callable[[], bytes]] = {}
    for number, group in enumerate(list(split(fragments, limit=limit)) or [[]]):
        tensors = _copies(group) if copied else None
        made[f"{number:05d}.safetensors"] = partial(_content, group, tensors)
    return made


def _content(group: Sequence[Fragment], tensors: dict[str, torch.Tensor] | None) -> bytes:
    content: bytes = save(_copies(group) if tensors is None else tensors)
    return content


def _copies(fragments: Sequence[Fragment]) -> dict[str, torch.Tensor]:
    """Fragments as tensors by name, copied to the memory of this machine."""
    found = {}
    for fragment in fragments:
        values = dict(fragment.values)
        if fragment.step:
            values[_STEP] = torch.tensor([fragment.step], dtype=torch.float64)
        for kind, value in values.items():
            copied = value.detach().to("cpu", copy=True).contiguous()
            found[f"{fragment.start}:{kind}:{fragment.name}"] = copied
    return found


@dataclass(frozen=True)
class _Piece:
    """A tensor in a file: numbers of one kind of a parameter."""

    start: int
    stop: int
    file: Any
    key: str


class SavedState:
    """State that was saved, by whatever engine, and is read number by number.

    Args:
        files: Files that hold what will be asked for.
        sizes: Numbers of each parameter that was trained, by name.

    Raises:
        TrainingError: A file holds something else than such tensors.
    """

    def __init__(self, files: Iterable[Path], sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._pieces: dict[tuple[str, str], list[_Piece]] = defaultdict(list)
        self._kinds: dict[str, set[str]] = defaultdict(set)
        for path in files:
            try:
                file = safe_open(path, framework="pt")
                for key in file.keys():  # noqa: SIM118 - it is no dict
                    start, kind, name = key.split(":", 2)
                    (length,) = file.get_slice(key).get_shape()
                    piece = _Piece(int(start), int(start) + length, file, key)
                    self._pieces[name, kind].append(piece)
                    self._kinds[name].add(kind)
            except (SafetensorError, ValueError) as error:
                raise TrainingError(
                    f"{path} of the checkpoint holds something else than training state ({error}),"
                    " and was not loaded: mmrlhf never writes such a file, so find out who did;"
                    " start over with checkpoint.resume: none"
                ) from error

    def check(self, sizes: Mapping[str, int]) -> None:
        """Look whether the parameters are those of a model.

        Args:
            sizes: Numbers of each parameter that the model trains, by name.

        Raises:
            TrainingError: They are not.
        """
        if odd := set(self._sizes.items()) ^ set(sizes.items()):
            raise TrainingError(
                f"the checkpoint does not fit the model: parameter {min(odd)[0]} is trained in only"
                " one of the two, or has another size there. Start over with checkpoint.resume:"
                " none"
            )

    def read(self, name: str, start: int, stop: int) -> Fragment:
        """Numbers of a parameter, put together from all files.

        Raises:
            TrainingError: Some are not there.
        """
        kinds = self._kinds[name]
        values = {
            kind: self._values(name, kind, start, stop)
            for kind in sorted({MASTER, *kinds} - {_STEP})
        }
        steps = [float(piece.file.get_tensor(piece.key)) for piece in self._pieces[name, _STEP]]
        return Fragment(name, start, values, max(steps, default=0.0))

    def _values(self, name: str, kind: str, start: int, stop: int) -> torch.Tensor:
        found = []
        place = start
        for piece in sorted(self._pieces[name, kind], key=lambda piece: piece.start):
            if piece.start <= place < min(piece.stop, stop):
                end = min(piece.stop, stop)
                rows = piece.file.get_slice(piece.key)
                found.append(rows[place - piece.start : end - piece.start])
                place = end
        if place < stop or not found:
            raise TrainingError(
                f"the checkpoint lacks {kind} of {name} from number {place} on. Start over with"
                " checkpoint.resume: none"
            )
        return torch.cat(found)
