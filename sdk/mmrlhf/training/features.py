"""What frozen vision towers have made of media, kept for the models of a program."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from mmrlhf.errors import UsageError
from mmrlhf_jobs.features.limits import MEMORY, read_limits
from mmrlhf_jobs.forward.kept_features import KeptFeatures
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.reporting.events import tell_in_log

__all__ = ["Features"]


class Features:
    """Features of images and videos, so that a vision tower runs once for each.

    Each model has its own, unless several are given one: then those that have the same tower, such
    as a policy and its reference, find what any of them has made.

    Args:
        cache: ``off`` keeps nothing.
        memory: Most memory, as a quantity.
        disk: Most space in a temporary folder, which goes when this does; None uses none.

    Raises:
        UsageError: An amount is no quantity.
    """

    def __init__(
        self, *, cache: Literal["on", "off"] = "on", memory: str = MEMORY, disk: str | None = None
    ) -> None:
        try:
            limits = read_limits(cache, memory, disk)
        except ValueError as error:
            raise UsageError(f"memory and disk of features: each {error}") from error
        scratch = Path(tempfile.gettempdir())
        if limits is not None and limits.disk:
            scratch = Path(tempfile.mkdtemp(prefix="mmrlhf-features-"))
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._kept = KeptFeatures(
            limits,
            runtime=Runtime(rank=0, world_size=1, device=torch.device("cpu")),
            scratch=scratch,
            tell=tell_in_log,
        )
        self._seen: weakref.WeakKeyDictionary[PreTrainedModel, object] = weakref.WeakKeyDictionary()

    def keep(self, loaded: LoadedModel, name: str) -> None:
        """Keep what a model's tower makes; looks anew at weights that have changed since.

        Args:
            loaded: The model.
            name: What it is, for `figures`.
        """
        state = [
            (one.data_ptr(), None if one.is_inference() else one._version, one.requires_grad)  # noqa: SLF001
            for one in loaded.model.parameters()
        ]
        if self._seen.get(loaded.model) != state:
            self._kept.keep(loaded, name)
            self._seen[loaded.model] = state

    def figures(self) -> Mapping[str, Any]:
        """What was found and made, as `visionFeatures` of a job's manifest has it."""
        return self._kept.figures()
