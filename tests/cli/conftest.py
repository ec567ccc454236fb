"""The command as users have it: a process with its own streams."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.jobs.warm import Program, Server

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]

SERVER: Final = Server(
    (
        "yaml",
        "tests.cli.ready",
        *(f"mmrlhfctl.{name}" for name in ("completion", "explanation", "validation", "versions")),
        *(f"mmrlhfctl.local.{name}" for name in ("run", "steps")),
        "mmrlhf.local.gang",
        *(f"mmrlhfctl.verbs.{name}" for name in ("change", "describe", "doctor", "get", "logs")),
        *(f"mmrlhfctl.verbs.{name}" for name in ("report", "submit", "suggestions", "wait", "why")),
    )
)
"""The command line with all done that comes before a command: most of what a short one costs."""


def run_command(
    server: Server,
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    folder: Path,
    stdin: str | None,
) -> Result:
    """Run ``mmrlhfctl`` in a folder, to its end."""
    program = Program("mmrlhfctl", arguments, env, server=server, folder=folder, stdin=stdin or "")
    try:
        streams = program.communicate(timeout=600)
    finally:
        program.kill()
    # As text is read from a pipe.
    out, err = (io.StringIO(text, newline=None).read() for text in streams)
    return Result(["mmrlhfctl", *arguments], program.wait(), out, err)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``mmrlhfctl`` in an empty folder and return its exit code and streams."""

    def run(*arguments: str, stdin: str | None = None, **env: str) -> Result:
        environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), **env}
        return run_command(SERVER, arguments, environ, folder=tmp_path, stdin=stdin)

    return run
