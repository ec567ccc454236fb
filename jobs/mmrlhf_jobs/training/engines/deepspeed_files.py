"""Files of DeepSpeed's checkpoints: tensors and plain values, read without running anything.

DeepSpeed's own checkpoint engine unpickles whatever a file says, so whoever may write to the
artifacts could run code in every job that goes on from them. This one reads with
``torch.load(weights_only=True)``, which knows tensors, containers and the few classes below.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import torch
from deepspeed.runtime.checkpoint_engine import CheckpointCommitInfo
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.utils.tensor_fragment import fragment_address

from mmrlhf_jobs.training.engines.tensor_files import read_tensors

__all__ = ["TensorFiles"]

_CLASSES: Final = (DynamicLossScaler, LossScaler, fragment_address)
"""What DeepSpeed keeps beside tensors: records of numbers, whose making does nothing else."""


class TensorFiles(CheckpointEngine):
    """Writes and reads the files of a checkpoint, for `DeepSpeedEngine.checkpoint_engine`."""

    def __init__(self) -> None:
        super().__init__()
        self.name = type(self).__name__

    def create(self, info: CheckpointCommitInfo) -> None:
        """Nothing to do before the first file."""

    def save(self, state_dict: dict[str, object], path: str) -> None:
        """Write one file, members of enumerations as their values."""
        torch.save(_plain(state_dict), path)

    def load(self, path: str, map_location: Any = None) -> Any:  # noqa: ANN401 - as DeepSpeed has it
        """Read one file.

        Raises:
            TrainingError: It holds something else than tensors and plain values.
        """
        return read_tensors(path, classes=_CLASSES, map_location=map_location)

    def commit(self, info: CheckpointCommitInfo) -> bool:  # noqa: ARG002
        """Nothing to do after the last file; the artifact store makes them visible."""
        return True


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever is saved
    """Values in place of members: some versions of Python pickle those as calls of `getattr`."""
    if isinstance(value, Enum):
        return value.value
    if type(value) is dict:
        return {key: _plain(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(entry) for entry in value)
    return value
