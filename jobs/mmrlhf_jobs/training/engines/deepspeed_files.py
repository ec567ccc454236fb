"""Files of DeepSpeed's checkpoints: tensors and plain values, read without running anything.

DeepSpeed's own checkpoint engine unpickles whatever a file says, so whoever may write to the
artifacts could run code in every job that goes on from them. This one reads with
``torch.load(weights_only=True)``, which knows tensors, containers and the few classes below.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from deepspeed.runtime.checkpoint_engine import CheckpointCommitInfo
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address

from mmrlhf_jobs.training.engines.tensor_files import read_tensors

__all__ = ["TensorFiles"]

_CLASSES: Final = (DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address)
"""What DeepSpeed keeps beside tensors: records of numbers, whose making does nothing else."""


class TensorFiles(CheckpointEngine):
    """Writes and reads the files of a checkpoint, for `DeepSpeedEngine.checkpoint_engine`."""

    def __init__(self) -> None:
        super().__init__()
        self.name = type(self).__name__

    def create(self, info: CheckpointCommitInfo) -> None:
        """Nothing to do before the first file."""

    def save(self, state_dict: dict[str, object], path: str) -> None:
        """Write one file."""
        torch.save(state_dict, path)

    def load(self, path: str, map_location: Any = None) -> Any:  # noqa: ANN401 - as DeepSpeed has it
        """Read one file.

        Raises:
            TrainingError: It holds something else than tensors and plain values.
        """
        return read_tensors(path, classes=_CLASSES, map_location=map_location)

    def commit(self, info: CheckpointCommitInfo) -> bool:  # noqa: ARG002
        """Nothing to do after the last file; the artifact store makes them visible."""
        return True
