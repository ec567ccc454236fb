"""A job that is held at a place, as a process of its own.

``held.py publish ARGUMENTS...`` stops itself with the trained model in its hands, before any of it
is published. ``held.py sidecar:FOLDER:NUMBER ARGUMENTS...`` waits before it makes a side-car until
so many processes wait there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.scores.cache import SidecarCache
from mmrlhf_jobs.training import trainer


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


if __name__ == "__main__":
    place, *rest = sys.argv[1].split(":")
    if place == "publish":
        _stop_before_publishing()
    else:
        _meet(Path(rest[0]), int(rest[1]))
    code = main(sys.argv[2:])
    sys.stdout.flush()
    os._exit(code)
