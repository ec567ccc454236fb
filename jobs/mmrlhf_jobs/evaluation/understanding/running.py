"""A run of lmms-eval as a process of its own, and what it says of itself.

Its models catch what goes wrong with an answer, say so in the log, and count an empty one: such a
figure is none, so the log is read as it passes. It ends with 0 when it has failed, too: what counts
is whether it has left results.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mmrlhf_jobs.errors import RunError

__all__ = ["environment_of", "run_lmms_eval"]

_LOST: Final = re.compile(r"Error .* (in generating|when loading video)")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_MEMBER: Final = re.compile(
    r"(PET|TORCHELASTIC)_\w+|((LOCAL|GROUP|ROLE)_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)"
)
_LAST: Final = 12


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is no member of this one's gang: it makes its own."""
    return {name: value for name, value in environ.items() if _MEMBER.fullmatch(name) is None}


def run_lmms_eval(command: Sequence[str], output: Path, *, log: Callable[[str], object]) -> Path:
    """Run it to its end, and return its results; where this is stopped, so is all it has started.

    Args:
        command: The command.
        output: The folder of results that the command names, which is empty.
        log: Takes what it says, line by line.

    Raises:
        RunError: It cannot be started, has left no results, or has lost answers; with what it said.
    """
    last: deque[str] = deque(maxlen=_LAST)
    lost: list[str] = []
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment_of(os.environ),
            start_new_session=True,
        )
    except OSError as error:
        raise RunError(f"{command[0]}: lmms-eval cannot be started: {error.strerror}") from error
    with process:
        try:
            for line in process.stdout or ():
                log(line)
                if text := _COLOUR.sub("", line).strip():
                    last.append(text)
                if _LOST.search(text):
                    lost.append(text)
            code = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    results = sorted(output.rglob("*_results.json"))
    if code != 0 or len(results) != 1:
        raise RunError(
            f"lmms-eval has failed: exit code {code}, {len(results)} files of results; the end of"
            " what it said:\n" + "\n".join(last)
        )
    if lost:
        raise RunError(
            f"lmms-eval has lost {len(lost)} answers, which it counts as empty ones; the first:"
            f" {lost[0]}"
        )
    return results[0]
