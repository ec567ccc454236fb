"""Work as a member of the gang of torchrun, or as one process alone."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from transformers.utils import logging

from mmrlhf_api.constants import ENV_ATTEMPT, ENV_FRESH
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.ending import end
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interrupted, Interruption
from mmrlhf_jobs.process.peers import PeerLost, is_peer_loss
from mmrlhf_jobs.process.stacks import listen_for_dumps
from mmrlhf_jobs.reporting.openlineage.telling import attempt_told_by
from mmrlhf_jobs.reporting.progress import progress_from_environment
from mmrlhf_jobs.watch.position import Position

__all__ = ["run_in_gang"]


def run_in_gang(work: Callable[[TrainingContext], None], *, log: TextIO | None = None) -> int:
    """Do work on the processes of torchrun, or on this one alone; return the exit code.

    Args:
        work: What to do with them.
        log: Where lines for people go; None is standard output.
    """
    # Our progress is the one that is shown.
    logging.disable_progress_bar()
    interruption = Interruption()
    interruption.listen()
    listen_for_dumps()
    position = Position.from_environment()
    runtime = Runtime.from_environment(position=position)
    _say(f"rank {runtime.rank} of {runtime.world_size} begins on {runtime.device}", log)
    # A thread that reads ahead may still write there when the job ends early.
    with tempfile.TemporaryDirectory(prefix="mmrlhf-", ignore_cleanup_errors=True) as scratch:
        progress = progress_from_environment(log=log)
        context = TrainingContext(
            runtime=runtime,
            scratch=Path(scratch),
            progress=progress,
            interruption=interruption,
            fresh=bool(os.environ.get(ENV_FRESH)),
            attempt=int(os.environ.get(ENV_ATTEMPT) or 0),
            told=attempt_told_by(tell=lambda message: progress.emit("notice", message=message)),
        )
        try:
            # What went wrong is told before anybody waits for processes that may be gone.
            code = end(lambda: _told(work, context))
            position.end(code)
        finally:
            context.told.close()
            context.progress.close()
            runtime.leave()
    if code == 0:
        _say(f"rank {runtime.rank} of {runtime.world_size} has ended well", log)
    return code


def _told(work: Callable[[TrainingContext], None], context: TrainingContext) -> int:
    try:
        return _among_peers(work, context)
    except Exception as error:
        context.told.fail(error, stopped=isinstance(error, Interrupted))
        raise


def _among_peers(work: Callable[[TrainingContext], None], context: TrainingContext) -> int:
    try:
        work(context)
    except RuntimeError as error:
        if context.runtime.world_size == 1 or not is_peer_loss(error):
            raise
        raise PeerLost(f"another process of the job is gone: {error}") from error
    return 0


def _say(line: str, log: TextIO | None) -> None:
    stream = log or sys.stdout
    stream.write(f"{line}\n")
    stream.flush()
