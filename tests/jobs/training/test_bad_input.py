"""Bad input: the right exit code, one message that names the place, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.scores.writer import SidecarWriter
from tests.jobs.training.world import World, make_record, write_records

Job = dict[str, Any]
pytestmark = pytest.mark.usefixtures("own_signals")


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        make: Makes the mistake in a world and returns the job.
        says: What the message must contain.
        code: Exit code.
    """

    make: Callable[[World], Job]
    says: tuple[str, ...]
    code: int = 2


def changed(**changes: Any) -> Callable[[World], Job]:
    return lambda world: world.job(**changes)


def rows(change: Callable[[list[dict[str, Any]], Path], None]) -> Callable[[World], Job]:
    """Change the training records."""

    def make(world: World) -> Job:
        path = world.folder / "data" / "train.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        change(records, path.parent)
        write_records(path, records)
        return world.job()

    return make


def remove_data(world: World) -> Job:
    (world.folder / "data" / "train.jsonl").unlink()
    return world.job()


def break_image(world: World) -> Job:
    """A file that is there, has the right digest, and is no image."""
    data = world.folder / "data"
    (data / "images" / "5.png").write_bytes(b"not an image")
    path = data / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[5]["media"][0]["sha256"] = hashlib.sha256(b"not an image").hexdigest()
    write_records(path, records)
    return world.job()


def tie(records: list[dict[str, Any]], folder: Path) -> None:
    records[2] = make_record(folder, 2, ranks=(1, 1, 1, 1))


def repeat(records: list[dict[str, Any]], folder: Path) -> None:
    records[7]["record_id"] = records[3]["record_id"]


def without_responses(records: list[dict[str, Any]], folder: Path) -> None:
    records[4]["responses"] = []


def nothing(records: list[dict[str, Any]], folder: Path) -> None:
    records.clear()


def foreign_reference(world: World) -> Job:
    """Reference log-probabilities that another chat template made."""
    path = world.folder / "reference.parquet"
    identity = SidecarIdentity(kind="reference", template="0" * 64, model="1" * 64)
    with SidecarWriter(str(path), identity) as writer:
        writer.write([b"k" * 32], [0.0], record_id="r", response_ids=["a"])
    return world.job(reference__logProbsUri=str(path))


def unscored(world: World) -> Job:
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    world.write_rewards(records[1:])
    return world.job()


def remove_weights(world: World) -> Job:
    (world.folder / "model" / "model.safetensors").unlink()
    return world.job()


def artifacts_below_a_file(world: World) -> Job:
    (world.folder / "file").write_text("x")
    return world.job(artifacts__uri=str(world.folder / "file" / "artifacts"))


CASES = {
    "unknown field": Case(
        changed(objective__betta=1), ("job.yaml", "spec.objective.betta", "did you mean beta")
    ),
    "wrong type": Case(changed(training__epochs="two"), ("spec.training.epochs", "two")),
    "negative beta": Case(changed(objective__beta__initial=-0.1), ("spec.objective.beta.initial",)),
    "missing data": Case(remove_data, ("train.jsonl", "no such file")),
    "missing model": Case(changed(model__uri="/nowhere"), ("/nowhere", "no such model folder")),
    "missing weights": Case(remove_weights, ("model", "no weights")),
    "missing image": Case(
        rows(lambda records, _: records[1]["media"][0].update(uri="images/none.png")),
        ("train.jsonl, row 2", "media[0].uri", "none.png"),
    ),
    "unreadable image": Case(
        break_image, ("train.jsonl, row 6", "media[0].uri", "not a readable image")
    ),
    "row without responses": Case(rows(without_responses), ("train.jsonl, row 5", "responses")),
    "duplicate ids": Case(rows(repeat), ("train.jsonl, row 8", "record_id", "row 4")),
    "empty data set": Case(rows(nothing), ("train.jsonl", "empty")),
    "side-car of another template": Case(
        foreign_reference, ("reference.parquet", "template", "0" * 64)
    ),
    "missing score": Case(unscored, ("rewards.parquet", "record 'r0'", "response 'a'")),
    "reward of a job": Case(changed(reward={"jobName": "judge"}), ("reward.jobName", "judge")),
    "artifacts folder not writable": Case(artifacts_below_a_file, ("file/artifacts",)),
    "loss not finite": Case(
        changed(optimizer__learningRate=1e30), ("step", "learningRate", "checkpoint"), code=1
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(world: World, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    job = world.write_job(case.make(world))
    code = main(["mmdpo", "--job", str(job)])
    message = capsys.readouterr().err
    assert code == case.code, message
    assert message.startswith("error: ")
    assert "Traceback" not in message
    for part in case.says:
        assert part in message
    artifacts = world.folder / "artifacts"
    results = artifacts / "default"
    assert not list(results.rglob("manifest.json"))
    assert not list(results.rglob("model"))
    assert not [path for path in results.rglob("*") if path.name.startswith(".")]


def test_invalid_rows_within_the_budget_are_counted_and_left_out(world: World) -> None:
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    tie(records, path.parent)
    broken = b"not an image"
    (path.parent / "images" / "5.png").write_bytes(broken)
    records[5]["media"][0]["sha256"] = hashlib.sha256(broken).hexdigest()
    write_records(path, records)
    job = world.job(data__maxInvalidFraction=0.1, training__epochs=1)
    assert main(["mmdpo", "--job", str(world.write_job(job))]) == 0
    manifest = json.loads((world.results() / "manifest.json").read_text())
    assert manifest["data"]["invalid"] == {"undecodable": 1}
    assert manifest["data"]["tied"] == 1
    assert manifest["data"]["problems"][0]["row"] == 6
    assert manifest["steps"] == 3, "11 records in steps of 4"


def test_full_disk_ends_the_run_and_leaves_whole_files_only(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk holds the reference pass but no checkpoint."""
    disk = world.folder / "small-disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        job = world.job(artifacts__uri=str(disk))
        code = main(["mmdpo", "--job", str(world.write_job(job))])
        message = capsys.readouterr().err
        assert code == 1
        assert "disk full" in message
        assert str(disk) in message
        assert "Traceback" not in message
        assert not list(disk.rglob("manifest.json"))
        assert not list(disk.rglob("checkpoints/*/complete"))
        assert not [path for path in disk.rglob("*") if path.name.startswith(".")]
        assert list(disk.rglob("reference.parquet")), "what was whole before stays"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_read_only_artifacts_are_refused_before_anything_is_computed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = world.folder / "read-only"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        job = world.job(artifacts__uri=str(disk))
        assert main(["mmdpo", "--job", str(world.write_job(job))]) == 2
        message = capsys.readouterr().err
        assert str(disk) in message
        assert "permission" in message
    finally:
        subprocess.run(["umount", str(disk)], check=True)
