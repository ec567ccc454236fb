"""The lowest versions that pyproject.toml claims, as pins; ``make lowest`` runs the tests on them.

::

    python -m tools.lowest > requirements.txt

What the tests need besides is pinned as everywhere.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from images.requirements import requirements
from tools.hashes import ROOT, read_pins

__all__ = ["lowest", "pinned"]

_CLAIMED: Final = ("jobs", "sample", "operator", "cli")


def lowest(lines: Iterable[str]) -> list[str]:
    """Pins of the lowest versions of some requirements.

    Raises:
        ValueError: One has no lowest version.
    """
    found = []
    for requirement in map(Requirement, lines):
        bounds = [one for one in requirement.specifier if one.operator in {">=", "==", "~="}]
        if len(bounds) != 1:
            raise ValueError(f"{requirement}: give the lowest version that it runs with")
        found.append(f"{requirement.name}=={bounds[0].version}")
    return found


def pinned(lines: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """Pins of some requirements as `pins` has them.

    Raises:
        KeyError: One is not there.
    """
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    names = [Requirement(line).name for line in lines]
    return [f"{name}=={versions[canonicalize_name(name)]}" for name in names]


def _of(extras: Sequence[str]) -> list[str]:
    return requirements((ROOT / "pyproject.toml").read_text(), extras)


def main(root: Path = ROOT) -> None:
    """Print the pins, one a line."""
    claimed = _of(_CLAIMED)
    dev = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    beside = [line for line in _of(("dev",)) if line in dev["dev"]]
    pins = [*lowest(claimed), *pinned(beside, read_pins(root))]
    sys.stdout.writelines(f"{pin}\n" for pin in pins)


if __name__ == "__main__":
    main()
