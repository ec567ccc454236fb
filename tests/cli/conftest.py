"""The command as users have it: a process with its own streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``mmrlhfctl`` in an empty folder and return its exit code and streams."""

    def run(*arguments: str, stdin: str | None = None, **env: str) -> Result:
        return subprocess.run(
            [sys.executable, "-m", "mmrlhfctl", *arguments],
            cwd=tmp_path,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
