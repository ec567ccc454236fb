"""The data and the supervised base model of the digits example, made once for as long as they hold.

They take a quarter of an hour of a core, and are kept under ``~/.cache/mmrlhf/digits``. A tree
takes a kept base model in one of two cases:

- The modules of this project that are loaded to make it do the same as when it was made or last
  proved: their code without comments and docstrings, and the pinned libraries.
- It is proved, in a minute: of all these modules only the lessons themselves (`examples.digits`)
  do the same, but the tree's rehearsal gives the same bytes, by the same libraries. A rehearsal
  makes all the data, gets all the inputs of the model from them, teaches the whole first lesson and
  two steps of each other one, and saves the model. What it does not see of the lessons are more
  steps of the same code.

``python -m tests.jobs.examples.base rehearse FOLDER`` makes data and rehearsal, and ``... teach
FOLDER`` the model.
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
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

if TYPE_CHECKING:
    from examples.digits.supervise import Recipe

__all__ = ["code_digest", "digests", "find_base", "find_rehearsed", "make_base", "rehearse"]

ROOT: Final = Path(__file__).resolve().parents[3]
LESSONS: Final = ("examples/", "tests/jobs/examples/")
"""What no rehearsal can prove: it sees the first steps of each lesson only."""
THREADS: Final = "1"
"""Of torch, on which the bits depend; more of them take more of a core's time altogether."""
_LIST: Final = "made-by.json"
_REHEARSAL: Final = "rehearsal.json"
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
        for left in cache.glob(
            ".arriving.*"
        ):  # of those that were killed: nobody else has the lock
            shutil.rmtree(left)
        arriving = cache / f".arriving.{os.getpid()}"
        _run("rehearse", arriving, root)
        if (found := find_rehearsed(cache, arriving)) is not None:
            (arriving / _LIST).replace(found / _LIST)
            shutil.rmtree(arriving)
            os.utime(found)
            return found
        _run("teach", arriving, root)
        made_by = (arriving / _LIST).read_bytes()
        folder = cache / hashlib.sha256(made_by).hexdigest()[:16]
        shutil.rmtree(folder, ignore_errors=True)
        arriving.rename(folder)
        kept = sorted(cache.glob(f"[!.]*/{_LIST}"), key=lambda path: path.parent.stat().st_mtime)
        for old in kept[:-_KEPT]:
            shutil.rmtree(old.parent)
        return folder


def find_base(cache: Path, *, root: Path = ROOT) -> Path | None:
    """Return a kept folder that this tree would make again by the same code, if there is one."""
    for path in sorted(cache.glob(f"[!.]*/{_LIST}")):
        made_by: Mapping[str, str] = json.loads(path.read_text())
        if (path.parent / _REHEARSAL).is_file() and digests(made_by, root=root) == made_by:
            return path.parent
    return None


def find_rehearsed(cache: Path, arriving: Path) -> Path | None:
    """Return a kept folder with the lessons and the rehearsal of one without a model, if any."""
    wanted = _lessons(arriving), (arriving / _REHEARSAL).read_bytes()
    for path in sorted(cache.glob(f"[!.]*/{_REHEARSAL}")):
        if (_lessons(path.parent), path.read_bytes()) == wanted:
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


def rehearse(
    folder: Path, *, train: int = 2000, heldout: int = 400, recipe: Recipe | None = None
) -> None:
    """Make ``data`` in a folder, and write there what teaching takes and begins with, in digests.

    Args:
        folder: Where.
        train: Records to train on; the default is the example's, as of the others.
        heldout: Other records.
        recipe: How far to teach.
    """
    from examples.digits.generate import generate
    from examples.digits.supervise import Recipe, supervise
    from mmrlhf_jobs.models.families.llava_onevision import LlavaOnevisionAdapter

    generate(folder / "data", train=train, heldout=heldout, seed=0)
    inputs, encode = hashlib.sha256(), LlavaOnevisionAdapter.encode

    def listen(*arguments: Any, **named: Any) -> Any:
        group = encode(*arguments, **named)
        for piece in _pieces(group.prompt_ids, *group.responses, **group.media_inputs):
            inputs.update(piece)
        return group

    brief = Recipe(practice_steps=2, study_steps=2, mimicry_steps=2)
    with patch.object(LlavaOnevisionAdapter, "encode", listen):
        supervise(folder / "data", folder / "brief", seed=0, recipe=recipe or brief)
    seen = {"inputs": inputs.hexdigest(), "libraries": " ".join(_libraries())}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        seen[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    shutil.rmtree(folder / "brief")
    (folder / _REHEARSAL).write_text(json.dumps(seen, indent=1, sort_keys=True))


def _pieces(*tensors: Any, **named: Any) -> Iterator[bytes]:
    for name, tensor in (*enumerate(tensors), *sorted(named.items())):
        for one in tensor if isinstance(tensor, (list, tuple)) else [tensor]:
            yield f"{name} {one.dtype} {tuple(one.shape)}:".encode()
            yield one.contiguous().numpy().tobytes()


def _libraries() -> list[str]:
    """Libraries that this process has loaded a part of, with their versions."""
    loaded = {name.partition(".")[0] for name in list(sys.modules)}
    owners = packages_distributions()
    names = {owner for top in loaded for owner in owners.get(top, ()) if owner != "mmrlhf"}
    return sorted(f"{name}=={version(name)}" for name in names)


def _lessons(folder: Path) -> dict[str, str]:
    """The part of what made a model, or would, that no rehearsal can prove."""
    made_by: Mapping[str, str] = json.loads((folder / _LIST).read_text())
    return {name: digest for name, digest in made_by.items() if name.startswith(LESSONS)}


def _run(action: str, folder: Path, root: Path) -> None:
    command = [sys.executable, "-m", __name__, action, str(folder)]
    subprocess.run(command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": THREADS}, check=True)


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


def main(action: str, folder: Path) -> None:
    """Make data and rehearsal in a folder, and list what made them; or the model from them."""
    from examples.digits.supervise import supervise

    if action == "teach":
        supervise(folder / "data", folder / "base", seed=0)
        return
    rehearse(folder)
    made_by = digests([*_loaded(ROOT), *_ALWAYS])
    (folder / _LIST).write_text(json.dumps(made_by, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
