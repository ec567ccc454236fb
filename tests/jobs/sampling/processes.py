"""Modules of the tests as processes of their own, and how they kill themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmrlhf_jobs.sampling.parts import Draft, Parts

__all__ = ["die", "kill_at_part", "run_module"]

_ROOT = Path(__file__).parents[3]


def run_module(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` on one thread, to an end that is well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", name, *arguments],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]),
        },
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_part(number: int, stage: str | None = None) -> None:
    """Die when a part is finished but not yet kept: the so-many-th of a stage, or of all."""
    whole, made = Parts.make, 0

    @contextmanager
    def make(self: Parts, name: str, key: str) -> Iterator[Draft]:
        nonlocal made
        with whole(self, name, key) as draft:
            yield draft
            made += stage is None or self._prefix.endswith(f"/{stage}")
            if made == number:
                die()

    Parts.make = make  # type: ignore[method-assign]
