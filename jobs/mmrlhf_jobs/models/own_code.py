"""Models that bring Python code of their own, which is never run.

``auto_map`` in a configuration names classes in files of the model folder, and transformers asks on
standard input whether it may run them unless it is told (`Custom models
<https://huggingface.co/docs/transformers/custom_models>`_). Every call here tells it no.
"""

from __future__ import annotations

from pathlib import Path

from mmrlhf_jobs.errors import ModelError

__all__ = ["loading_error"]


def loading_error(folder: Path, error: Exception, message: str) -> ModelError:
    """The error to raise when transformers could not load something of a folder.

    Args:
        folder: The model folder.
        error: What transformers raised.
        message: What to say, unless it is that the folder brings its own code.
    """
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{folder}: the model brings Python code of its own (auto_map in its configuration), "
            "which is never run; use a conversion for transformers, whose classes are part of "
            "transformers itself (on the Hugging Face hub their names often end in -hf)"
        )
    return ModelError(message)
