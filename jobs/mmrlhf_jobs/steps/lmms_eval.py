"""What a policy understands, by lmms-eval, where it is installed (paper Table 2)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from mmrlhf_api.scalars import PositiveInt
from mmrlhf_api.steps.lmms_eval import LmmsEvalPart, LmmsEvalSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.errors import ModelError, SpecError
from mmrlhf_jobs.evaluation.understanding.command import lmms_eval_command
from mmrlhf_jobs.evaluation.understanding.lmms_eval import read_lmms_eval
from mmrlhf_jobs.evaluation.understanding.running import run_lmms_eval
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.alias import stands_for
from mmrlhf_jobs.storage.files import new_file

__all__ = ["STEP", "LmmsEvalSpec"]


class LmmsEvalSpec(StepSpec, LmmsEvalSettings):
    """Which policy to measure, and by what."""

    step: Literal["lmms-eval"] = "lmms-eval"
    """Name of the step."""
    policy: Annotated[Place, POSITIONAL]
    """Folder of the policy, or the file of an alias for what that stands for."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.json: the results as lmms-eval writes them."""
    processes: PositiveInt = 1
    """Processes, each with a GPU and the model; one spreads the model over all GPUs."""


def _run(spec: LmmsEvalSpec, context: StepContext) -> Outcome:
    """Run lmms-eval, and keep its results if they are such.

    Raises:
        InputError: There is no lmms-eval here, or it does not read such a policy.
        RunError: It has failed, or lost answers.
    """
    from mmrlhf_jobs.models.folders import fetch_model

    if not Path(spec.program).is_file():
        raise SpecError(
            f"{spec.program}: there is no lmms-eval here. The image of lmms-eval has it: name that"
            " image in spec.image, or as program the Python of an environment with it"
        )
    place = stands_for(spec.policy, context.storage)
    context.tell("load", f"fetching {place}")
    folder = fetch_model(place, context.scratch, context.storage)
    output = context.scratch / "lmms-eval"
    command = lmms_eval_command(
        str(folder),
        _model_type(folder, place),
        tasks=spec.tasks,
        output=str(output),
        program=spec.program,
        device=context.device.type,
        processes=spec.processes,
        limit=spec.limit,
        task_folder=spec.task_folder,
    )
    context.tell("measure", " ".join(command))
    found = run_lmms_eval(command, output, log=sys.stderr.write).read_bytes()
    figures = {one.name: one.value for one in read_lmms_eval(found, spec.out)}
    with new_file(spec.out, context.storage) as path:
        path.write_bytes(found)
    context.show({"policy": place, "figures": figures})
    return Outcome(spec.out, figures)


def _model_type(folder: Path, place: str) -> str:
    try:
        return str(json.loads((folder / "config.json").read_bytes())["model_type"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(
            f"{place}: its config.json names no model_type ({error!r}); name the folder of a whole"
            " model"
        ) from error


def _of_job(part: LmmsEvalPart, place: JobPlace) -> LmmsEvalSpec:
    if part.policy is None:
        raise place.unresolved("lmmsEval.policyJob", part.policy_job, "lmmsEval.policy")
    return LmmsEvalSpec(
        **place.settings(LmmsEvalSettings, part),
        policy=part.policy,
        out=place.at("lmms_eval.json"),
    )


STEP = Step(
    "Measure what a policy understands, by lmms-eval (paper Table 2).",
    LmmsEvalSpec,
    _run,
    computes=True,
    of_job=_of_job,
)
