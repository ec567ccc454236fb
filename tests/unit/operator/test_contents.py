"""What the operator sees of what steps read: a digest of names, sizes and ETags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from mmrlhf_api import Job
from mmrlhf_operator.acting.contents import Contents
from mmrlhf_operator.acting.object_store import Store
from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from mmrlhf_operator.planning.run_actions import LookForRecord, LookUpInputs
from mmrlhf_operator.state.runs import SeenInputs
from mmrlhf_operator.state.store import Key
from tests.unit.api.specimens import job

T = TypeVar("T")
KEY = Key("AlignmentRun", "default", "r")


class Client:
    """An S3 client that lists what it is given, some objects a page."""

    def __init__(self, objects: dict[str, tuple[int, str]], *, endless: bool = False) -> None:
        self.objects = objects
        self.endless = endless

    def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
        assert asked["Bucket"] == "b"
        keys = sorted(key for key in self.objects if key.startswith(asked["Prefix"]))
        start = int(asked.get("ContinuationToken", 0))
        page = keys[start : start + 2]
        more = self.endless or start + 2 < len(keys)
        contents = [
            {"Key": key, "Size": self.objects[key][0], "ETag": self.objects[key][1]} for key in page
        ]
        after = {"NextContinuationToken": str(start + 2)} if more else {}
        return {"Contents": contents, "IsTruncated": more, **after}

    def head_object(self, **asked: Any) -> dict[str, Any]:
        assert asked["Key"] in self.objects
        return {}


OBJECTS = {
    "data/train/a.jsonl": (1, "e1"),
    "data/train/b.jsonl": (2, "e2"),
    "data/train/c.jsonl": (3, "e3"),
    "data/train-2/a.jsonl": (9, "e9"),
    "data/one.jsonl": (4, "e4"),
}


def digest(uri: str, **changes: tuple[int, str] | None) -> str | None:
    objects = {**OBJECTS, **{f"data/{key}": value for key, value in changes.items()}}
    held = Client({key: one for key, one in objects.items() if one})
    return Store(held, piece_bytes=64).digest(uri)


@pytest.mark.parametrize(
    ("uri", "changes", "same"),
    [
        ("s3://b/data/train", {}, True),
        ("s3://b/data/train", {"train/a.jsonl": (1, "e5")}, False),
        ("s3://b/data/train", {"train/a.jsonl": (7, "e1")}, False),
        ("s3://b/data/train", {"train/a.jsonl": None}, False),
        ("s3://b/data/train", {"train/d.jsonl": (1, "e1")}, False),
        ("s3://b/data/train", {"train-2/a.jsonl": (1, "e1")}, True),
        ("s3://b/data/train/", {"train-2/a.jsonl": (1, "e1")}, True),
        ("s3://b/data/train/", {"train/c.jsonl": (1, "e1")}, False),
        ("s3://b/data/one.jsonl", {"one.jsonl": (4, "e5")}, False),
        ("s3://b/data/one.jsonl", {"train/a.jsonl": None}, True),
        ("s3://b/data/train/*.jsonl", {"train/b.jsonl": (2, "e3")}, False),
        ("s3://b/data/train/*.jsonl", {"one.jsonl": (2, "e3")}, True),
        ("s3://b", {"one.jsonl": (2, "e3")}, False),
    ],
)
def test_a_digest_changes_with_what_is_below_it_and_nothing_else(
    uri: str, changes: dict[str, Any], same: bool
) -> None:
    assert (digest(uri) == digest(uri, **changes)) is same
    assert digest(uri) is not None


def test_where_nothing_is_there_is_no_digest() -> None:
    assert digest("s3://b/data/tra") is None
    assert digest("s3://b/none") is None


def test_more_than_a_look_takes_is_said() -> None:
    with pytest.raises(LookUpError, match="more objects than a look takes"):
        Store(Client(OBJECTS, endless=True), piece_bytes=64).digest("s3://b/data/train")


class Looker:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def look(self, job: Job, work: Callable[[Store], T]) -> T:
        if self.error is not None:
            raise self.error
        return work(Store(Client(OBJECTS), piece_bytes=64))


class Woken:
    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.event = asyncio.Event()

    def __call__(self, key: Key) -> None:
        self.keys.append(key)
        self.event.set()


async def seen(looker: Looker | None, uri: str) -> SeenInputs:
    woken = Woken()
    contents = Contents(looker, wake=woken)
    wanted = LookUpInputs(step="s", job=job("StepJob"), uris={"score.data": uri})
    contents.begin(KEY, "u", wanted)
    contents.begin(KEY, "u", wanted)  # it is under way
    await woken.event.wait()
    assert woken.keys == [KEY]
    found = contents.inputs("u")["s"]
    contents.settle("u", "s")
    assert contents.inputs("u") == {}
    await contents.close()
    return found


@pytest.mark.parametrize(
    ("looker", "uri", "why"),
    [
        (None, "s3://b/data/train", "looks into no store"),
        (Looker(), "/data/train", "score.data: /data/train is not in an object store"),
        (Looker(), "s3://b/none", "score.data: there is no s3://b/none"),
        (Looker(LookUpError(Outcome.SLOW)), "s3://b/data/train", "did not answer in time"),
        (Looker(OSError("no")), "s3://b/data/train", "no"),
    ],
)
async def test_what_cannot_be_seen_says_why(looker: Looker | None, uri: str, why: str) -> None:
    found = await seen(looker, uri)
    assert found.digests is None
    assert why in found.why


async def test_what_was_seen_is_told() -> None:
    found = await seen(Looker(), "s3://b/data/train")
    assert found.digests == {"score.data": digest("s3://b/data/train")}


@pytest.mark.parametrize(
    ("looker", "uri", "there"),
    [
        (Looker(), "s3://b/data/one.jsonl", True),
        (Looker(LookUpError(Outcome.DENIED)), "s3://b/data/one.jsonl", False),
        (Looker(), "/data/one.jsonl", False),
    ],
)
async def test_a_record_counts_only_where_it_was_seen(
    looker: Looker, uri: str, there: bool
) -> None:
    woken = Woken()
    contents = Contents(looker, wake=woken)
    contents.begin(KEY, "u", LookForRecord(step="s", job=job("StepJob"), uri=uri))
    await woken.event.wait()
    assert contents.held("u") == {uri: there}
    contents.forget("u")
    assert contents.held("u") == {}
