"""A run of Weights & Biases: https://docs.wandb.ai/ref/python/init."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmrlhf_api import WandbTracking
from mmrlhf_api.progress import STEP
from mmrlhf_jobs.reporting.trackers.tracker import Keep, Row, RunIdentity, is_figure

__all__ = ["WandbRun"]


class WandbRun:
    """Sends rows, or writes what ``wandb sync`` sends later.

    Args:
        settings: ``spec.tracking.wandb``.
        identity: What the run is called.
        folder: Local folder for its files.
        keep: Puts the file of an offline run among the artifacts.
    """

    name = "Weights & Biases"

    def __init__(
        self, settings: WandbTracking, identity: RunIdentity, folder: Path, keep: Keep
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._folder = folder
        self._keep = keep
        self._run: Any = None

    def open(self) -> None:
        """Begin the run, or go on with the one of this id."""
        import wandb

        wanted, identity = self._settings, self._identity
        online = wanted.mode == "online"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=wanted.project,
            entity=wanted.entity,
            id=identity.id,
            name=identity.name,
            config=dict(identity.job),
            tags=[f"{key}={value}"[:64] for key, value in identity.tags.items()],
            dir=str(self._folder),
            # An offline run has nobody to ask; what is synced later goes on by its id.
            resume="allow" if online else None,
            settings=wandb.Settings(
                mode=wanted.mode,
                # Its output may hold what no service is meant to see.
                console="off",
                save_code=False,
                disable_git=True,
                silent=True,
                # Whoever calls tries again, and the end of a job does not wait for long.
                init_timeout=30.0,
                finish_timeout=50.0,
                **({"base_url": wanted.base_url} if wanted.base_url else {}),
                **({"api_key": os.environ[wanted.api_key_env]} if online else {}),
            ),
        )
        self._next = int(self._run.step)

    def log(self, row: Row, time: float) -> None:
        """Log the row, unless an earlier attempt has."""
        del time  # wandb notes its own
        step = int(row[STEP.name])
        if step >= self._next:
            figures = {k: v for k, v in row.items() if k != STEP.name and is_figure(v)}
            self._run.log(figures, step=step)

    def keep(self) -> None:
        """Put the file of an offline run among the artifacts, as far as it is written."""
        if self._settings.mode == "offline":
            for path in sorted(self._folder.glob("wandb/offline-run-*/run-*.wandb")):
                self._keep(path, f"wandb/{path.name}")

    def close(self, *, succeeded: bool) -> None:
        """End the run; an offline one has its last words in its file then."""
        self._run.finish(exit_code=0 if succeeded else 1)
        self.keep()
