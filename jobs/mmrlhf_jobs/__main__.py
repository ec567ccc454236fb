"""``python -m mmrlhf_jobs <kind> [--job FILE]``: run one job on the processes of torchrun.

``python -m mmrlhf_jobs score --help``: score a data set with a reward model, on as many.

Exit codes: 0 done, 1 the run failed, 2 the input is wrong, 141 another process of the job is gone,
143 stopped as asked with a checkpoint, 157 the object store is away.
Errors are one line on stderr and the termination file; tracebacks are for bugs alone.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrlhf_api import KINDS, JobFileError, kind_of, load_job
from mmrlhf_api.constants import DEFAULT_JOB_PATH, ENV_FRESH, ENV_JOB
from mmrlhf_api.termination import Ending
from mmrlhf_jobs.errors import JobError, SpecError
from mmrlhf_jobs.reporting.termination import write_termination

if TYPE_CHECKING:
    from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a job; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["score"]:
            return _run(_scoring(given[1:]))
        parser = argparse.ArgumentParser(prog="mmrlhf_jobs", description=__doc__.splitlines()[0])
        subcommands = [kind.subcommand for kind in KINDS.values()]
        parser.add_argument("kind", choices=[*subcommands, "score"], help="kind of the job")
        parser.add_argument(
            "--job",
            type=Path,
            default=Path(os.environ.get(ENV_JOB, DEFAULT_JOB_PATH)),
            help=f"job file, YAML or JSON (default: ${ENV_JOB} or {DEFAULT_JOB_PATH})",
        )
        options = parser.parse_args(given)
        return _run(_training(options.kind, options.job))
    except JobFileError as error:
        return _fail(Ending.INVALID_JOB, str(error))
    except JobError as error:
        return _fail(error.ending, str(error))
    except Exception as error:  # noqa: BLE001 - the last resort of a process
        traceback.print_exc()
        return _fail(
            Ending.INTERNAL_ERROR,
            f"{type(error).__name__}: {error}. This is a bug of mmrlhf; the log has its traceback",
        )


def _training(kind: str, job_file: Path) -> Callable[[TrainingContext], None]:
    job = load_job(job_file)
    if kind_of(job).subcommand != kind:
        raise SpecError(f"{job_file}: kind is {job.kind}, but the command is for {kind}")
    # torch takes seconds to import: a mistake in the job file is told before that.
    run = pkgutil.resolve_name(kind_of(job).runner)
    return lambda context: run(job, context)


def _scoring(arguments: Sequence[str]) -> Callable[[TrainingContext], None]:
    from mmrlhf_jobs.steps.score import parse_scoring

    return parse_scoring(arguments).run


def _run(work: Callable[[TrainingContext], None]) -> int:
    """Do work on the processes of torchrun, or on this one alone."""
    from transformers.utils import logging

    from mmrlhf_jobs.process.context import TrainingContext
    from mmrlhf_jobs.process.gang import Runtime
    from mmrlhf_jobs.process.interruption import Interrupted, Interruption
    from mmrlhf_jobs.process.peers import is_peer_loss
    from mmrlhf_jobs.reporting.progress import progress_from_environment

    # Our progress is the one that is shown.
    logging.disable_progress_bar()
    interruption = Interruption()
    interruption.listen()
    runtime = Runtime.from_environment()
    _say(f"rank {runtime.rank} of {runtime.world_size} begins on {runtime.device}")
    with tempfile.TemporaryDirectory(prefix="mmrlhf-") as scratch:
        context = TrainingContext(
            runtime=runtime,
            scratch=Path(scratch),
            progress=progress_from_environment(),
            interruption=interruption,
            fresh=bool(os.environ.get(ENV_FRESH)),
        )
        try:
            work(context)
        except Interrupted as stopped:
            return _fail(Ending.INTERRUPTED, str(stopped))
        except RuntimeError as error:
            if runtime.world_size == 1 or not is_peer_loss(error):
                raise
            return _fail(Ending.PEER_LOST, f"another process of the job is gone: {error}")
        finally:
            context.progress.close()
            runtime.leave()
    _say(f"rank {runtime.rank} of {runtime.world_size} has ended well")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(ending: Ending, message: str) -> int:
    write_termination(exit_code=ending.exit_code, reason=ending, message=message)
    sys.stderr.write(f"error: {message}\n")
    sys.stderr.flush()
    return ending.exit_code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    if code:
        # A failing rank must not wait in the exit handlers of libraries for ranks that are gone.
        os._exit(code)
    sys.exit(0)
