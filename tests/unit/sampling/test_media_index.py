from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmrlhf_jobs.errors import StorageError, StorageFullError
from mmrlhf_jobs.sampling.embeddings.index import Known, MediaIndex
from mmrlhf_jobs.sampling.embeddings.store import VectorStore
from mmrlhf_jobs.storage.artifacts import ArtifactStore


def media(count: int, *, width: int = 3) -> list[Known]:
    """Media with and without a time; every fourth digest ends in a zero, one in many of them."""
    digests = np.random.default_rng(0).integers(1, 256, (count, 32), np.uint8)
    digests[::4, 31] = 0
    digests[1, 8:] = 0
    return [
        Known(row.tobytes(), width, place + 1, place / 8 if place % 3 else None, place % 5 == 0)
        for place, row in enumerate(digests)
    ]


def test_what_is_known_is_found_from_any_thread(tmp_path: Path) -> None:
    index, known = MediaIndex(tmp_path / "new" / "index"), media(500)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(index.add, (known[start : start + 50] for start in range(0, 400, 50))))
        found = list(pool.map(lambda one: index.find(one.sha256, one.kind), known))
    assert found == [*known[:400], *[None] * 100]
    # What was known first stays.
    index.add(media(401, width=9))
    assert index.find(known[0].sha256, known[0].kind) == known[0]
    assert index.find(known[400].sha256, known[400].kind) == media(401, width=9)[400]
    # The same bytes as the other kind are another matter.
    assert known[0].kind == "image"
    assert index.find(known[0].sha256, "video") is None
    index.add([replace(known[0], pts_ms=7.5)])
    assert index.find(known[0].sha256, "video") == replace(known[0], pts_ms=7.5)
    assert index.find(known[0].sha256, "image") == known[0]
    index.close()
    assert not list((tmp_path / "new").iterdir())


def test_another_process_finds_what_the_store_has(tmp_path: Path) -> None:
    artifacts, known = ArtifactStore(str(tmp_path / "out")), media(40)
    vectors = np.random.default_rng(1).random((40, 4)).astype(np.float32)
    first = VectorStore(artifacts, "encoder", scratch=tmp_path / "first")
    for start in (0, 25):
        first.add(known[start : start + 25], vectors[start : start + 25])
    assert [first.find(one.sha256, one.kind) for one in known] == known
    second = VectorStore(artifacts, "encoder", scratch=tmp_path / "second")
    assert second.find(known[0].sha256, known[0].kind) is None
    second.refresh()
    second.refresh()
    assert [second.find(one.sha256, one.kind) for one in known] == known
    # What was an image before is now a video as well, with another vector.
    again = [replace(one, pts_ms=0.5) for one in known[:25] if one.kind == "image"]
    first.add(again, vectors[: len(again)])
    second.refresh()
    assert [second.find(one.sha256, "video") for one in again] == again
    second.forget()
    wanted = np.sort(np.array([one.sha256 for one in known[25:35]], "S32"))
    read = {
        bytes(key): row
        for keys, rows in second.read(wanted)
        for key, row in zip(keys, rows, strict=True)
    }
    assert len(read) == 10
    for place in range(25, 35):
        assert np.array_equal(read[known[place].sha256.rstrip(b"\0")], vectors[place])


def test_a_full_disk_and_a_damaged_file_are_told(tmp_path: Path) -> None:
    index = MediaIndex(tmp_path / "index")
    index._base.execute("PRAGMA max_page_count = 4")
    with pytest.raises(StorageFullError, match=r"disk full: cannot write .*/index; free space"):
        index.add(media(2_000))
    index = MediaIndex(tmp_path / "damaged")
    index.add(media(20))
    (tmp_path / "damaged").write_bytes(b"x" * 8192)
    with pytest.raises(StorageError, match=r"/damaged: .*is the local disk in order\?"):
        index.find(bytes(32), "image")
