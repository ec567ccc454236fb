"""Model folders: bringing them here, telling them apart, and writing new ones."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.contents import (
    check_folder,
    committed_files,
    fetched_files,
    model_files,
    no_folder,
    refuse_pickles,
)
from mmrlhf_jobs.models.export import write_weights
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.storage.marker import MARKER
from mmrlhf_jobs.storage.uris import Location, StorageOptions, locate, storage_errors

__all__ = ["digest_folder", "fetch_description", "fetch_model", "save_model"]

_WEIGHT_SUFFIXES = (".safetensors", ".index.json")


def fetch_model(uri: str, scratch: Path, options: StorageOptions | None = None) -> Path:
    """Bring a model folder to this machine, if it is not here already.

    Raises:
        ModelError: There is no such folder, a link leads out of it, or it was published and is
            not whole any more.
    """
    location = locate(uri, options)
    if location.is_local:
        folder = Path(location.path)
        if not folder.is_dir():
            raise no_folder(uri)
        check_folder(folder)
        return folder
    target = scratch / "model"
    if not target.is_dir():
        arriving = scratch / ".model.tmp"
        shutil.rmtree(arriving, ignore_errors=True)
        with storage_errors(uri, "read"):
            if not location.fs.isdir(location.path):
                raise no_folder(uri)
            _fetch(location, arriving)  # not fs.get, which fetches all and to any place
        check_folder(arriving)
        arriving.rename(target)
    return target


def fetch_description(uri: str, scratch: Path, options: StorageOptions | None = None) -> Path:
    """Bring all of a model folder but its weights to this machine, if it is not here already.

    Raises:
        ModelError: There is no such folder.
    """
    location = locate(uri, options)
    if location.is_local:
        return fetch_model(uri, scratch, options)
    target = scratch / "description"
    with storage_errors(uri, "read"):
        if not location.fs.isdir(location.path):
            raise no_folder(uri)
        _fetch(location, target, weights=False)
    return target


def _fetch(location: Location, folder: Path, *, weights: bool = True) -> None:
    """Copy the files of a model, and no other, from an object store."""
    folder.mkdir(parents=True)
    base = location.path.rstrip("/")
    names = [path.removeprefix(f"{base}/") for path in location.fs.find(base)]
    refuse_pickles(location.uri, names)
    for name in fetched_files(names):
        if not weights and name.endswith((*_WEIGHT_SUFFIXES, MARKER)):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        location.fs.get_file(f"{base}/{name}", str(target))


def digest_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of all files of a model.

    It is the model's revision in side-cars and manifests: two folders with one digest are the
    same model wherever they lie, whatever else than the model is in them.

    Raises:
        ModelError: The model was published, and a file is not what was published.
    """
    total = hashlib.sha256()
    committed = committed_files(folder)
    for name, path in model_files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        if name in committed and committed[name].sha256 != content:
            raise ModelError(
                f"{path} is damaged: its sha256 is {content}, but {committed[name].sha256} was "
                f"published; copy the model again, or remove {MARKER} from the folder if it was "
                "changed on purpose"
            )
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()


def save_model(
    model: PreTrainedModel,
    weights: Mapping[str, Weight],
    *,
    source: Path,
    target: Path,
) -> None:
    """Write a model as a Hugging Face folder that ``from_pretrained`` loads.

    Tokenizer, processor, chat template and generation settings are those of the source folder,
    to the byte: training does not change them. Other files of it are left behind.

    Args:
        model: Tells the configuration and how weights are named on disk.
        weights: All weights by their name in the model, each read once.
        source: Folder that the training started from.
        target: New folder.
    """
    target.mkdir(parents=True)
    for name, path in model_files(source):
        if not name.endswith(_WEIGHT_SUFFIXES):
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    # Written last: configuration and weights of the trained model win over the copies.
    model.save_pretrained(target, state_dict={})  # all but its weights
    write_weights(model, weights, target)
