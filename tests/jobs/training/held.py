"""A job that is held at a place, as a process of its own.

``held.py publish ARGUMENTS...`` stops itself with the trained model in its hands, before any of it
is published. ``held.py sidecar:FOLDER:NUMBER ARGUMENTS...`` waits before it makes a side-car until
so many processes wait there. ``held.py event:NAME=VALUE ARGUMENTS...`` stays once it has told an
event, until SIGTERM comes, or SIGUSR1, which is to go on; by the launcher of a node where the
environment has one.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.reporting.file import FileProgress
from mmrlhf_jobs.scores.cache import SidecarCache
from mmrlhf_jobs.training import trainer
from tests.jobs import launched


def _stop_before_publishing() -> None:
    publish = trainer.publish_model  # type: ignore[attr-defined]

    def stopped(*arguments: Any, **named: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        publish(*arguments, **named)

    trainer.publish_model = stopped  # type: ignore[attr-defined]


def _meet(folder: Path, number: int) -> None:
    make = SidecarCache.make

    def together(self: SidecarCache, *arguments: Any, **named: Any) -> Any:
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < number:
            time.sleep(0.01)
        return make(self, *arguments, **named)

    SidecarCache.make = together  # type: ignore[method-assign]


def _stay_after(place: str) -> None:
    name, _, value = place.partition("=")
    emit, go_on = FileProgress.emit, list[int]()
    signal.signal(signal.SIGUSR1, lambda number, _: go_on.append(number))

    def told(self: FileProgress, event: str, **fields: object) -> None:
        if (event, str(fields.get(name))) != (name, value):
            return emit(self, event, **fields)
        before = signal.getsignal(signal.SIGTERM)

        def hear(number: int, frame: FrameType | None) -> None:
            go_on.append(number)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, hear)  # first: it may come as soon as the event is told
        emit(self, event, **fields)
        while not go_on:
            time.sleep(0.01)
        signal.signal(signal.SIGTERM, before)
        return None

    FileProgress.emit = told  # type: ignore[method-assign]


if __name__ == "__main__":
    place, *rest = sys.argv.pop(1).split(":")
    if place == "publish":
        _stop_before_publishing()
    elif place == "event":
        _stay_after(*rest)
    else:
        _meet(Path(rest[0]), int(rest[1]))
    if "PET_NNODES" in os.environ:
        launched.main(launched.forks(launched.run_job))
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
