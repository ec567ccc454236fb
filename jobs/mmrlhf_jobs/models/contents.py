"""What a model folder holds: the files that are the model, by their names, and nothing else.

A folder may come from strangers. What is no file of a model stays unread, so it can end neither in
a digest nor in what a job publishes: a clone's ``.git`` with its addresses and tokens, code, and
links to what lies elsewhere on the machine.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Final

from mmrlhf_jobs.errors import ModelError, StorageError
from mmrlhf_jobs.models.integrity import check_file
from mmrlhf_jobs.storage.folders import FileEntry
from mmrlhf_jobs.storage.marker import MARKER, parse_marker

__all__ = [
    "WEIGHTS",
    "WEIGHT_INDEX",
    "check_folder",
    "committed_files",
    "fetched_files",
    "model_files",
    "no_folder",
    "refuse_pickles",
]

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

WEIGHTS: Final = "model.safetensors"
WEIGHT_INDEX: Final = "model.safetensors.index.json"
"""Where transformers looks for the weights of a folder."""

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


def fetched_files(names: Iterable[str]) -> list[str]:
    """What to fetch of a model folder in a store, of the names of all files there, sorted.

    Keys of objects are any text: ``../../x`` is no file of the folder, and fetched it would lie
    outside of the one here. Nothing hidden, no code and no pickles come along.

    Args:
        names: Relative to the folder.
    """
    return sorted(
        name
        for name in names
        if _is_of_model(PurePosixPath(name).name) or name == MARKER
        if not any(part == "" or part.startswith(".") for part in name.split("/"))
    )


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
        ModelError: A link leads out of it, a published model is not whole, a file is cut short or
            stands for another one, or weights are named that are none of the model's files.
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
    _check_index(folder, files)
    _check_named_weights(folder, files)


def _check_index(folder: Path, files: Container[str]) -> None:
    """Check that the files that hold the weights are those of the model.

    An index is no more than a wish: it could name a pickle, or what lies elsewhere.
    """
    if WEIGHT_INDEX not in files:
        return
    index = folder / WEIGHT_INDEX
    try:
        shards: Mapping[str, str] = json.loads(index.read_text())["weight_map"]
        absent = sorted(name for name in set(shards.values()) if name not in files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} is not an index of weights: {error!r}") from error
    if absent:
        raise ModelError(
            f"{folder}: {len(absent)} weight files named by {WEIGHT_INDEX} are missing, first "
            f"{absent[0]}; copy the whole model folder"
        )


def _check_named_weights(folder: Path, files: Container[str]) -> None:
    """Check that ``transformers_weights`` of a configuration, which goes first, is no way around.

    transformers takes a pickle by that name, and an index that nobody has looked at.
    """
    try:
        named = json.loads((folder / "config.json").read_text())["transformers_weights"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # told by who reads it
    is_known = named == WEIGHT_INDEX or (isinstance(named, str) and named.endswith(".safetensors"))
    if named is not None and (not is_known or named not in files):
        raise ModelError(
            f"{folder}/config.json: transformers_weights is {named!r}, which is no safetensors file"
            f" of the model; take it out where {WEIGHTS} or {WEIGHT_INDEX} is there"
        )


def no_folder(uri: str) -> ModelError:
    """The error for a URI where there is no folder; one that looks like a Hub id is told so."""
    if _HUB_ID.fullmatch(uri):
        return ModelError(
            f"{uri}: no such model folder. It looks like an id of the Hugging Face hub, and jobs "
            f"read folders: download it first, `hf download {uri} --local-dir FOLDER`, and set "
            "model.uri to that folder"
        )
    return ModelError(f"{uri}: no such model folder; model.uri must name a folder")


def refuse_pickles(folder: Path | str, names: Iterable[str] | None = None) -> None:
    """Say of a folder whose weights are pickles alone what can be done about it.

    Args:
        folder: The folder, or its URI.
        names: Names of its files; None: it is on this machine.

    Raises:
        ModelError: There are pickles and no safetensors.
    """
    there = [path.name for path in Path(folder).iterdir()] if names is None else list(names)
    pickles = sorted(name for name in there if any(fnmatch(name, kind) for kind in _PICKLES))
    if pickles and not any(name.endswith(".safetensors") for name in there):
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
