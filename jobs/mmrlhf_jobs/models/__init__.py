"""Models behind one interface: loading, chat templates, media processing and embeddings.

``adapter.py`` holds the interface and :func:`load_model`; one module per family implements it.
"""

from __future__ import annotations

from mmrlhf_jobs.models.adapter import (
    EncodedGroup,
    LoadedModel,
    TrainableParts,
    VLMAdapter,
    load_model,
    supported_model_types,
)

__all__ = [
    "EncodedGroup",
    "LoadedModel",
    "TrainableParts",
    "VLMAdapter",
    "load_model",
    "supported_model_types",
]
