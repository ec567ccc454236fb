from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from mmrlhf_jobs.errors import InputError, StorageError
from mmrlhf_jobs.storage import artifacts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.marker import MARKER
from tests.patience import PATIENCE


@pytest.fixture(params=["local", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    root = {
        "local": str(tmp_path / "store"),
        "file": f"file://{tmp_path}/store",
        "memory": f"memory://bucket/{uuid4().hex}",
    }
    return ArtifactStore(root[request.param])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / ".hidden").write_bytes(b"")
    (folder / "sub" / "deep" / "weights.bin").write_bytes(bytes(range(256)) * 9000)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(store: ArtifactStore) -> list[str]:
    root = store._root
    try:
        return sorted(path.removeprefix(root.path) for path in root.fs.find(root.path))
    except FileNotFoundError:
        return []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, so that it is full for real."""
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode()}")
    yield mount
    subprocess.run(["umount", mount], check=True)


@pytest.fixture
def read_only(small_disk: Path) -> Path:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    return small_disk


def test_what_is_published_is_fetched(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    store.publish(folder, "runs/one/model")
    assert store.is_committed("runs/one/model")
    target = tmp_path / "fetched"
    store.fetch("runs/one/model", target)
    assert content(target) == content(folder)
    (tmp_path / "empty").mkdir()
    store.fetch("runs/one/model", tmp_path / "empty")
    assert content(tmp_path / "empty") == content(folder)
    marker = json.loads(store.read_text(f"runs/one/model/{MARKER}") or "")
    assert [entry["path"] for entry in marker["files"]] == [
        ".hidden",
        "config.json",
        "sub/deep/weights.bin",
    ]


def test_publishing_again_is_fine_only_with_the_same_content(
    store: ArtifactStore, folder: Path
) -> None:
    store.publish(folder, "a")
    store.publish(folder, "a")
    (folder / "config.json").write_text("[]")
    with pytest.raises(StorageError, match="already published with other content"):
        store.publish(folder, "a")
    assert store.read_text("a/config.json") == "{}"
    store.remove("a")
    store.publish(folder, "a")
    assert store.read_text("a/config.json") == "[]"


def test_nothing_is_visible_before_the_marker(
    store: ArtifactStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmrlhf_jobs.storage.artifacts.make_marker", die)
        with pytest.raises(KeyboardInterrupt):
            store.publish(folder, "a")
    assert not store.is_committed("a")
    assert store.list_committed() == []
    assert names(store) == []
    store.publish(folder, "a")
    assert store.is_committed("a")


def test_what_a_killed_writer_left_is_invisible_and_in_nobodys_way(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    local = store._root.is_local
    # Killed after the marker of the hidden folder was written, or before that of an upload.
    left = f".a.tmp/{MARKER}" if local else "a/left"
    path = f"{store._root.path}/{left}"
    store._root.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    store._root.fs.pipe_file(path, b'{"files": []}')
    assert store.list_committed() == []
    assert not store.is_committed("a")
    store.publish(folder, "a")
    assert store.list_committed() == ["a"]
    store.fetch("a", tmp_path / "target")
    assert content(tmp_path / "target") == content(folder)


def test_a_folder_that_lost_its_marker_is_published_again(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    store.publish(folder, "a")
    store.remove(f"a/{MARKER}")
    store._root.fs.pipe_file(f"{store._root.path}/a/config.json", b"cut")
    store.publish(folder, "a")
    store.fetch("a", tmp_path / "target")
    assert content(tmp_path / "target") == content(folder)
    assert not any(".tmp" in name for name in names(store))


def test_artifacts_are_listed_below_a_prefix(store: ArtifactStore, folder: Path) -> None:
    for key in ("x/step-2/rank-0", "x/step-2/complete", "x/step-10/rank-0", "xy", "z"):
        store.publish(folder, key)
    store.write_text("x/notes.json", "{}")
    assert store.list_committed("x") == ["x/step-10/rank-0", "x/step-2/complete", "x/step-2/rank-0"]
    assert store.list_committed("x/step-2/complete") == ["x/step-2/complete"]
    assert store.list_committed("nowhere") == []
    assert len(store.list_committed()) == 5


def test_removing_a_prefix_removes_all_below_it(store: ArtifactStore, folder: Path) -> None:
    store.publish(folder, "x/a")
    store.publish(folder, "x/b")
    store.publish(folder, "xy")
    store.remove("x/a")
    assert store.list_committed() == ["x/b", "xy"]
    store.remove("x")
    store.remove("never/there")
    assert store.list_committed() == ["xy"]
    assert not any(name.startswith("/x/") for name in names(store))


def _die_at_the_second(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    act, calls = getattr(module, name), count()

    def once(*arguments: Any, **named: Any) -> None:
        if next(calls):
            raise KeyboardInterrupt
        act(*arguments, **named)

    monkeypatch.setattr(module, name, once)


def test_markers_are_removed_first(
    store: ArtifactStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(folder, "x/a")

    for module, name in (
        (artifacts, "remove_paths"),
        (type(store._root.fs), "rm"),
    ):
        _die_at_the_second(monkeypatch, module, name)
    with pytest.raises(KeyboardInterrupt):
        store.remove("x")
    monkeypatch.undo()
    assert len(names(store)) == 3
    assert store.list_committed() == []


def test_a_damaged_artifact_is_not_fetched(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    store.publish(folder, "a")
    store._root.fs.pipe_file(f"{store._root.path}/a/config.json", b"[]")
    with pytest.raises(StorageError, match=r"a/config.json is damaged: 2 bytes"):
        store.fetch("a", tmp_path / "target")
    store._root.fs.rm_file(f"{store._root.path}/a/config.json")
    with pytest.raises(StorageError, match="does not exist, but was published"):
        store.fetch("a", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir() if "target" in path.name) == []
    store._root.fs.pipe_file(f"{store._root.path}/a/{MARKER}", b'{"files": [{"path": "../x"}]}')
    with pytest.raises(StorageError, match="is damaged"):
        store.is_committed("a")


def test_a_marker_cannot_lead_out_of_the_target(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    store.publish(folder, "a")
    entry = {"path": "../escaped", "size": 0, "sha256": "0"}
    marker = json.dumps({"version": 1, "files": [entry]}).encode()
    store._root.fs.pipe_file(f"{store._root.path}/a/{MARKER}", marker)
    with pytest.raises(StorageError, match="leads out of the artifact"):
        store.fetch("a", tmp_path / "target")


def test_wrong_uses_are_told(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no files"):
        store.publish(tmp_path / "empty", "a")
    with pytest.raises(StorageError, match="no complete artifact"):
        store.fetch("a", tmp_path / "target")
    store.publish(folder, "a/b")
    with pytest.raises(StorageError, match="not an empty folder"):
        store.fetch("a/b", folder)
    with pytest.raises(StorageError, match="because it holds a/b"):
        store.publish(folder, "a")
    for key in ("../a", "a//b", "/a", ".hidden/a"):
        with pytest.raises(StorageError, match="is no key"):
            store.publish(folder, key)
    (folder / MARKER).touch()
    with pytest.raises(StorageError, match="is taken by the commit marker"):
        store.publish(folder, "c")


def test_texts_are_written_replaced_and_read(store: ArtifactStore) -> None:
    assert store.read_text("x/a.json") is None
    store.write_text("x/a.json", "one")
    store.write_text("x/a.json", "caf\u00e9")
    assert store.read_text("x/a.json") == "caf\u00e9"
    assert store.list_committed() == []
    assert names(store) == ["/x/a.json"]


def made(*names: str, word: str = "x") -> dict[str, Callable[[], bytes]]:
    return {name: lambda name=name: f"{word} {name}".encode() for name in names}  # type: ignore[misc]


def test_files_that_are_made_on_their_way_are_an_artifact(
    store: ArtifactStore, tmp_path: Path
) -> None:
    names = [f"{number:02d}.bin" for number in range(9)]
    entries = store.publish_made(made(*reversed(names)), "run/made")
    assert [entry.path for entry in entries] == names
    assert store.entries("run/made") == entries
    store.fetch("run/made", tmp_path / "fetched")
    assert (tmp_path / "fetched/03.bin").read_bytes() == b"x 03.bin"
    assert store.publish_made(made(*names), "run/made") == entries
    with pytest.raises(StorageError, match="already published with other content"):
        store.publish_made(made(*names, word="y"), "run/made")


def test_some_are_written_at_once_and_none_after_an_error(store: ArtifactStore) -> None:
    together, begun = Barrier(3), list[str]()

    def meet(name: str) -> bytes:
        begun.append(name)
        together.wait(60 * PATIENCE)
        if name == "0":
            raise StorageError("that one cannot be made")
        return b"x"

    files = {str(number): partial(meet, str(number)) for number in range(3)}
    with pytest.raises(StorageError, match="that one cannot be made"):
        store.publish_made(files, "run/made", at_once=3)
    assert sorted(begun) == ["0", "1", "2"]
    assert store.sizes() == {}
    broken: dict[str, Callable[[], bytes]] = {"0": partial(made_never, "first")}
    with pytest.raises(StorageError, match="first"):
        store.publish_made({**broken, **made("1", "2", "3")}, "run/made", at_once=1)
    assert store.entries("run/made") is None
    assert store.sizes() == {}
    assert [entry.path for entry in store.publish_made(made("0"), "run/made")] == ["0"]


def made_never(name: str) -> bytes:
    raise StorageError(name)


def test_a_writable_store_stays_as_it_was(store: ArtifactStore) -> None:
    store.check_writable()
    assert names(store) == []


def test_a_full_disk_is_told_and_nothing_half_written_is_left(
    small_disk: Path, folder: Path
) -> None:
    store = ArtifactStore(str(small_disk / "store"))
    store.write_text("small.json", "old")
    with pytest.raises(StorageError, match=r"disk full: cannot write .*store/a; free space"):
        store.publish(folder, "a")
    assert names(store) == ["/small.json"]
    with pytest.raises(StorageError, match="disk full"):
        store.write_text("small.json", "x" * 500_000)
    assert store.read_text("small.json") == "old"
    assert names(store) == ["/small.json"]
    with (
        pytest.raises(StorageError, match="disk full"),
        new_file(str(small_disk / "file")) as path,
        path.open("wb") as file,
    ):
        file.write(bytes(500_000))
    other = ArtifactStore(str(small_disk.parent / "other"))
    other.publish(folder, "a")
    with pytest.raises(StorageError, match="disk full: cannot copy"):
        other.fetch("a", small_disk / "target")
    assert sorted(path.name for path in small_disk.iterdir()) == ["store"]


def test_a_store_that_may_not_be_written_is_the_users_error(read_only: Path, folder: Path) -> None:
    store = ArtifactStore(str(read_only))
    for act in (
        store.check_writable,
        lambda: store.publish(folder, "a"),
        lambda: store.write_text("a", "b"),
    ):
        with pytest.raises(InputError, match="no permission to write it"):
            act()


def test_a_store_below_a_file_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be used as a folder for artifacts"):
        ArtifactStore(str(tmp_path / "file")).check_writable()
    with pytest.raises(InputError, match="cannot be used as a folder for artifacts"):
        ArtifactStore(str(tmp_path / "file" / "store")).check_writable()


def test_a_folder_of_another_owner_is_the_users_error() -> None:
    with tempfile.TemporaryDirectory() as folder:  # all may enter it, unlike pytest's own
        Path(folder).chmod(0o555)
        with nobody(), pytest.raises(InputError, match="no permission"):
            ArtifactStore(folder).check_writable()


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere, so it is somebody else for the length of a block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def write_half(uri: str) -> None:
    with new_file(uri) as arriving:
        arriving.write_bytes(b"half")
        raise KeyError


def test_a_new_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    for uri in (str(tmp_path / "sub" / "x"), f"memory://files/{uuid4().hex}"):
        fs, path = fsspec.url_to_fs(uri)
        with pytest.raises(KeyError):
            write_half(uri)
        assert not fs.exists(path)
        with new_file(uri) as arriving:
            arriving.write_bytes(b"whole")
            assert not fs.exists(path)
        assert fs.cat_file(path) == b"whole"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["x"]
