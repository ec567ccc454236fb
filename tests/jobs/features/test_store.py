"""Features by key: limits in bytes, damage, a folder that processes share, a disk that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mmrlhf_jobs.features.disk import FeatureFolder
from mmrlhf_jobs.features.entry import DamagedEntryError, Entry, Leaf, UnitCall
from mmrlhf_jobs.features.store import FeatureStore


def entry(seed: int, *, numbers: int = 100) -> Entry:
    """An entry of 4 bytes a number, with a tensor that is not kept."""
    values = torch.randn(numbers, generator=torch.Generator().manual_seed(seed))
    kept = Leaf(torch.float32, (numbers,), values)
    return Entry((UnitCall(3, (Leaf(torch.bfloat16, (2, 5), None), kept)),))


def same(found: Entry | None, expected: Entry) -> bool:
    assert found is not None
    return found.to_bytes() == expected.to_bytes()


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if len(path.name) == 1)


def test_an_entry_comes_back_from_its_bytes() -> None:
    whole = Entry(
        (
            UnitCall(0, (Leaf(torch.bfloat16, (2, 3), torch.randn(2, 3).bfloat16()),)),
            UnitCall(
                7, (Leaf(torch.float64, (4,), None), Leaf(torch.bool, (), torch.tensor(True)))
            ),
        )
    )
    found = Entry.from_bytes(whole.to_bytes())
    assert [call.unit for call in found.calls] == [0, 7]
    for call, expected in zip(found.calls, whole.calls, strict=True):
        for leaf, other in zip(call.leaves, expected.leaves, strict=True):
            assert (leaf.dtype, leaf.shape) == (other.dtype, other.shape)
            assert (leaf.value is None) == (other.value is None)
    assert all(map(torch.equal, found.values, whole.values))
    assert found.size == whole.size == 2 * 3 * 2 + 1


def test_every_damage_to_the_bytes_is_seen() -> None:
    data = entry(0).to_bytes()
    for place in (0, 31, 32, 40, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(DamagedEntryError):
            Entry.from_bytes(bytes(changed))
    for cut in (b"", data[:20], data[:-1]):
        with pytest.raises(DamagedEntryError):
            Entry.from_bytes(cut)


def test_the_memory_gives_up_what_was_not_used_for_longest() -> None:
    store = FeatureStore(memory=1000, folder=None, tell=pytest.fail)
    store.put("a", entry(1))
    store.put("b", entry(2))
    assert same(store.get("a"), entry(1))
    store.put("c", entry(3))
    assert store.get("b") is None
    assert same(store.get("a"), entry(1))
    assert same(store.get("c"), entry(3))
    store.put("large", entry(4, numbers=251))
    assert store.get("large") is None
    figures = store.figures
    assert (figures.hits, figures.misses, figures.evicted, figures.unkept) == (3, 4, 1, 1)
    assert figures.memoryBytes == 800


def test_the_folder_keeps_its_limit_whoever_writes(tmp_path: Path) -> None:
    size = len(entry(0).to_bytes())
    limit = 3 * size
    one, other = (FeatureFolder(tmp_path, limit=limit) for _ in range(2))
    for index, key in enumerate("abcdefg"):
        writer = (one, other)[index % 2]
        writer.put(key, entry(index))
        assert bytes_in(tmp_path) <= limit
        assert same(writer.get(key), entry(index))
    kept = [path.name for path in tmp_path.iterdir() if len(path.name) == 1]
    assert len(kept) == 3
    assert one.size() == bytes_in(tmp_path) == limit
    assert "g" in kept
    assert other.put("larger than all", entry(0, numbers=1000)) == 0
    assert other.get("larger than all") is None


def test_what_was_read_last_stays(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, limit=2 * len(entry(0).to_bytes()))
    folder.put("a", entry(1))
    folder.put("b", entry(2))
    for name, used in (("a", 10), ("b", 20)):
        os.utime(tmp_path / name, (used, used))
    folder.get("a")
    assert folder.put("c", entry(3)) == 1
    assert folder.get("b") is None
    assert same(folder.get("a"), entry(1))


def test_what_a_killed_process_left_is_removed_and_counts_no_more(tmp_path: Path) -> None:
    size = len(entry(0).to_bytes())
    folder = FeatureFolder(tmp_path, limit=2 * size)
    (tmp_path / "k.making").write_bytes(b"half of it")
    (tmp_path / "total").write_text(str(2 * size))
    folder.put("a", entry(1))
    assert same(folder.get("a"), entry(1))
    assert not (tmp_path / "k.making").exists()
    assert (tmp_path / "total").read_text() == str(size)


def test_processes_of_a_node_find_what_others_made(tmp_path: Path) -> None:
    one, other = (
        FeatureStore(memory=1000, folder=FeatureFolder(tmp_path, limit=10_000), tell=pytest.fail)
        for _ in range(2)
    )
    one.put("a", entry(1))
    assert same(other.get("a"), entry(1))
    assert same(other.get("a"), entry(1))
    assert (other.figures.hitsFromDisk, other.figures.hits, other.figures.misses) == (1, 1, 0)


def test_a_damaged_file_is_removed_and_counted(tmp_path: Path) -> None:
    def store() -> FeatureStore:
        folder = FeatureFolder(tmp_path, limit=10_000)
        return FeatureStore(memory=0, folder=folder, tell=pytest.fail)

    store().put("a", entry(1))
    path = tmp_path / "a"
    path.write_bytes(path.read_bytes()[:-1])
    again = store()
    assert again.get("a") is None
    assert again.figures.damaged == 1
    assert not path.exists()
    again.put("a", entry(1))
    assert same(again.get("a"), entry(1))
    assert again.figures.damaged == 1


def test_a_disk_that_fails_is_told_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    folder = FeatureFolder(tmp_path, limit=10_000)
    store = FeatureStore(memory=1000, folder=folder, tell=told.append)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "put", fail)
    store.put("a", entry(1))
    store.put("b", entry(2))
    assert same(store.get("a"), entry(1))
    (said,) = told
    assert "No space left on device" in said
    assert store.figures.unwritten == 2
