"""What a model folder holds: the files that are the model, by their names, and nothing else.

A folder may come from strangers. What is no file of a model stays unread, so it can end neither in
a digest nor in what a job publishes: a clone's ``.git`` with its addresses and tokens, code, and
links to what lies elsewhere on the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

from mmrlhf_jobs.errors import ModelError, StorageError
from mmrlhf_jobs.models.integrity import check_file
from mmrlhf_jobs.storage.folders import FileEntry
from mmrlhf_jobs.storage.marker import MARKER, parse_marker

__all__ = ["check_folder", "committed_files", "model_files", "no_folder", "refuse_pickles"]

_NAMES: Final = (
    # Configurations, vocabularies, templates and indexes, as transformers 5 writes them.
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "*.safetensors",
    # What goes with every copy of a model.
    "*.md",
    "license*",
    "licence*",
    "notice*",
    "copying*",
)
"""Files of a model, in lower case. No pickles, no code."""

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""``OWNER/NAME``, which could as well be a relative path."""

_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def model_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files of a model folder as (relative path, path), sorted.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        ModelError: A link leads out of the folder. Links between the files of one folder are
            fine, and those of Hugging Face's cache ("Understand caching" in the documentation of
            huggingface_hub): ``models--OWNER--NAME/snapshots/REVISION/FILE`` to ``blobs/DIGEST``.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if _is_of_model(name)]
    for path in sorted(found):
        if path.is_symlink():
            _check_link(folder, path)
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def committed_files(folder: Path) -> dict[str, FileEntry]:
    """What the commit marker of a published model says of its files, by name; often nothing.

    Raises:
        ModelError: The marker is damaged.
    """
    marker = folder / MARKER
    if marker.is_symlink() or not marker.is_file():
        return {}
    try:
        entries = parse_marker(marker.read_text(), str(marker))
    except (StorageError, ValueError) as error:
        raise ModelError(f"{folder}: not the whole of a published model: {error}") from error
    return {entry.path: entry for entry in entries if _is_of_model(PurePosixPath(entry.path).name)}


def check_folder(folder: Path) -> None:
    """Check the files in a model folder, and against its commit marker the sizes.

    Contents are compared where they are read anyway, in
    :func:`mmrlhf_jobs.models.folders.digest_folder`.

    Raises:
        ModelError: A link leads out of it, a published model is not whole, or a file is cut short
            or stands for another one.
    """
    files = dict(model_files(folder))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    for name, entry in committed_files(folder).items():
        if sizes.get(name) != entry.size:
            has = f"has {sizes[name]} bytes" if name in sizes else "is missing"
            raise ModelError(
                f"{folder / name} {has}, but was published with {entry.size}; copy the model "
                f"again, or remove {MARKER} from the folder if it was changed on purpose"
            )
    for path in files.values():
        check_file(path)


def no_folder(uri: str) -> ModelError:
    """The error for a URI where there is no folder; one that looks like a Hub id is told so."""
    if _HUB_ID.fullmatch(uri):
        return ModelError(
            f"{uri}: no such model folder. It looks like an id of the Hugging Face hub, and jobs "
            f"read folders: download it first, `hf download {uri} --local-dir FOLDER`, and set "
            "model.uri to that folder"
        )
    return ModelError(f"{uri}: no such model folder; model.uri must name a folder")


def refuse_pickles(folder: Path) -> None:
    """Say of a folder whose weights are pickles alone what can be done about it.

    Raises:
        ModelError: There are pickles and no safetensors.
    """
    pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
    if pickles and not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder}: its weights are pickles ({pickles[0]}), which can run code when they are "
            "opened; only safetensors are read. Take a revision of the model that has "
            "model.safetensors, or load it where you trust it and write it anew with "
            "save_pretrained, which writes safetensors"
        )


def _is_of_model(name: str) -> bool:
    return not name.startswith(".") and any(fnmatch(name.lower(), kind) for kind in _NAMES)


def _check_link(folder: Path, link: Path) -> None:
    root, target = Path(os.path.realpath(folder)), Path(os.path.realpath(link))
    if target.is_relative_to(root) and ".git" not in target.relative_to(root).parts:
        return
    # The folders above the model's are the user's own, so no stranger can lay such a cache out.
    for place in root.parents:
        cached = place.name == "snapshots" and place.parent.name.startswith("models--")
        if cached and target.parent == place.parent / "blobs":
            return
    raise ModelError(
        f"{link}: leads out of the model folder, to {target}; links of a model stay within its "
        "folder, so that nothing else of this machine is read and published. Put the file itself "
        "there, or remove the link"
    )
