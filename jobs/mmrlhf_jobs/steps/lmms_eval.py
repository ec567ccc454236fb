"""How to measure a policy by lmms-eval, which runs elsewhere: the command for its folder."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from mmrlhf_api.scalars import PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.evaluation.understanding.command import lmms_eval_command
from mmrlhf_jobs.steps.spec import Place, Places, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext
from mmrlhf_jobs.storage.uris import locate, storage_errors

__all__ = ["STEP", "LmmsEvalSpec"]


class LmmsEvalSpec(StepSpec):
    """Which policy to measure, and by what."""

    step: Literal["lmms-eval"] = "lmms-eval"
    """Name of the step."""
    model: Annotated[Place, POSITIONAL]
    """Folder of the policy, which lmms-eval must see under the same name."""
    output: Annotated[Place, POSITIONAL]
    """Folder for the results of lmms-eval."""
    tasks: Annotated[Places, Flag("--task")]
    """A task, as lmms-eval calls it; repeatable."""
    processes: PositiveInt = 1
    """GPUs to use."""


def _run(spec: LmmsEvalSpec, context: StepContext) -> Outcome:
    """Print the command.

    Raises:
        ModelError: The folder holds no model that lmms-eval is known to read.
    """
    uri = f"{spec.model.rstrip('/')}/config.json"
    place = locate(uri, context.storage)
    with storage_errors(uri, "read"):
        if not place.fs.isfile(place.path):
            raise ModelError(f"{spec.model}: there is no config.json; name a folder of a model")
        content = place.fs.cat_file(place.path)
    try:
        config = json.loads(content)
        model_type = config["model_type"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(f"{uri}: it names no model_type ({error!r})") from error
    command = lmms_eval_command(
        spec.model, model_type, tasks=spec.tasks, output=spec.output, processes=spec.processes
    )
    context.show({"command": command})
    return Outcome(spec.output)


STEP = Step("Print how lmms-eval measures a policy (paper Table 2).", LmmsEvalSpec, _run)
