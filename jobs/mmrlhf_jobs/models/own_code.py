"""Models that need what is not here: Python code of their own, or packages.

``auto_map`` in a configuration names classes in files of the model folder, and transformers asks on
standard input whether it may run them unless it is told (`Custom models
<https://huggingface.co/docs/transformers/custom_models>`_). Every call here tells it no, so that
such code is never run.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from mmrlhf_jobs.errors import ModelError

__all__ = ["loading_error"]

_PACKAGES = ("mistral_common", "num2words", "sentencepiece", "tiktoken", "timm", "torchvision")
"""Packages that processors, tokenizers and models of transformers ask for, and many do without."""


def loading_error(folder: Path, error: Exception, message: str) -> ModelError:
    """The error to raise when transformers could not load something of a folder.

    Args:
        folder: The model folder.
        error: What transformers raised.
        message: What to say, unless it is that the folder brings its own code, or that a package
            is lacking.
    """
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{folder}: the model brings Python code of its own (auto_map in its configuration), "
            "which is never run; use a conversion for transformers, whose classes are part of "
            "transformers itself (on the Hugging Face hub their names often end in -hf)"
        )
    told = str(error).lower().replace("-", "_")
    lacking = [name for name in _PACKAGES if name in told and find_spec(name) is None]
    if lacking:
        # The newest is made for the newest torch, and pip would bring that along.
        which = f" in its version for torch {version('torch')}" if "torchvision" in lacking else ""
        return ModelError(
            f"{folder}: transformers reads this model with {' and '.join(lacking)}, which is not "
            f"installed here: pip install {' '.join(lacking)}{which}, or take a model that needs "
            "none (docs/models.md)"
        )
    return ModelError(message)
