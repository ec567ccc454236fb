"""The command by which lmms-eval measures a policy's folder.

lmms-eval is no dependency of ours, and wants other versions of some that are: it has a Python of
its own, in an image that few need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mmrlhf_api.steps.lmms_eval import PROGRAM
from mmrlhf_jobs.errors import ModelError

__all__ = ["MODELS", "lmms_eval_command"]

MODELS: Final[Mapping[str, str]] = {
    "llava": "llava_hf",
    "llava_next": "llava_hf",
    "llava_onevision": "llava_hf",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
}
"""lmms-eval's model by ``model_type`` of a transformers folder (``lmms_eval/models`` of v0.7.3)."""


def lmms_eval_command(
    folder: str,
    model_type: object,
    *,
    tasks: Sequence[str],
    output: str,
    program: str = PROGRAM,
    device: str = "cuda",
    processes: int = 1,
    limit: int | None = None,
    task_folder: str | None = None,
) -> list[str]:
    """The command, an argument an entry.

    Several processes have a GPU and the model each. One spreads the model over all devices: without
    ``device_map``, v0.7.3 passes transformers 5 an empty one for LLaVA, which it refuses.

    Args:
        folder: Folder of the policy.
        model_type: That of its config.json.
        tasks: Tasks, as lmms-eval calls them.
        output: Folder for its results.
        program: The Python that has lmms-eval.
        device: Where inputs go, ``cuda`` or ``cpu``.
        processes: GPUs to use, each for samples of its own.
        limit: Most samples of each task.
        task_folder: Folder with more tasks.

    Raises:
        ModelError: lmms-eval has no model that reads such a folder, as far as is known here.
    """
    model = MODELS.get(str(model_type))
    if model is None:
        raise ModelError(
            f"{folder}: model_type {model_type!r} is none that lmms-eval is known to read from a"
            f" folder: {', '.join(MODELS)}"
        )
    if "," in folder or "=" in folder:
        raise ModelError(f"{folder}: lmms-eval takes no folder with , or = in its name")
    alone = processes == 1
    launcher = () if alone else ("-m", "accelerate.commands.launch", f"--num_processes={processes}")
    arguments = f"pretrained={folder}" + (",device_map=auto" if alone else "")
    return [
        *(program, *launcher, "-m", "lmms_eval", "--model", model, "--model_args", arguments),
        *("--device", device, "--tasks", ",".join(tasks), "--batch_size", "1"),
        *(() if limit is None else ("--limit", str(limit))),
        *(() if task_folder is None else ("--include_path", task_folder)),
        *("--output_path", output),
    ]
