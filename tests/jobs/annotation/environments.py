"""Programs that pin too much to live beside ours: each in an environment of its own, made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "make_once", "python_with"]

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmrlhf"


def python_with(requirement: str, *others: str) -> Path:
    """The Python of an environment with these packages, installed when it is asked for first."""

    def install(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = folder / "bin" / "pip"
        subprocess.run([pip, "install", "--quiet", requirement, *others], check=True)

    return make_once(requirement.replace("==", "-"), install) / "bin" / "python"


def make_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache; half-made ones are made again."""
    folder = CACHE / name
    done = folder / ".complete"
    with _lock(CACHE / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
