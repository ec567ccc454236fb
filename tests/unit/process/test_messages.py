"""What processes of a job tell each other is data: it comes out as it went in, and runs nothing."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import math
import pickle
import struct
from datetime import UTC
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from mmrlhf_api.constants import Phase
from mmrlhf_jobs.data.index import BlockIndex, IndexedFile
from mmrlhf_jobs.errors import DataError, JobError, RunError, StorageUnavailableError
from mmrlhf_jobs.evaluation.rewardbench.queries import BenchQuery
from mmrlhf_jobs.process.messages import decode, encode
from mmrlhf_jobs.process.peers import PeerLost
from mmrlhf_jobs.storage.uris import StorageOptions

ROOT = Path(__file__).resolve().parents[3]

_KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.binary(max_size=8))
_LEAVES = st.one_of(
    _KEYS,
    st.floats(allow_nan=False),
    st.text(st.characters(), max_size=20),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(Phase),
    st.builds(Path, st.text("abc/.", min_size=1)),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.sets(_KEYS, max_size=4),
        st.frozensets(_KEYS, max_size=4),
    ),
    max_leaves=12,
)


@given(_VALUES)
def test_values_come_out_as_they_went_in(value: Any) -> None:
    found = decode(encode(value))
    assert found == value
    assert type(found) is type(value)


def test_numbers_that_json_does_not_have() -> None:
    assert decode(encode([math.inf, -math.inf])) == [math.inf, -math.inf]
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode("\ud800$")) == "\ud800$"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_, "<U3"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3)])
def test_arrays(dtype: Any, shape: tuple[int, ...]) -> None:
    value = np.ones(shape, dtype)
    found = decode(encode({"a": value, "b": [value]}))
    for array in (found["a"], found["b"][0]):
        assert (array.dtype, array.shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(array, value)
        array[...] = array  # it is ours to write to


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_tensors(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    value = torch.ones(shape, dtype=dtype).requires_grad_(dtype.is_floating_point)
    found = decode(encode([value, value]))[1]
    assert (found.dtype, found.shape, found.requires_grad) == (dtype, value.shape, False)
    assert torch.equal(found, value.detach())


def test_scalars_keep_their_type() -> None:
    found = decode(encode((np.float32(0.1), np.int64(7), np.bool_(True))))
    assert [type(one) for one in found] == [np.float32, np.int64, np.bool_]
    assert found == (np.float32(0.1), 7, True)


def test_objects_of_ours() -> None:
    index = BlockIndex((IndexedFile("a", 3, "00"),), np.ones((2, 6), np.int64), np.zeros(0, int))
    found = decode(encode(index))
    assert isinstance(found, BlockIndex)
    assert (found.digest, found.selection_digest) == (index.digest, index.selection_digest)
    np.testing.assert_array_equal(found.table, index.table)
    options = StorageOptions(endpoint="http://x")
    query = BenchQuery("q", "c", (), (0.5, None))
    assert decode(encode([options, (query,)])) == [options, (query,)]


def test_errors_are_the_same_for_all_processes() -> None:
    error = DataError("odd", file="s3://b/x", row=7, field="a.b")
    found = decode(encode(error))
    assert type(found) is DataError
    assert (str(found), found.file, found.row, found.field) == (str(error), "s3://b/x", 7, "a.b")
    assert found.exit_code == error.exit_code

    class OwnError(StorageUnavailableError):
        """One of a library of the user."""

    for odd in (OwnError("gone"), PeerLost("lost")):
        found = decode(encode(odd))
        assert isinstance(odd, type(found))
        assert (str(found), found.exit_code, found.word) == (str(odd), odd.exit_code, odd.word)


class Stranger:
    """Nothing that a message can be."""


@pytest.mark.parametrize(
    "value",
    [
        Stranger(),
        Stranger,
        len,
        lambda: 1,
        np.array([Stranger()], object),
        {"deep": [(Stranger(),)]},
        ValueError("of Python's own"),
        st.integers,
    ],
)
def test_what_is_no_data_is_told_to_whoever_sends_it(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent to other processes"):
        encode(value)


def message(content: object, blob: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + blob


class Trap:
    """Leaves a file when a pickle of it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    content = pickle.dumps(Trap(sprung))
    text = base64.b64encode(content).decode()
    array = {"$": "array", "type": "|O", "shape": [1], "at": [0, len(content)]}
    for odd in (content, message({"$": "pickle", "value": text}), message(array, content)):
        with pytest.raises(RunError, match="is no message"):
            decode(odd)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"$": "object", "class": "subprocess:Popen", "fields": {"args": "true"}},
        {"$": "object", "class": "mmrlhf_jobs.launch:subprocess.Popen", "fields": {"args": "true"}},
        {"$": "object", "class": "mmrlhf_jobs.process.messages:Path", "fields": {}},
        {"$": "object", "class": "mmrlhf_jobs.process.messages:decode", "fields": {}},
        {"$": "object", "class": "mmrlhf_jobs.errors:JobError", "fields": {}},
        {"$": "object", "class": "mmrlhf_jobs.data.index:BlockIndex.__class__", "fields": {}},
        {"$": "object", "class": "mmrlhf_jobs.data.index:BlockIndex", "fields": {"x": 1}},
        {"$": "object", "class": "mmrlhf_jobs_evil:X", "fields": {}},
        {"$": "object", "class": "mmrlhf_jobs.nowhere:X", "fields": {}},
        {"$": "error", "class": "builtins:SystemExit", "args": [0], "state": {}},
        {"$": "enum", "class": "builtins:int", "value": 1},
        {"$": "tensor", "type": "load", "shape": [1], "at": [0, 1]},
        {"$": "array", "type": "<f8", "shape": [10**9], "at": [0, 8]},
        {"$": "array", "type": "<f8", "shape": [-1, 0], "at": [0, 10**12]},
        {"$": "bytes", "value": "%%"},
        {"$": "dict", "value": [[{"$": "dict", "value": []}, 1]]},
        {"$": ["unhashable"], "value": 1},
        {"no": "sign"},
    ],
)
def test_messages_that_ask_for_more_are_refused(content: object) -> None:
    with pytest.raises(RunError, match="is no message"):
        decode(message(content, b"\0" * 8))


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"1234567",
        b"\xff" * 8,
        struct.pack("<Q", 10**6) + b"{}",
        message("x")[:-1],
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_damaged_messages_are_refused(odd: bytes) -> None:
    with pytest.raises(RunError):
        decode(odd)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_value_or_an_error_of_the_job(content: bytes) -> None:
    for odd in (content, struct.pack("<Q", len(content)) + content):
        with contextlib.suppress(JobError):
            decode(odd)


PICKLING = {
    "all_gather_object",
    "broadcast_object_list",
    "gather_object",
    "recv_object_list",
    "scatter_object_list",
    "send_object_list",
}
"""Collectives of torch.distributed that pickle."""


def test_no_process_sends_pickles() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {node.attr}"
        for path in sorted([*ROOT.glob("jobs/**/*.py"), *ROOT.glob("sdk/**/*.py")])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in PICKLING
    ]
    assert found == []
