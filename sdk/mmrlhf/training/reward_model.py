"""The critique-based reward model, asked about records or rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mmrlhf.errors import UsageError
from mmrlhf.training.features import Features
from mmrlhf.training.rows import Rows, open_rows
from mmrlhf_api import RewardInference
from mmrlhf_jobs.models.loading import Attention, Dtype
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel, Verdict
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["RewardModel", "ScoredResponse"]

ScoredResponse = Verdict
"""``score``, the ``critiques`` it was read after, and how many of them were ``cut``."""


@dataclass(frozen=True)
class RewardModel:
    """Scores responses, by default after a critique that it writes first (paper 3.2).

    Attributes:
        judge: The model itself, for questions about one query at a time.
        features: What its vision tower has made.
    """

    judge: CritiqueRewardModel
    features: Features = field(default_factory=Features)

    @classmethod
    def from_pretrained(
        cls,
        uri: str | Path,
        *,
        inference: RewardInference | Mapping[str, object] | None = None,
        dtype: Dtype = "float32",
        attention: Attention = "sdpa",
        device: torch.device | str = "cpu",
        seed: int = 0,
        features: Features | None = None,
        storage: StorageOptions | None = None,
    ) -> RewardModel:
        """Load a reward model.

        Args:
            uri: Its folder, ``model/`` of a RewardTrainJob's artifacts: a path, ``file://`` or
                ``s3://``.
            inference: How to score, or what to change of how its job said, such as
                ``{"critique": "none"}``.
            dtype: Type of all weights.
            attention: Attention of decoder and vision tower.
            device: Where to compute.
            seed: Seed of sampled critiques.
            features: Where to keep what its vision tower makes; None keeps it in memory, for this
                model.
            storage: How to reach an object store.

        Raises:
            ModelError: It is missing, damaged, or no reward model.
            SpecError: The inference settings do not fit each other.
        """
        return cls(
            CritiqueRewardModel.from_pretrained(
                uri,
                inference=inference,
                dtype=dtype,
                attention=attention,
                device=device,
                seed=seed,
                storage=storage,
            ),
            features or Features(),
        )

    def score(
        self,
        rows: Rows,
        *,
        media_root: str | None = None,
        storage: StorageOptions | None = None,
    ) -> list[list[ScoredResponse]]:
        """Score all responses; a score does not depend on the other responses.

        For whole data sets over several processes, with parts that are kept, there is
        ``python -m mmrlhf_jobs score``, which gives the same scores.

        Args:
            rows: A data set, records, or rows made by hand.
            media_root: Folder that relative media URIs of records start from; None is that of the
                data.
            storage: How to reach an object store.

        Returns:
            One list a row, one entry a response, in order.

        Raises:
            DataError: A medium cannot be read, a text holds a special token, or a sequence is too
                long.
            UsageError: The model is to read the critiques of people, which rows do not bring.
        """
        if self.judge.needs_critiques:
            raise UsageError(
                "this reward model reads the critiques of people before it scores, and rows bring "
                'none; load it with inference={"critique": "generated"}, or score a data set by '
                "python -m mmrlhf_jobs score"
            )
        self.features.keep(self.judge.loaded, "reward model")
        return [
            self.judge.score(row.question, row.media, row.responses)
            for row in open_rows(rows, media_root=media_root, storage=storage)
        ]
