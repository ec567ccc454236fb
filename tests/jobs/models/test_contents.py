"""Model folders from strangers: what is read, told apart and published of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.contents import model_files
from mmrlhf_jobs.models.folders import digest_folder, fetch_model, save_model
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.marker import MARKER
from mmrlhf_jobs.storage.uris import locate

SECRET = "TOP-SECRET"


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_text(SECRET)
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def save(source: Path, target: Path) -> dict[str, bytes]:
    """What a job that started from a folder would publish, by name."""
    model = load_model(source, dtype="float32", attention="sdpa").model
    save_model(model, {}, source=source, target=target)
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def link(folder: Path, name: str, target: str | Path) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("README.md", "../secrets/token"),
        ("notes.txt", "/proc/self/environ"),
        ("config.json", "../secrets/token"),
        ("chat_template.jinja", "../secrets/token"),
        ("tokenizer.json", "/dev/zero"),
        ("vocab.json", "../secrets/not-there-yet"),
        ("LICENSE", "inner"),  # which leads on
        ("inner/merges.txt", "../../secrets/token"),
        ("generation_config.json", ".git/config"),
        ("model.safetensors", "../secrets/token"),
    ],
)
def test_links_out_of_the_folder_are_refused(
    copy: Path, tmp_path: Path, name: str, target: str
) -> None:
    (copy / ".git").mkdir()
    (copy / ".git/config").write_text(SECRET)
    if "/" in name:
        (copy / name).parent.mkdir()
    if target == "inner":
        (copy / "inner").symlink_to(tmp_path / "secrets/token")
    link(copy, name, target)
    uses: list[Callable[[], object]] = [
        lambda: fetch_model(str(copy), tmp_path),
        lambda: digest_folder(copy),
        lambda: load_model(copy, dtype="float32", attention="sdpa"),
    ]
    for use in uses:
        with pytest.raises(ModelError, match="leads out of the model folder") as caught:
            use()
        assert name in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_link_that_comes_later_is_refused_as_well(copy: Path, tmp_path: Path) -> None:
    model = load_model(copy, dtype="float32", attention="sdpa").model
    link(copy, "README.md", "../secrets/token")
    with pytest.raises(ModelError, match="leads out"):
        save_model(model, {}, source=copy, target=tmp_path / "out")


def test_the_cache_of_hugging_face_is_a_model_folder(copy: Path, tmp_path: Path) -> None:
    digest = digest_folder(copy)
    repository = tmp_path / "hub/models--someone--tiny"
    snapshot = repository / "snapshots/0d1c7"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for index, path in enumerate(sorted(copy.iterdir())):
        path.rename(repository / "blobs" / str(index))
        (snapshot / path.name).symlink_to(f"../../blobs/{index}")
    assert fetch_model(str(snapshot), tmp_path) == snapshot
    assert digest_folder(snapshot) == digest
    # A link of the user's own to the folder changes nothing.
    (tmp_path / "mine").symlink_to(snapshot)
    assert digest_folder(fetch_model(str(tmp_path / "mine"), tmp_path)) == digest
    assert "tokenizer.json" in save(tmp_path / "mine", tmp_path / "out")
    # Such a cache leads to its blobs and nowhere else.
    link(repository / "blobs", "0", tmp_path / "secrets/token")
    with pytest.raises(ModelError, match="leads out"):
        digest_folder(snapshot)


def test_links_within_the_folder_are_followed(copy: Path, tmp_path: Path) -> None:
    digest = digest_folder(copy)
    (copy / "..data").mkdir()  # as Kubernetes mounts a ConfigMap
    for name in ("config.json", "tokenizer.json"):
        (copy / name).rename(copy / "..data" / name)
        link(copy, name, f"..data/{name}")
    assert digest_folder(fetch_model(str(copy), tmp_path)) == digest


@pytest.mark.parametrize(
    "name",
    [
        ".git/config",
        ".git/lfs/objects/ab/model.safetensors",
        ".env",
        ".cache/huggingface/download/config.json",
        "modeling_my.py",
        "id_rsa",
        "pytorch_model.bin",
        "optimizer.pt",
        "run.sh",
        "onnx/model.onnx",
        "deep/.ssh/config.json",
        MARKER + ".old",
    ],
)
def test_what_is_no_file_of_a_model_is_not_in_it(copy: Path, tmp_path: Path, name: str) -> None:
    digest, files = digest_folder(copy), save(copy, tmp_path / "before")
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_text(SECRET)
    assert digest_folder(fetch_model(str(copy), tmp_path)) == digest
    assert save(copy, tmp_path / "after") == files


@pytest.mark.parametrize(
    "name",
    [
        "vocab.json",
        "merges.txt",
        "tokenizer.model",
        "spiece.model",
        "qwen.tiktoken",
        "special_tokens_map.json",
        "additional_chat_templates/tools.jinja",
        "README.md",
        "LICENSE",
        "NOTICE.txt",
    ],
)
def test_what_is_a_file_of_a_model_goes_with_it(copy: Path, name: str) -> None:
    digest = digest_folder(copy)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("{}")
    assert digest_folder(copy) != digest
    assert name in dict(model_files(copy))


def test_all_files_that_transformers_writes_are_in_the_digest(copy: Path) -> None:
    assert {path.name for path in copy.iterdir()} == set(dict(model_files(copy)))


def test_of_a_store_nothing_but_the_model_is_fetched(copy: Path, tmp_path: Path) -> None:
    """Keys of objects are any text; code, pickles and clones are none of the model's files."""
    uri = f"memory://{tmp_path.name}/models/m"
    store = locate(uri)
    for path in copy.iterdir():
        store.fs.pipe_file(f"{store.path}/{path.name}", path.read_bytes())
    stray = (
        "../escaped.json", "a/../../escaped.json", "..", "./here.json", ".git/config.json",
        ".hidden.json", "mine.py", "extra.bin", "a/.b/c.json", "weights.pt",
    )  # fmt: skip
    for name in stray:
        # Below the file system's own reading of paths, as object stores do without one.
        key = f"{store.path}/{name}"
        store.fs.store[key] = MemoryFile(store.fs, key, b"{}")
    folder = fetch_model(uri, tmp_path / "scratch" / "deep")
    assert digest_folder(folder) == digest_folder(copy)
    found = {path.relative_to(tmp_path / "scratch") for path in (tmp_path / "scratch").rglob("*")}
    assert {path for path in found if path.suffix} == {
        Path("deep/model") / path.name for path in copy.iterdir()
    }


def test_a_store_with_pickles_alone_says_what_can_be_done(tmp_path: Path) -> None:
    uri = f"memory://{tmp_path.name}/models/p"
    store = locate(uri)
    store.fs.pipe_file(f"{store.path}/config.json", b"{}")
    store.fs.pipe_file(f"{store.path}/pytorch_model.bin", b"x")
    with pytest.raises(ModelError, match=r"are pickles.*save_pretrained"):
        fetch_model(uri, tmp_path)


@pytest.mark.parametrize(
    "named",
    [
        "adapter_model.bin",
        ".hidden/x.safetensors",
        "other.safetensors.index.json",
        "no.safetensors",
    ],
)
def test_weights_by_another_name_are_refused(copy: Path, named: str) -> None:
    """transformers takes a pickle by that name, and an index that nobody has looked at."""
    (copy / named).parent.mkdir(exist_ok=True)
    (copy / "adapter_model.bin").touch()
    (copy / "other.safetensors.index.json").write_text('{"weight_map": {"a": "x.bin"}}')
    config = json.loads((copy / "config.json").read_text()) | {"transformers_weights": named}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="transformers_weights is"):
        fetch_model(str(copy), copy)


@pytest.fixture
def published(copy: Path, tmp_path: Path) -> Path:
    ArtifactStore(str(tmp_path / "store")).publish(copy, "model")
    return tmp_path / "store/model"


def test_the_marker_is_no_part_of_a_model(copy: Path, published: Path, tmp_path: Path) -> None:
    assert (published / MARKER).is_file()
    assert digest_folder(fetch_model(str(published), tmp_path)) == digest_folder(copy)
    save(published, tmp_path / "out")
    ArtifactStore(str(tmp_path / "store")).publish(tmp_path / "out", "again")


def test_a_flipped_byte_of_a_published_model_is_seen(published: Path) -> None:
    weights = published / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"model.safetensors is damaged.*sha256"):
        digest_folder(published)
    (published / MARKER).unlink()  # changed on purpose
    digest_folder(published)


@pytest.mark.parametrize("damage", ["cut", "absent", "marker", "outside"])
def test_a_published_model_that_is_not_whole_is_refused(
    published: Path, tmp_path: Path, damage: str
) -> None:
    weights, marker = published / "model.safetensors", published / MARKER
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif damage == "absent":
        (published / "tokenizer.json").unlink()
    elif damage == "marker":
        marker.write_text(marker.read_text()[:40])
    else:
        entry = {"path": "../../secrets/token", "size": 1, "sha256": ""}
        marker.write_text(json.dumps({"version": 1, "files": [entry]}))
    with pytest.raises(ModelError, match="published"):
        fetch_model(str(published), tmp_path)
