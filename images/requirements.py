"""Prints the requirements of some extras of a pyproject.toml, one a line.

The Dockerfile installs them before our own code is there, so that a layer with them is kept while
only the code changes. Nothing but the standard library is imported: it runs before anything is
installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["requirements"]


def requirements(pyproject: str, extras: Sequence[str]) -> list[str]:
    """What a distribution needs with some extras, sorted.

    Args:
        pyproject: Text of a pyproject.toml.
        extras: Names of optional dependencies.

    Raises:
        KeyError: There is no such extra.
    """
    project = tomllib.loads(pyproject)["project"]
    found = set(project["dependencies"])
    for extra in extras:
        found.update(project["optional-dependencies"][extra])
    return sorted(found)


if __name__ == "__main__":
    path, *names = sys.argv[1:]
    sys.stdout.writelines(f"{line}\n" for line in requirements(Path(path).read_text(), names))
