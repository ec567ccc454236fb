"""The command by which lmms-eval measures a policy's folder.

lmms-eval is no dependency of ours: it runs in an image of its own, from a folder that it can read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mmrlhf_jobs.errors import ModelError

__all__ = ["MODELS", "lmms_eval_command"]

MODELS: Final[Mapping[str, str]] = {
    "llava": "llava_hf",
    "llava_next": "llava_hf",
    "llava_onevision": "llava_hf",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
}
"""lmms-eval's model by ``model_type`` of a transformers folder (``lmms_eval/models`` of v0.6)."""


def lmms_eval_command(
    folder: str, model_type: object, *, tasks: Sequence[str], output: str, processes: int = 1
) -> list[str]:
    """The command, an argument an entry.

    Args:
        folder: Folder of the policy, as the image of lmms-eval sees it.
        model_type: That of its config.json.
        tasks: Tasks, as lmms-eval calls them.
        output: Folder for its results.
        processes: GPUs to use.

    Raises:
        ModelError: lmms-eval has no model that reads such a folder, as far as is known here.
    """
    model = MODELS.get(str(model_type))
    if model is None:
        raise ModelError(
            f"{folder}: model_type {model_type!r} is none that lmms-eval is known to read from a"
            f" folder: {', '.join(MODELS)}"
        )
    return [
        *("accelerate", "launch", f"--num_processes={processes}", "-m", "lmms_eval"),
        *("--model", model, "--model_args", f"pretrained={folder}"),
        *("--tasks", ",".join(tasks), "--batch_size", "1", "--output_path", output),
    ]
