"""``python -m mmrlhf_jobs <kind> [--job FILE]``: run one job on the processes of torchrun.

``python -m mmrlhf_jobs <step> ...``: run a step around training, such as ``score``; ``--help`` says
what it takes. ``python -m mmrlhf_jobs step FILE``: the same from a file.

Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 129 another attempt of the same run has
taken over, 141 another process of the job is gone, 143 stopped as asked, with what is done kept,
157 the object store is away.
Errors are one line on stderr and the termination file; tracebacks are for bugs alone.
"""

from __future__ import annotations

import argparse
import gc
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrlhf_api import KINDS, kind_of, load_job
from mmrlhf_api.constants import DEFAULT_JOB_PATH, ENV_JOB
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.imports import many_imports
from mmrlhf_jobs.process.ending import end
from mmrlhf_jobs.steps.registry import step_names
from mmrlhf_jobs.steps.runner import run_command, run_file

if TYPE_CHECKING:
    from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["main"]

_KINDS = tuple(kind.subcommand for kind in KINDS.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job or a step; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and given[0] in step_names():
        return run_command(given[0], given[1:])
    if given[:1] == ["step"]:
        return run_file(given[1:])
    return end(lambda: _run_job(given))


def _run_job(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m mmrlhf_jobs",
        description=__doc__.splitlines()[0],
        epilog=f"Steps, each with its own --help: {', '.join(step_names())}; step FILE for any.",
    )
    choices = [*_KINDS, "step", *step_names()]
    parser.add_argument("kind", choices=choices, help="kind of the job, or a step")
    parser.add_argument(
        "--job",
        type=Path,
        default=Path(os.environ.get(ENV_JOB, DEFAULT_JOB_PATH)),
        help=f"job file, YAML or JSON (default: ${ENV_JOB} or {DEFAULT_JOB_PATH})",
    )
    options = parser.parse_args(arguments)
    if options.kind not in _KINDS:
        parser.error(f"{options.kind}: the name of a step comes first")
    work = _training(options.kind, options.job)
    from mmrlhf_jobs.process.membership import run_in_gang

    return run_in_gang(work)


def _training(kind: str, job_file: Path) -> Callable[[TrainingContext], None]:
    job = load_job(job_file, accepted=True)
    if kind_of(job).subcommand != kind:
        raise SpecError(f"{job_file}: kind is {job.kind}, but the command is for {kind}")
    # torch takes seconds to import: a mistake in the job file is told before that.
    with many_imports():
        run = pkgutil.resolve_name(kind_of(job).runner)
    return lambda context: run(job, context)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    if code:
        # A failing rank must not wait in the exit handlers of libraries for ranks that are gone.
        os._exit(code)
    # All goes with the process: to look once more for rings among a million objects takes a second.
    gc.freeze()
    sys.exit(0)
