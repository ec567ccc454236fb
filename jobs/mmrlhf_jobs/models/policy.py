"""Loading of a policy that is asked or measured, and not trained."""

from __future__ import annotations

from pathlib import Path

import torch

from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.folders import digest_folder, fetch_model
from mmrlhf_jobs.models.loading import Dtype, load_model
from mmrlhf_jobs.reporting.events import Tell
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["load_policy"]


def load_policy(
    uri: str,
    *,
    dtype: Dtype,
    chat_template: TemplateOwner,
    device: torch.device,
    scratch: Path,
    storage: StorageOptions | None,
    tell: Tell,
) -> tuple[LoadedModel, str]:
    """Load a policy without gradients; return it and the digest of its files.

    Args:
        uri: Its folder: a path, ``file://`` or ``s3://``.
        dtype: Type of the weights.
        chat_template: Whose chat template asks it.
        device: Where its weights are put.
        scratch: Local folder for a copy of what is in an object store.
        storage: Where the object store is, for ``s3://``.
        tell: Takes what whoever started the job should know of it.

    Raises:
        InputError: There is no such folder, or it cannot be loaded.
    """
    folder = fetch_model(uri, scratch, storage)
    loaded = load_model(
        folder, dtype=dtype, attention="sdpa", chat_template=chat_template, tell=tell
    )
    loaded.model.to(device).eval().requires_grad_(False)
    return loaded, digest_folder(folder)
