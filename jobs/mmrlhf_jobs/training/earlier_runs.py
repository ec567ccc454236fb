"""Checkpoints that earlier runs of the same name have left.

A job that is made anew with more memory, or changed and run again, is another run with another
folder. What an earlier one has computed of the very same training is gone on with; of what is not
used the log says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState
from mmrlhf_jobs.training.engines.interface import Engine

__all__ = ["EarlierRuns"]

_COMPLETE: Final = re.compile(r"(?P<run>.+)/checkpoints/step-(?P<step>\d{8})[^/]*/complete")
_TOLD: Final = 3


class EarlierRuns:
    """Other runs below the folder of a job's name. Nothing of theirs is changed.

    Args:
        store: Artifacts.
        prefix: Key of this run, ``<namespace>/<name>/<uid>``.
        runtime: Process group.
    """

    def __init__(self, store: ArtifactStore, prefix: str, runtime: Runtime) -> None:
        self._store = store
        self._prefix = prefix
        self._runtime = runtime

    def restore(
        self,
        engine: Engine[Any],
        checkpoints_of: Callable[[str], Checkpoints],
        misfit: Callable[[CheckpointState], str | None],
        tell: Callable[[str], None],
    ) -> CheckpointState | None:
        """Load the checkpoint of the earlier run that came furthest with this very training.

        Every process must call it.

        Args:
            engine: What to load into.
            checkpoints_of: Checkpoints of a run by its key.
            misfit: Why a checkpoint cannot be gone on with, or None.
            tell: Takes a sentence on each of the first runs that cannot be used, and on the one
                that is; called on every process.
        """
        for number, run in enumerate(self._runtime.on_main(self._furthest_first)):
            checkpoints = checkpoints_of(run)
            state, fault = checkpoints.newest()
            if state is not None:
                fault = misfit(state) or checkpoints.load(engine, state)
                if not fault:
                    tell(f"going on from step {state.step}, the checkpoint of earlier run {run}")
                    return state
            if number < _TOLD:
                step = "" if state is None else f" of step {state.step}"
                tell(f"the checkpoint{step} of earlier run {run} is not used: it {fault}")
        return None

    def _furthest_first(self) -> list[str]:
        """Keys of other runs with a checkpoint."""
        steps: dict[str, int] = {}
        for key in self._store.list_committed(self._prefix.rpartition("/")[0]):
            if (found := _COMPLETE.fullmatch(key)) and found["run"] != self._prefix:
                steps[found["run"]] = max(steps.get(found["run"], 0), int(found["step"]))
        return sorted(steps, key=lambda run: (-steps[run], run))
