"""What a tower has made of the media of one query, in memory and as bytes of a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

__all__ = ["DamagedEntryError", "Entry", "Leaf", "UnitCall"]

_DIGEST_BYTES: Final = 32


class DamagedEntryError(Exception):
    """The bytes of a file are not those that were written."""


@dataclass(frozen=True)
class Leaf:
    """A tensor among the outputs of a module.

    Attributes:
        dtype: Its type.
        shape: Its shape.
        value: The tensor; None if nothing that is trained reads it.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    value: Tensor | None


@dataclass(frozen=True)
class UnitCall:
    """One call of a frozen module.

    Attributes:
        unit: Number of the module.
        leaves: The tensors of its output, in order.
    """

    unit: int
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Entry:
    """Calls of all frozen modules for the media of one query, in order; values on the CPU."""

    calls: tuple[UnitCall, ...]

    @property
    def values(self) -> list[Tensor]:
        """The tensors that are kept."""
        return [leaf.value for call in self.calls for leaf in call.leaves if leaf.value is not None]

    @property
    def size(self) -> int:
        """Bytes of the tensors that are kept."""
        return sum(value.nbytes for value in self.values)

    def to_bytes(self) -> bytes:
        """A digest, the forms of all tensors as JSON, and those that are kept."""
        forms = [
            [
                call.unit,
                [
                    [str(leaf.dtype).removeprefix("torch."), leaf.shape, leaf.value is not None]
                    for leaf in call.leaves
                ],
            ]
            for call in self.calls
        ]
        head = json.dumps(forms).encode()
        tensors: bytes = save({str(index): value for index, value in enumerate(self.values)})
        content = len(head).to_bytes(8, "little") + head + tensors
        return hashlib.sha256(content).digest() + content

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """What `to_bytes` wrote.

        Raises:
            DamagedEntryError: It is something else.
        """
        content = memoryview(data)[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != data[:_DIGEST_BYTES]:
            raise DamagedEntryError
        try:
            length = int.from_bytes(content[:8], "little")
            forms = json.loads(bytes(content[8 : 8 + length]))
            tensors = load(bytes(content[8 + length :]))
            values = (tensors[str(index)] for index in range(len(tensors)))
            return cls(
                tuple(
                    UnitCall(
                        unit,
                        tuple(
                            Leaf(
                                getattr(torch, dtype), tuple(shape), next(values) if kept else None
                            )
                            for dtype, shape, kept in leaves
                        ),
                    )
                    for unit, leaves in forms
                )
            )
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedEntryError from error
