"""Data, model, scores, checkpoints and results in an object store: the same bits as on a disk."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.validation import validate
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError, ModelError
from mmrlhf_jobs.models.folders import digest_folder, fetch_model
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.scores.table import Sidecar
from tests.cluster.wait import wait_until
from tests.jobs.training.world import World
from tests.s3.conftest import Bucket

WAITED = ("checkpointSeconds", "dataSeconds")
TIMED = ("seconds", "tokensPerSecond", "etaSeconds", "peakMemoryGiB", *WAITED)


@dataclass(frozen=True)
class RemoteWorld:
    """A world, and a copy of it in a bucket."""

    world: World
    bucket: Bucket

    @classmethod
    def make(cls, template: World, bucket: Bucket, folder: Path) -> RemoteWorld:
        bucket.server.upload_folder(template.folder / "data", bucket.name, "inputs/data")
        bucket.server.upload_folder(template.folder / "model", bucket.name, "inputs/model")
        bucket.server.client.put_object(
            Bucket=bucket.name,
            Key="inputs/rewards.parquet",
            Body=(template.folder / "rewards.parquet").read_bytes(),
        )
        folder.mkdir()
        return cls(World(folder), bucket)

    def job(self) -> dict[str, Any]:
        inputs = f"{self.bucket.uri}/inputs"
        return self.world.job(
            artifacts__uri=f"{self.bucket.uri}/artifacts",
            artifacts__endpoint=self.bucket.server.endpoint,
            artifacts__region=self.bucket.server.region,
            model__uri=f"{inputs}/model",
            data__train__uri=f"{inputs}/data/train.jsonl",
            data__evaluation__uri=f"{inputs}/data/heldout.jsonl",
            reward__scoresUri=f"{inputs}/rewards.parquet",
        )

    def results(self, folder: Path) -> Path:
        """Download the artifacts of the only run."""
        self.bucket.server.download_folder(self.bucket.name, "artifacts/default/tiny", folder)
        (run,) = folder.iterdir()
        return run


def series(results: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (results / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def manifest(results: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((results / "manifest.json").read_text())
    return content


def by_file(rewards: dict[str, Any]) -> dict[str, Any]:
    """Rows are named by their files, wherever those are."""
    strongest = [{**one, "name": one["name"].rpartition("/")[2]} for one in rewards["strongest"]]
    return {**rewards, "strongest": strongest}


def same(found: Path, expected: Path) -> None:
    model = sorted(path.name for path in (expected / "model").iterdir())
    assert sorted(path.name for path in (found / "model").iterdir()) == model
    for name in model:
        assert (found / "model" / name).read_bytes() == (expected / "model" / name).read_bytes()
    assert series(found) == series(expected)
    ours, theirs = manifest(found), manifest(expected)
    assert ours["metrics"] == theirs["metrics"]
    assert by_file(ours["rewards"]) == by_file(theirs["rewards"])
    assert {**ours["data"], "uri": ""} == {**theirs["data"], "uri": ""}


@pytest.fixture(scope="module")
def local(template: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run on local files."""
    folder = tmp_path_factory.mktemp("local") / "world"
    shutil.copytree(template.folder, folder)
    world = World(folder)
    run = world.run(world.job())
    assert run.code == 0, run.stderr
    return world.results()


@pytest.fixture
def remote(template: World, bucket: Bucket, tmp_path: Path) -> RemoteWorld:
    return RemoteWorld.make(template, bucket, tmp_path / "world")


def test_records_media_and_scores_are_read_as_from_a_disk(
    template: World, remote: RemoteWorld
) -> None:
    options = remote.bucket.options
    inputs = f"{remote.bucket.uri}/inputs"
    here = RankedDataset.open(Source(uri=str(template.folder / "data/train.jsonl")))
    there = RankedDataset.open(Source(uri=f"{inputs}/data/train.jsonl", storage=options))
    assert there.num_records == here.num_records == 13
    assert there.digest == here.digest
    read = [
        [record for batch in one.batches(seed=3, epoch=1, batch_size=4) for record in batch]
        for one in (here, there)
    ]
    assert read[0] == read[1]
    for record in read[0]:
        (picture,) = load_media(record, f"{inputs}/data", storage=options)
        (expected,) = load_media(record, str(template.folder / "data"))
        assert picture.frames[0].tobytes() == expected.frames[0].tobytes()
    write_records(read[0], f"{inputs}/copy/train.parquet", storage=options)
    copy = RankedDataset.open(
        Source(uri=f"{inputs}/copy", media_root=f"{inputs}/data", storage=options)
    )
    (batch,) = copy.batches(seed=0, epoch=0, batch_size=13)
    assert {one.record_id for one in batch} == {f"r{index}" for index in range(13)}
    identity = SidecarIdentity(kind="reward")
    scores = Sidecar.open(f"{inputs}/rewards.parquet", identity, storage=options)
    local = Sidecar.open(str(template.folder / "rewards.parquet"), identity)
    assert len(scores) == len(local) > 0


def test_a_model_folder_is_fetched_whole(
    template: World, remote: RemoteWorld, tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    uri = f"{remote.bucket.uri}/inputs/model"
    folder = fetch_model(uri, tmp_path / "scratch", remote.bucket.options)
    assert digest_folder(folder) == digest_folder(template.folder / "model")
    with pytest.raises(ModelError, match="no such model folder"):
        fetch_model(f"{uri}-2", tmp_path / "other", remote.bucket.options)


def test_missing_inputs_are_named(remote: RemoteWorld) -> None:
    uri = f"{remote.bucket.uri}/inputs/nothing.jsonl"
    with pytest.raises(DataError, match=r"nothing\.jsonl"):
        validate(Source(uri=uri, storage=remote.bucket.options))
    with pytest.raises(DataError, match=r"no-such-bucket"):
        validate(Source(uri="s3://no-such-bucket/train.jsonl", storage=remote.bucket.options))


def test_a_run_in_the_object_store_gives_the_same_bits(
    local: Path, remote: RemoteWorld, tmp_path: Path
) -> None:
    run = remote.world.run(remote.job())
    assert run.code == 0, run.stderr
    same(remote.results(tmp_path / "results"), local)
    assert not (remote.world.folder / "artifacts").exists()
    keys = remote.bucket.server.keys(remote.bucket.name, "artifacts/")
    assert not [key for key in keys if "checkpoints" in key], "a finished run keeps none"


def test_a_killed_run_goes_on_from_its_checkpoint_in_the_store(
    local: Path, remote: RemoteWorld, tmp_path: Path
) -> None:
    process = remote.world.start(remote.job(), until="step=5")
    try:
        remote.world.wait_for("step=5", process)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert remote.bucket.store().list_committed()
    run = remote.world.run(remote.job())
    assert run.code == 0, run.stderr
    # That of step 2, 4 or 6: the last one may have been on its way.
    assert run.steps[0]["step"] in (3, 5, 7)
    same(remote.results(tmp_path / "results"), local)


def test_a_run_without_its_bucket_stops_before_it_loads_anything(remote: RemoteWorld) -> None:
    job = remote.job()
    job["spec"]["artifacts"]["uri"] = "s3://no-such-bucket/artifacts"
    run = remote.world.run(job)
    assert run.code == 2
    assert "s3://no-such-bucket/artifacts: cannot be used as a folder for artifacts" in run.stderr
    assert "Traceback" not in run.stderr
    assert not [event for event in run.events if event["event"] == "phase"]


def test_an_outage_of_seconds_costs_no_attempt(
    local: Path, remote: RemoteWorld, tmp_path: Path
) -> None:
    server = remote.bucket.server
    process = remote.world.start(remote.job(), until="step=3")
    try:
        remote.world.wait_for("step=3", process)
        server.crash()
        process.send_signal(signal.SIGUSR1)
        away = f"{server.endpoint} is away, waiting up to 300 s for it"
        wait_until(lambda: process.has_said(away), timeout=120, what="its wait")
        time.sleep(1.5)
        server.revive()
        _, stderr = process.communicate(timeout=600)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, stderr
    assert away in stderr
    assert f"{server.endpoint} answers again after" in stderr
    results = remote.results(tmp_path / "results")
    same(results, local)
    (attempt,) = manifest(results)["attempts"]
    assert attempt["storageOutages"]["count"] >= 1
    assert attempt["storageOutages"]["seconds"] > 1


def test_a_longer_outage_ends_the_attempt_and_the_next_one_goes_on(
    local: Path, remote: RemoteWorld, tmp_path: Path
) -> None:
    server = remote.bucket.server
    job = remote.job()
    job["spec"]["runPolicy"] = {"storageOutageSeconds": 1}
    process = remote.world.start(job, until="step=5")
    try:
        remote.world.wait_for("step=5", process)
        server.crash()
        process.send_signal(signal.SIGUSR1)
        _, stderr = process.communicate(timeout=300)
        server.revive()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 157, stderr
    assert "Traceback" not in stderr
    told = remote.world.termination()
    assert told is not None
    assert (told["exitCode"], told["reason"]) == (157, "StorageUnavailable")
    assert server.endpoint in told["message"]
    assert remote.bucket.store().list_committed(), "its checkpoints are there again"
    run = remote.world.run(job)
    assert run.code == 0, run.stderr
    # That of step 2, 4 or 6: the last one may have been on its way.
    assert run.steps[0]["step"] in (3, 5, 7)
    results = remote.results(tmp_path / "results")
    same(results, local)
    assert [one["exit"] for one in manifest(results)["attempts"]] == ["Killed", "Succeeded"]
