"""Finding the files of corpora, and seeing that one was changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.reading import read_split
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from mmrlhf_jobs.sampling.corpora.sources import Corpus, list_splits
from mmrlhf_jobs.sampling.parts import Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.sampling.corpora import llava, split_of, write_lines


def test_the_files_of_a_corpus(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "c.parquet", "d.tar", "e.ndjson", "notes.txt", "x.png"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "z.jsonl").write_text("")
    found = list_splits([Corpus("all", str(tmp_path))])
    assert {split.relative: split.format for split in found} == {
        "a.json": "llava",
        "b.jsonl": "jsonl",
        "c.parquet": "parquet",
        "d.tar": "webdataset",
        "e.ndjson": "jsonl",
    }
    assert [split.id for split in found] == sorted(split.id for split in found)
    below = list_splits([Corpus("all", f"{tmp_path}/**/*.jsonl")])
    assert {split.relative for split in below} == {"b.jsonl", "below/z.jsonl"}
    one = list_splits([Corpus("all", f"{tmp_path}/b.jsonl")])
    assert [split.id for split in one] == [s.id for s in found if s.relative == "b.jsonl"]


def test_ids_differ_between_corpora_and_not_between_places(tmp_path: Path) -> None:
    ids = {}
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text("")
        for name in ("one", "two"):
            (split,) = list_splits([Corpus(name, str(tmp_path / folder))])
            ids[folder, name] = split.id
    assert ids["here", "one"] == ids["there", "one"] != ids["here", "two"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "no data files are there"),
        ("a.txt", "no data files are there"),
        ("missing/", "no such file or folder"),
        ("a.tar.gz", "compressed"),
    ],
)
def test_nothing_to_read(tmp_path: Path, name: str | None, message: str) -> None:
    uri = tmp_path
    if name == "missing/":
        uri = tmp_path / "missing"
    elif name is not None:
        (tmp_path / name).write_text("x")
        uri = tmp_path / name if name.endswith("gz") else tmp_path
    with pytest.raises(DataError, match=message):
        list_splits([Corpus("corpus", str(uri))])


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """The part must not appear, whether the size changes or the time alone."""
    path = write_lines(tmp_path / "a.jsonl", [llava("1", "q", "a")])
    store = ArtifactStore(str(tmp_path / "out"))
    parts = Parts(store, "rows", scratch=tmp_path / "scratch")

    def touch(_rows: int) -> None:
        os.utime(path, (1, 1))

    split = split_of(path)
    with pytest.raises(DataError, match="was changed while the job read it") as caught:
        read_split(split, parts, RowSettings(), tell=touch)
    assert caught.value.file == str(path)
    assert store.list_committed() == []
    assert not list((tmp_path / "scratch").rglob("*.parquet"))
