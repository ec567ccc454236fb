"""Prints the requirements of some extras of a pyproject.toml, one a line.

They are installed before our own code is there: in images, so that a layer with them is kept while
only the code changes, and everywhere, as they have digests and our code has none. Nothing but the
standard library is imported: it runs before anything is installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

__all__ = ["requirements"]


def requirements(pyproject: str, extras: Sequence[str]) -> list[str]:
    """What a distribution needs with some extras, sorted; extras of its own that they name are not.

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
    return sorted(line for line in found if not line.startswith(f"{project['name']}["))


if __name__ == "__main__":
    path, *names = sys.argv[1:]
    sys.stdout.writelines(f"{line}\n" for line in requirements(Path(path).read_text(), names))
