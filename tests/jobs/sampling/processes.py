"""Modules of the tests as processes of their own, and how they kill themselves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from mmrlhf_jobs.sampling.parts import Draft, Parts
from tests.jobs.warm import Program

__all__ = ["die", "kill_at_part", "run_module"]


def run_module(name: str, *arguments: str) -> str:
    """Run ``python -m`` on one thread, to an end that is well; return its output."""
    program = Program(name, arguments, os.environ)
    output, errors = program.communicate(timeout=1500)
    assert program.wait() == 0, errors[-4000:]
    return output


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
