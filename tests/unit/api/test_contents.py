"""What a place holds as one digest, held against what artifacts and records say themselves."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mmrlhf_api.contents import Contents, find_contents
from mmrlhf_jobs.storage.alias import artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.results import Results

FS = fsspec.filesystem("file")


def look(path: Path | str, **given: Any) -> Contents | None:
    return find_contents(FS, str(path), **{"deep": False, **given})


def finished(folder: Path) -> Path:
    """A run with a model and records, as a job leaves it."""
    (folder / "model").mkdir(parents=True)
    (folder / "model/config.json").write_text("{}")
    (folder / "model/a.txt").write_text("weights")
    (folder / "model/a").mkdir()
    (folder / "model/a/b").write_text("deep")
    store = ArtifactStore(str(folder / "store"))
    claim = Claim(store, "n/j/u/claim.json", attempt=0)
    claim.join(claim.take())
    results = Results(store, "n/j/u", claim)
    results.publish(folder / "model", "model")
    results.write_text("records.jsonl", "one\ntwo\n")
    results.conclude({"job": {"kind": "StepJob"}, "at": str(datetime(2026, 1, 1, tzinfo=UTC))})
    return folder / "store/n/j/u"


def test_what_a_run_left_has_the_digests_of_aliases_and_of_files(tmp_path: Path) -> None:
    run = finished(tmp_path)
    records = look(run / "records.jsonl")
    assert records == Contents(hashlib.sha256(b"one\ntwo\n").hexdigest(), "record", 1, 8, str(run))
    model = look(run / "model", deep=True)
    assert model is not None
    assert (model.digest, model.by) == (artifact_digest(str(run / "model")), "record")
    assert (model.files, model.run) == (4, str(run))
    whole = look(run)
    assert whole is not None
    assert (whole.by, whole.files) == ("record", 5)
    # The same without the record.
    (run / "manifest.json").unlink()
    alone, file = look(run / "model", deep=True), look(run / "records.jsonl")
    assert alone is not None
    assert (alone.digest, alone.by) == (model.digest, "marker")
    assert file is not None
    assert (file.digest, file.by) == (records.digest, "content")


def test_a_record_is_not_believed_about_what_is_not_there(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (run / "records.jsonl").write_text("longer than it was\n")
    (run / "added.jsonl").write_text("x")
    changed, added = look(run / "records.jsonl"), look(run / "added.jsonl")
    assert changed is not None
    assert (changed.by, changed.digest) == (
        "content",
        hashlib.sha256(b"longer than it was\n").hexdigest(),
    )
    assert added is not None
    assert added.by == "content"
    (run / "records.jsonl").unlink()
    assert look(run / "records.jsonl") is None
    assert look(tmp_path / "nowhere") is None


def test_sources_count_by_name_and_content_and_folders_of_data_without_those_below(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "a.jsonl").write_text("a")
    (source / "b.jsonl").write_text("b")
    (source / ".hidden").write_text("h")
    flat, pattern = look(source), look(source / "*.jsonl")
    assert flat is not None
    assert pattern is not None
    assert flat.digest == pattern.digest
    assert (flat.files, flat.bytes, flat.by) == (2, 2, "content")
    (source / "below/c").write_text("c")
    assert look(source) == flat
    assert look(source, deep=True) != flat
    (source / "b.jsonl").rename(source / "c.jsonl")
    renamed = look(source)
    assert renamed is not None
    assert renamed.digest != flat.digest
    large = look(source, read_bytes=1)
    assert large is not None
    assert (large.by, large.files) == ("listing", 2)
    (source / "a.jsonl").write_text("A")
    FS.touch(str(source / "a.jsonl"), truncate=False)
    assert look(source, read_bytes=1) != large


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"job": 1}', '{"job": {}, "files": [1]}', "[" * 100_000]
)
def test_a_manifest_of_strangers_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    (tmp_path / "x.jsonl").write_text("x")
    found = look(tmp_path / "x.jsonl")
    assert found is not None
    assert found.by == "content"


def test_a_record_names_only_what_is_below_its_run(tmp_path: Path) -> None:
    files = [{"path": "x.jsonl", "size": 1, "sha256": "0" * 64}]
    (tmp_path / "manifest.json").write_text(json.dumps({"job": {}, "files": files}))
    (tmp_path / "x.jsonl").write_text("x")
    found = look(tmp_path / "x.jsonl")
    assert found == Contents("0" * 64, "record", 1, 1, str(tmp_path))
