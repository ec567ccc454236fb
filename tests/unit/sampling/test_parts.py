"""Parts whose bytes changed after they were published."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import IO
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.errors import DamagedError, StorageError, StorageFullError, SupersededError
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import FileEntry, copy_stream

FILES = ("rows.parquet", "centres.npy", "notes.bin")


class Stage:
    """A stage with one part."""

    def __init__(self, root: str, scratch: Path) -> None:
        self.scratch = scratch
        self.base = root
        self.store = ArtifactStore(root)
        self.make()
        (key,) = self.store.list_committed("work/rows/a")
        self.root = f"{root}/{key}"

    def beside(self, name: str) -> Stage:
        """Another one like it."""
        return Stage(f"{self.base}-{name}", self.scratch)

    def parts(self) -> Parts:
        return Parts(self.store, "work/rows", scratch=self.scratch)

    def make(self) -> None:
        with self.parts().make("a", "key") as draft:
            table = pa.table({"x": list(range(1000)), "t": [f"row {i}" for i in range(1000)]})
            pq.write_table(table, draft.folder / FILES[0], compression="NONE", use_dictionary=False)
            np.save(draft.folder / FILES[1], np.ones((4, 4), np.float32))
            (draft.folder / FILES[2]).write_bytes(b"\0" * 1_500_000)

    def flip(self, file: str, place: int) -> None:
        path = f"{self.root}/{file}"
        with fsspec.open(path, "rb") as opened:
            content = bytearray(opened.read())
        content[place % len(content)] ^= 4
        with fsspec.open(path, "wb") as opened:
            opened.write(bytes(content))

    def read(self, file: str) -> bytes:
        with self.parts().get("a", "key").open(file) as opened:
            return opened.read()


@pytest.fixture(params=["local", "memory"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    roots = {"local": str(tmp_path / "store"), "memory": f"memory://parts/{uuid4().hex}"}
    return Stage(roots[request.param], tmp_path / "scratch")


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_changed_is_not_read(stage: Stage, file: str) -> None:
    draw = random.Random(file)
    for number in range(10):
        # A process looks at a file once, so each is another.
        one = stage.beside(str(number))
        one.flip(file, draw.randrange(1 << 30))
        with pytest.raises(DamagedError, match=f"{file} is damaged: .*run the job again"):
            one.read(file)
        # It is given up, so the next run makes it anew.
        assert one.parts().find("a", "key") is None
        one.make()
        assert one.read(file)


def test_a_table_that_changed_is_not_read(stage: Stage) -> None:
    stage.flip(FILES[0], 3000)
    part = stage.parts().get("a", "key")
    with (
        pytest.raises(DamagedError, match=r"sha256 .* were published"),
        part.table(FILES[0]) as table,
    ):
        table.read()


def test_notes_that_changed_are_not_believed(stage: Stage) -> None:
    stage.parts().find("a", "key")  # looked at before, by its digest
    other = stage.beside("other")
    other.flip("part.json", 20)
    with pytest.raises(DamagedError, match=r"part\.json is damaged"):
        other.parts().find("a", "key")
    assert other.parts().find("a", "key") is None


def test_a_file_that_is_gone_is_told(stage: Stage) -> None:
    filesystem, path = fsspec.url_to_fs(f"{stage.root}/{FILES[1]}")
    filesystem.rm_file(path)
    with pytest.raises(DamagedError, match="does not exist, but was published"):
        stage.read(FILES[1])
    with pytest.raises(StorageError, match="is gone or belongs to other data"):
        stage.read(FILES[1])


def test_a_file_is_compared_once_a_process(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(source: IO[bytes], target: IO[bytes] | None, path: str) -> FileEntry:
        read.append(path)
        return copy_stream(source, target, path)

    monkeypatch.setattr("mmrlhf_jobs.sampling.parts.copy_stream", counted)
    for _ in range(3):
        stage.read(FILES[0])
        stage.read(FILES[2])
    assert sorted(read) == sorted({*read} & {"part.json", FILES[0], FILES[2]})
    assert {FILES[0], FILES[2]} <= set(read)


def test_what_a_successor_has_made_anew_is_not_given_up_by_who_was_cut_off(
    tmp_path: Path,
) -> None:
    one = Stage(str(tmp_path / "store"), tmp_path / "scratch")
    held = [True]

    def check() -> None:
        if not held[0]:
            raise SupersededError("another attempt holds the run")

    part = Parts(one.store.guarded(check), "work/rows", scratch=one.scratch).get("a", "key")
    whole = Path(one.root, FILES[2]).read_bytes()
    one.flip(FILES[2], 7)
    held[0] = False
    with pytest.raises(SupersededError, match="another attempt"):
        part.check()
    Path(one.root, FILES[2]).write_bytes(whole)  # as the successor does
    assert one.read(FILES[2]) == whole


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_while_a_part_is_made_is_told_as_such(
    tmp_path: Path, number: int
) -> None:
    parts = Parts(ArtifactStore(str(tmp_path / "store")), "work/rows", scratch=tmp_path / "s")
    full = pytest.raises(StorageFullError, match=r"disk full: cannot write .*rows/a")
    with full, parts.make("a", "key") as draft:
        raise OSError(number, "Error writing bytes to file", str(draft.folder / "x.parquet"))
    assert parts.find("a", "key") is None


def test_other_errors_of_the_making_stay_what_they_are(tmp_path: Path) -> None:
    parts = Parts(ArtifactStore(str(tmp_path / "store")), "work/rows", scratch=tmp_path / "s")
    with pytest.raises(OSError, match="input/output") as caught, parts.make("a", "key"):
        raise OSError(errno.EIO, "input/output error")
    assert not isinstance(caught.value, StorageError)
