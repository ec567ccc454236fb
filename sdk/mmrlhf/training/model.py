"""A model that answers, and how likely it finds responses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch

from mmrlhf.training.features import Features
from mmrlhf.training.rows import OpenRow, Rows, open_rows
from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.forward.sharing import Sharing
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.folders import fetch_model
from mmrlhf_jobs.models.loading import Attention, Dtype
from mmrlhf_jobs.models.loading import load_model as load_folder
from mmrlhf_jobs.reporting.events import tell_in_log
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Model", "ResponseLikelihoods", "load_model", "log_probs"]


@dataclass(frozen=True)
class Model:
    """A vision-language model with what turns questions and media into its inputs.

    Attributes:
        loaded: The transformers model, its processor, and the adapter of its family.
        device: Where it computes.
        features: What its vision tower has made.
    """

    loaded: LoadedModel
    device: torch.device
    features: Features = field(default_factory=Features)

    @cached_property
    def sharing(self) -> Sharing:
        """Whether responses share a prompt: found out on the first rows that are asked about."""
        return Sharing(self.loaded.model, self.loaded.adapter, tell_in_log)


@dataclass(frozen=True)
class ResponseLikelihoods:
    """How likely a model finds the responses of one row.

    Attributes:
        sums: ``[R]`` log-probability of each response given question and media, in nats.
        lengths: ``[R]`` int64, the tokens that were summed, the terminal token included.
    """

    sums: torch.Tensor
    lengths: torch.Tensor

    @property
    def per_token(self) -> torch.Tensor:
        """``[R]`` mean log-probability of a token, in nats."""
        return self.sums / self.lengths


def load_model(
    uri: str | Path,
    *,
    dtype: Dtype = "float32",
    attention: Attention = "sdpa",
    chat_template: TemplateOwner = "processor",
    device: torch.device | str = "cpu",
    features: Features | None = None,
    storage: StorageOptions | None = None,
) -> Model:
    """Load a model, ready to be asked; none of its weights asks for gradients.

    Args:
        uri: Its folder: a path, ``file://`` or ``s3://``; that of a job's artifacts is ``model/``.
        dtype: Type of all weights.
        attention: Attention of decoder and vision tower.
        chat_template: Whose chat template is used where processor and tokenizer differ, of which
            the log ``mmrlhf`` warns: that of the job, for a model that one has trained.
        device: Where to compute.
        features: Where to keep what its vision tower makes; None keeps it in memory, for this
            model.
        storage: How to reach an object store.

    Raises:
        ModelError: It is missing, incomplete, or of a family that is not supported.
    """
    with tempfile.TemporaryDirectory(prefix="mmrlhf-model-") as scratch:
        folder = fetch_model(str(uri), Path(scratch), storage)
        loaded = load_folder(folder, dtype=dtype, attention=attention, chat_template=chat_template)
    loaded.model.to(device)
    loaded.model.eval().requires_grad_(False)
    return Model(loaded, torch.device(device), features or Features())


def log_probs(
    model: Model,
    rows: Rows,
    *,
    batch_size: int = 1,
    media_root: str | None = None,
    storage: StorageOptions | None = None,
) -> list[ResponseLikelihoods]:
    """Compute the log-probability of every response given its question and media.

    Without gradients. The prompt is computed once for all responses of a row where the model can
    share it, which is compared with the model's own forward pass on the first rows. The tower
    runs once for each image, see `Features`. The numbers of a row do not depend on the other rows
    of its batch.

    Args:
        model: What `load_model` returned.
        rows: A data set, records, or rows made by hand.
        batch_size: Rows of one forward pass.
        media_root: Folder that relative media URIs of records start from; None is that of the data.
        storage: How to reach an object store.

    Returns:
        One entry a row, in order.

    Raises:
        DataError: A medium cannot be read, a text holds a special token, or a sequence is longer
            than the model takes.
        ModelError: The first rows are not read as transformers reads them.
    """
    adapter = model.loaded.adapter
    model.features.keep(model.loaded, "model")
    opened = open_rows(rows, media_root=media_root, storage=storage)
    found: list[ResponseLikelihoods] = []
    while batch := list(islice(_encoded(model, opened), batch_size)):
        shared = model.sharing.find(batch).shared
        with torch.no_grad():
            result = response_log_probs(model.loaded.model, adapter, batch, shared_prefix=shared)
        counts = [len(group.responses) for group in batch]
        found += [
            ResponseLikelihoods(sums.cpu(), lengths.cpu())
            for sums, lengths in zip(
                result.sums.split(counts), result.lengths.split(counts), strict=True
            )
        ]
    return found


def _encoded(model: Model, rows: Iterator[OpenRow]) -> Iterator[EncodedGroup]:
    for row in rows:
        group = model.loaded.adapter.encode(row.question, row.media, row.responses)
        longest = len(group.prompt_ids) + max(map(len, group.responses))
        if longest > model.loaded.max_tokens:
            raise DataError(
                f"{longest} tokens with media, question and response, but the model takes "
                f"{model.loaded.max_tokens}, and nothing is cut off; the question is "
                f"{row.question[:80]!r}"
            )
        yield group
