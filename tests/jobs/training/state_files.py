"""Files of training state in a folder, as a checkpoint has them in its artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmrlhf_jobs.training.engines.state import Fragment
from mmrlhf_jobs.training.engines.tensor_files import FILE_BYTES, files_of

__all__ = ["write"]


def write(fragments: Sequence[Fragment], folder: Path, *, limit: int = FILE_BYTES) -> None:
    """Write fragments into a folder."""
    for name, make in files_of(fragments, limit=limit).items():
        (folder / name).write_bytes(make())
