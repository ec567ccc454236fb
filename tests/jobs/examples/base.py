"""The data and the supervised base model of the digits example, made once for as long as they hold.

They take minutes, and are kept under ``~/.cache/mmrlhf/digits``. Each is kept with a list of the
modules of this project that were loaded to make it; it is taken again by every tree in which these
modules do the same: their code, without comments and docstrings, is what the list holds.

``python -m tests.jobs.examples.base FOLDER`` makes it.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

__all__ = ["code_digest", "digests", "find_base", "make_base"]

ROOT: Final = Path(__file__).resolve().parents[3]
_LIST: Final = "made-by.json"
_KEPT: Final = 3
_ALWAYS: Final = ("constraints.txt",)


def make_base(cache: Path, *, root: Path = ROOT) -> Path:
    """Return the folder with ``data`` and ``base``, made if no kept one still holds."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs on one machine make it once
        if (found := find_base(cache, root=root)) is not None:
            os.utime(found)
            return found
        arriving = cache / f".arriving.{os.getpid()}"
        shutil.rmtree(arriving, ignore_errors=True)
        subprocess.run([sys.executable, "-m", __name__, str(arriving)], cwd=root, check=True)
        made_by = (arriving / _LIST).read_bytes()
        folder = cache / hashlib.sha256(made_by).hexdigest()[:16]
        shutil.rmtree(folder, ignore_errors=True)
        arriving.rename(folder)
        kept = sorted(cache.glob(f"*/{_LIST}"), key=lambda path: path.parent.stat().st_mtime)
        for old in kept[:-_KEPT]:
            shutil.rmtree(old.parent)
        return folder


def find_base(cache: Path, *, root: Path = ROOT) -> Path | None:
    """Return a kept folder that this tree would make again, if there is one."""
    for path in sorted(cache.glob(f"*/{_LIST}")):
        made_by: Mapping[str, str] = json.loads(path.read_text())
        if digests(made_by, root=root) == made_by:
            return path.parent
    return None


def digests(names: Iterable[str], *, root: Path = ROOT) -> dict[str, str]:
    """Digest of each file that is there, by its path from the root."""
    return {name: code_digest(root / name) for name in sorted(names) if (root / name).is_file()}


def code_digest(path: Path) -> str:
    """Digest of what a file does: of Python without comments and docstrings, else of its bytes."""
    content = path.read_bytes()
    if path.suffix == ".py":
        tree = ast.parse(content)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                # Strings that stand alone are docstrings of modules, functions and constants.
                node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
        content = ast.dump(tree).encode()
    return hashlib.sha256(content).hexdigest()


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _loaded(root: Path) -> list[str]:
    """Files below the root of all modules that this process has loaded."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = (Path(file).resolve() for file in files if file)
    own = (path for path in paths if path.is_relative_to(root) and ".venv" not in path.parts)
    return sorted(str(path.relative_to(root)) for path in own)


def main(folder: Path) -> None:
    """Make data and base model in a folder, and list what made them."""
    from examples.digits.generate import generate
    from examples.digits.supervise import supervise

    generate(folder / "data", train=2000, heldout=400, seed=0)
    supervise(folder / "data", folder / "base", seed=0)
    made_by = digests([*_loaded(ROOT), *_ALWAYS])
    (folder / _LIST).write_text(json.dumps(made_by, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
