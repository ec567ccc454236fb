"""A side-car in the making on a real object store, written by two, joined by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.scores.parts import SidecarParts, Valued
from mmrlhf_jobs.scores.table import Sidecar
from tests.s3.conftest import Bucket
from tests.unit.scores.sharing import KEYS, Job, make_together

IDENTITY = SidecarIdentity(kind="reward", template="t", model="m", image_settings="i")


def value(name: str, number: float) -> Valued:
    return Valued(name.encode() * 32, number, "record", name, critique=f"critique {name}")


def test_parts_of_two_writers_are_joined_and_removed(bucket: Bucket) -> None:
    uri, out = f"{bucket.uri}/cache/reward/digest.parts", f"{bucket.uri}/scores.parquet"
    one, other = (SidecarParts(uri, IDENTITY, whole=out, storage=bucket.options) for _ in range(2))
    assert one.keys() == set()
    one.write([value("a", 1.0), value("b", 2.0)])
    other.write([value("c", 3.0)])
    # Each sees what the other has written since it first looked.
    assert one.keys() == other.keys() == {b"a" * 32, b"b" * 32, b"c" * 32}
    assert one.merge(out) == 3
    one.remove()
    assert other.keys() == {b"a" * 32, b"b" * 32, b"c" * 32}, "what is joined counts as done"
    found = Sidecar.open(out, IDENTITY, storage=bucket.options)
    assert found.lookup([b"c" * 32, b"a" * 32]).tolist() == [3.0, 1.0]
    assert not [key for key in bucket.server.keys(bucket.name, "cache/") if "parquet" in key]
    one.remove()


def test_three_jobs_make_a_side_car_at_the_same_time(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        Job(
            bucket.store(),
            tmp_path,
            f"job-{number}",
            value=number * 1e-3,
            storage=bucket.options,
        )
        for number in range(3)
    ]
    for made in make_together(jobs, monkeypatch):
        assert isinstance(made, Sidecar), made
        assert len(made.lookup(KEYS)) == len(KEYS)
    left = bucket.server.keys(bucket.name)
    assert len(left) == 2 * len(jobs)
    later = Job(bucket.store(), tmp_path, "later", storage=bucket.options).find()
    assert later is not None
    assert bucket.server.keys(bucket.name) == left
