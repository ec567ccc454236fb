"""Running the programs that build images, with an error that says what they said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.errors import BuildError

__all__ = ["run"]

_LINES_SHOWN = 20


def run(
    argv: Sequence[str], *, what: str, env: Mapping[str, str] | None = None, log: Path | None = None
) -> str:
    """Run a command to its end and return what it wrote.

    Args:
        argv: The command.
        what: Completes "could not ..." in the error.
        env: Variables on top of this process's own.
        log: File that receives the output as it comes, for long commands.

    Raises:
        BuildError: It failed, or is not installed.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        if log is None:
            done = subprocess.run(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            output = done.stdout if done.returncode == 0 else done.stdout + done.stderr
        else:
            with log.open("ab") as file:
                start = file.tell()
                done_logged = subprocess.run(
                    argv,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            output = log.read_bytes()[start:].decode(errors="replace")
    except FileNotFoundError as error:
        raise BuildError(f"could not {what}: {argv[0]} is not installed") from error
    code = done.returncode if log is None else done_logged.returncode
    if code != 0:
        tail = "\n    ".join(output.splitlines()[-_LINES_SHOWN:])
        place = "" if log is None else f"; all of it is in {log}"
        raise BuildError(f"could not {what} ({argv[0]} ended with {code}){place}:\n    {tail}")
    return output
