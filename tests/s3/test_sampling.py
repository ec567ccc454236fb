"""A sampling that reads its sources from an S3 server and leaves everything there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.reading import read_rows, read_split
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from mmrlhf_jobs.sampling.corpora.sources import Corpus, list_splits
from mmrlhf_jobs.sampling.parts import Parts
from tests.jobs.sampling.world import SamplingWorld
from tests.s3.conftest import Bucket


def test_sources_encoder_and_artifacts_on_s3(bucket: Bucket, tmp_path: Path) -> None:
    world = SamplingWorld.make(tmp_path, images=24)
    job = world.job(target=8, clustering={"centres": 3})
    code, stderr = world.run(job)
    assert code == 0, stderr
    here = world.queries()

    store = bucket.store("")
    fs, root = store._root.fs, bucket.name
    for folder in ("data", "clip"):
        fs.put(str(tmp_path / folder), f"{root}/{folder}", recursive=True)
    spec: dict[str, Any] = {
        **job["spec"],
        "sources": [
            {"name": name, "uri": f"{bucket.uri}/data/{name}"} for name in ("plain", "shards")
        ],
        "embedding": {"model": {"uri": f"{bucket.uri}/clip"}},
        "artifacts": {
            "uri": f"{bucket.uri}/artifacts",
            "endpoint": bucket.options.endpoint,
            "region": bucket.options.region,
        },
    }
    code, stderr = world.run({**job, "spec": spec}, processes=2)
    assert code == 0, stderr
    (path,) = fs.glob(f"{root}/artifacts/default/choose/*/queries.jsonl")
    there = [json.loads(line) for line in fs.cat_file(path).decode().splitlines()]
    for query in here + there:
        for medium in query["media"]:
            if medium["uri"].startswith("media/"):
                kept = f"{path.rpartition('/')[0]}/{medium['uri']}"
                assert query not in there or fs.isfile(kept)
            del medium["uri"]
    assert there == here
    assert fs.isfile(path.replace("queries.jsonl", "manifest.json"))


def test_an_object_that_changes_while_it_is_read(bucket: Bucket, tmp_path: Path) -> None:
    """The size stays, and the ETag tells."""
    fs, key = bucket.store("")._root.fs, f"{bucket.name}/data/a.jsonl"
    rows = [b'{"image": "a.png", "question": "%d?", "answer": "a"}\n' % n for n in range(2)]
    fs.pipe_file(key, rows[0])
    (split,) = list_splits([Corpus("data", f"{bucket.uri}/data")], bucket.options)
    parts = Parts(bucket.store(), "rows", scratch=tmp_path / "scratch", storage=bucket.options)
    with pytest.raises(DataError, match="was changed while the job read it") as caught:
        read_split(split, parts, RowSettings(), tell=lambda _rows: fs.pipe_file(key, rows[1]))
    assert caught.value.file == f"{bucket.uri}/data/a.jsonl"
    assert bucket.store().list_committed() == []
    (split,) = list_splits([Corpus("data", f"{bucket.uri}/data")], bucket.options)
    (row,) = read_rows(read_split(split, parts, RowSettings(), tell=lambda _rows: None), 0)
    assert row.question == "1?"
