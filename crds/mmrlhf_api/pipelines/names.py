"""Names of what a pipeline makes: deterministic, so that making one twice makes one.

::

    weekly                          a pipeline
    weekly-29341234                 a run of it
    weekly-29341234-judge           the job of its step judge
    weekly-29341234-judge--1        the same after the first retry

A step's name has no two dashes in a row, so that no step has the name of another one's retry.
"""

from __future__ import annotations

from mmrlhf_api.bounds import MAX_JOB_NAME

__all__ = [
    "LABEL_PIPELINE",
    "LABEL_RUN",
    "LABEL_STEP",
    "MAX_RUN_SUFFIX",
    "job_name",
    "pipeline_excess",
    "run_excess",
]

LABEL_PIPELINE = "mmrlhf.io/pipeline"
"""Name of the pipeline that a run, or a job of one, is of."""
LABEL_RUN = "mmrlhf.io/run"
"""Name of the run that a job is of."""
LABEL_STEP = "mmrlhf.io/step"
"""Name of the step that a job is of."""
MAX_RUN_SUFFIX = 11
"""Most characters that follow the pipeline's name in that of a run, the dash among them."""
_MAX_TRY = 99


def job_name(run: str, step: str, tries: int = 0) -> str:
    """Name of the job of a step.

    Args:
        run: Name of the run.
        step: Name of the step.
        tries: How often it was run anew.
    """
    return f"{run}-{step}--{tries}" if tries else f"{run}-{step}"


def run_excess(run: str, step: str) -> int:
    """By how many characters the longest name of a step's jobs is too long; 0 if it is not."""
    return max(0, len(job_name(run, step, _MAX_TRY)) - MAX_JOB_NAME)


def pipeline_excess(pipeline: str, step: str) -> int:
    """The same for the runs that are made of a pipeline."""
    return run_excess(pipeline + "x" * MAX_RUN_SUFFIX, step)
