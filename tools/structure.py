"""Figures of the tree: what a reader opens to follow one thing, circles, arrows that run back up.

::

    python -m tools.structure                  this tree
    python -m tools.structure --against REV    beside what it was at a commit

*Opens*: files and lines of all functions that are reached from where a thing begins. Calls are
followed by name: a function or class that is named is reached, and so is each method of a reached
class whose name stands after a dot somewhere in what is reached. It is an upper bound, the same for
every tree. *Circles*: groups of modules, and of rooms, that import each other. *Upward*: imports of
a room further up in the layers of ``pyproject.toml``; files of another commit count where git says
they went. *Names*: files, beside tests and generated ones, in which a thing is named.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from tools.imports import Tree, circles
from tools.reach import reached_files

__all__ = ["Trail", "figures", "upward"]

ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Trail:
    """One thing that a reader follows.

    Attributes:
        name: What it is.
        entries: Where it begins and what is handed in there, as ``module:name``; of several for
            trees of other times those that exist are taken.
    """

    name: str
    entries: tuple[str, ...]


TRAILS: Final = (
    Trail(
        "one optimizer step",
        (
            "mmrlhf_jobs.training.loop:OptimizerLoop._do",
            "mmrlhf_jobs.training.engines.torch_engine:TorchEngine",
            "mmrlhf_jobs.training.mmdpo.objective:PreferenceObjective",
            "mmrlhf_jobs.trainers.optimization:OptimizerLoop._do",
            "mmrlhf_jobs.trainers.engine:TorchEngine",
            "mmrlhf_jobs.trainers.preference_objective:PreferenceObjective",
        ),
    ),
    Trail(
        "one reconcile",
        (
            "mmrlhf_operator.acting.reconciler:Reconciler.reconcile",
            "mmrlhf_operator.reconciler:Reconciler.reconcile",
        ),
    ),
    Trail("one status", ("mmrlhfctl.commands.looking:status",)),
)

NAMES: Final = (
    ("a figure (rowsRead)", r"\browsRead\b|\brows_read\b"),
    ("a kind (RewardTrainJob)", r"\bRewardTrainJob\b"),
    ("a family (llava_onevision)", r"llava_onevision|LlavaOnevision"),
)


def figures(root: Path, layers: Mapping[str, Sequence[Sequence[str]]],
            moved: Mapping[str, str]) -> dict[str, str]:  # fmt: skip
    """Figures of a tree, by what they are figures of.

    Args:
        root: Where the tree is.
        layers: Rooms of each package, from the top; those of one layer together.
        moved: Where files of this tree are in the tree whose layers these are.
    """
    tree = Tree.read(root)
    found = {}
    for trail in TRAILS:
        files = reached_files(tree, trail.entries)
        lines = sum(len(path.read_text().splitlines()) for path in files)
        found[f"{trail.name}: files, lines"] = f"{len(files)}, {lines:,}"
    found["circles of modules"] = str(len(circles(tree.imports)))
    found["circles of rooms"] = str(len(circles(tree.imports_between_rooms)))
    found["upward arrows"] = str(len(upward(tree, layers, moved)))
    for name, pattern in NAMES:
        found[f"files that name {name}"] = str(sum(1 for _ in _naming(tree, pattern)))
    return found


def upward(
    tree: Tree, layers: Mapping[str, Sequence[Sequence[str]]], moved: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Imports that run from a room to one above it, as pairs of modules."""
    place = {
        f"{package}.{room}": level
        for package, levels in layers.items()
        for level, rooms in enumerate(levels)
        for room in rooms
    }

    def level(module: str) -> tuple[str, int] | None:
        path = str(tree.modules[module].path.relative_to(tree.root))
        words = moved.get(path, path).removesuffix(".py").split("/")[1:]
        found = place.get(".".join(words[:2]))
        return None if found is None else (words[0], found)

    pairs = ((a, b) for a, targets in tree.imports.items() for b in targets)
    levels = ((a, b, level(a), level(b)) for a, b in pairs)
    return [
        (a, b) for a, b, low, high in levels if low and high and low[0] == high[0] and low > high
    ]


def _naming(tree: Tree, pattern: str) -> Iterator[str]:
    for module in tree.modules.values():
        if re.search(pattern, module.path.read_text()):
            yield module.name


def _layers() -> dict[str, list[list[str]]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return {
        contract["containers"][0]: [
            [room.strip() for room in layer.split("|")] for layer in contract["layers"]
        ]
        for contract in contracts["contracts"]
        if contract["type"] == "layers" and "containers" in contract
    }


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def _moves_since(revision: str) -> dict[str, str]:
    """New path of each file that was moved, by its old one."""
    listed = _git("diff", "--name-status", "-M30%", "-l0", revision, "HEAD").decode()
    rows = [line.split("\t") for line in listed.splitlines()]
    return {row[1]: row[2] for row in rows if row[0].startswith("R")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="REV", help="a commit to set beside this tree")
    options = parser.parse_args(arguments)
    columns = {"now": figures(ROOT, _layers(), {})}
    if options.against:
        with tempfile.TemporaryDirectory() as folder:
            archive = BytesIO(_git("archive", options.against))
            with tarfile.open(fileobj=archive) as tar:
                tar.extractall(folder, filter="data")
            before = figures(Path(folder), _layers(), _moves_since(options.against))
        columns = {options.against[:7]: before, **columns}
    print(f"| | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for name in columns["now"]:
        print(f"| {name} | {' | '.join(values[name] for values in columns.values())} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
