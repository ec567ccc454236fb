"""Aliases in a real object store: one switch by a condition, and nothing lost by lost answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.errors import RunError, StorageError
from mmrlhf_jobs.storage.s3 import PatientS3
from tests.s3.conftest import Bucket
from tests.unit.storage.moves import NAME, Mover, race, time


@pytest.fixture
def mover(bucket: Bucket, tmp_path: Path) -> Iterator[Mover]:
    yield Mover(bucket.store(), tmp_path, bucket.options)
    left = [key for key in bucket.server.keys(bucket.name) if "probe" in key]
    assert left == [], "what tried the store's conditions"


def test_an_alias_is_moved_and_rolled_back(mover: Mover) -> None:
    first = mover.move("one")
    second = mover.move("two", of=first)
    assert mover.read() == second
    with pytest.raises(RunError, match="another has moved it meanwhile"):
        mover.move("three", of=first)
    mover.aliases.roll_back(NAME, reason="worse", now=time(1))
    assert mover.standing() == "one"


def test_of_those_that_race_one_wins_and_readers_see_whole_texts(mover: Mover) -> None:
    over, seen = threading.Event(), set()

    def look() -> None:
        while not over.is_set():
            if (alias := mover.read()) is not None:
                seen.add(alias.current.number)

    reader = threading.Thread(target=look)
    reader.start()
    alias = None
    for number in range(3):
        words = [f"r{number}-{place}" for place in range(4)]
        ends = race([partial(mover.move, word, of=alias) for word in words])
        (winner,) = (word for word, end in zip(words, ends, strict=True) if end is None)
        assert {type(end) for end in ends} == {type(None), RunError}
        assert mover.standing() == winner
        alias = mover.read()
    over.set()
    reader.join()
    assert alias is not None
    assert [entry.number for entry in alias.history] == [2, 1]
    assert seen <= {1, 2, 3}
    assert seen


def test_a_move_whose_answer_was_lost_is_no_race(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is made again, and finds its own object in its way."""
    first = mover.move("one")
    request = PatientS3._call_s3
    lost: list[str] = []

    async def losing(self: PatientS3, method: str, *arguments: object, **named: Any) -> object:
        answer = await request(self, method, *arguments, **named)
        if "IfMatch" in named and "probe" not in named["Key"] and not lost:
            lost.append(method)
            return await request(self, method, *arguments, **named)
        return answer

    monkeypatch.setattr(PatientS3, "_call_s3", losing)
    assert mover.move("two", of=first).current.number == 2
    assert lost == ["put_object"]
    assert mover.standing() == "two"


def test_a_store_without_conditions_is_found_out(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = PatientS3._call_s3

    async def careless(self: PatientS3, method: str, *arguments: object, **named: Any) -> object:
        named = {key: one for key, one in named.items() if key not in ("IfMatch", "IfNoneMatch")}
        return await request(self, method, *arguments, **named)

    first = mover.move("one")
    monkeypatch.setattr(PatientS3, "_call_s3", careless)
    with pytest.raises(StorageError, match="does not keep conditions on writes"):
        mover.move("two", of=first)
    assert mover.read() == first


def test_a_gate_reads_decides_and_moves_in_the_store(mover: Mover, bucket: Bucket) -> None:
    mover.move("one")
    artifact = mover.publish("two")
    rules = {"criteria": [{"name": "bench", "measure": "outcomes", "figure": "right"}]}
    files: dict[str, object] = {"rules.yaml": rules}
    for name, right in (("better", 1), ("worse", 0)):
        rows = [{"query": f"q{n}", "figures": {"right": right}} for n in range(200)]
        files[f"{name}.json"] = {"version": "GateResults/v1", "data": "d", "rows": rows}
    for name, content in files.items():
        mover.store.write_text(f"in/{name}", json.dumps(content))
    place = f"{mover.store.uri}/in"

    def judge(candidate: str, champion: str) -> str:
        line = f"gate {place}/rules.yaml {place}/report.json --candidate {place}/{candidate}.json"
        line += f" --champion {place}/{champion}.json --store {mover.store.uri} --alias {NAME}"
        line += f" --artifact {artifact} --endpoint {bucket.server.endpoint} --region us-east-1"
        assert main(line.split()) == 0
        return str(json.loads(mover.store.read_text("in/report.json") or "")["outcome"])

    assert (judge("worse", "better"), mover.standing()) == ("Rejected", "one")
    assert (judge("better", "worse"), mover.standing()) == ("Promoted", "two")
