"""Models behind one interface: loading, chat templates, media processing and embeddings.

``adapter.py`` holds the interface, ``families/`` one module for each that implements it.
"""

from __future__ import annotations

from mmrlhf_jobs.models.adapter import (
    DecoderInputs,
    EncodedGroup,
    LoadedModel,
    TrainableParts,
    VLMAdapter,
)
from mmrlhf_jobs.models.families.registry import supported_model_types
from mmrlhf_jobs.models.loading import load_model

__all__ = [
    "DecoderInputs",
    "EncodedGroup",
    "LoadedModel",
    "TrainableParts",
    "VLMAdapter",
    "load_model",
    "supported_model_types",
]
