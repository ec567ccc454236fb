from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrlhf_jobs.data import dataset as dataset_module
from mmrlhf_jobs.data import jsonl
from mmrlhf_jobs.data.blocks import BlockRows
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.index import BlockIndex
from mmrlhf_jobs.data.order import EpochOrder
from mmrlhf_jobs.data.readers import READERS, Reader
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import DataFile, Source
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import IMAGE, make_fields, make_record, save_image, write_rows


def small_windows(patch: pytest.MonkeyPatch) -> None:
    """Blocks of a few records, and windows of a few blocks."""
    patch.setattr(jsonl, "BLOCK_BYTES", 2000)
    patch.setattr("mmrlhf_jobs.data.writers._GROUP_BYTES", 2000)
    patch.setitem(EpochOrder.__init__.__kwdefaults__ or {}, "window_bytes", 9000)


@pytest.fixture(scope="module", params=["jsonl", "parquet"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RankedDataset:
    folder = tmp_path_factory.mktemp(request.param)
    save_image(folder)
    records = [make_record(f"r{number}", (1, 2, 3)) for number in range(101)]
    with pytest.MonkeyPatch.context() as patch:
        small_windows(patch)
        for name, part in (("a", records[:60]), ("b", records[60:])):
            write_records(part, str(folder / f"{name}.{request.param}"))
        return RankedDataset.open(Source(str(folder)))


@pytest.fixture
def data(opened: RankedDataset, monkeypatch: pytest.MonkeyPatch) -> RankedDataset:
    """101 records in two files of many small blocks and windows."""
    small_windows(monkeypatch)
    assert len(opened.index) > 10
    return opened


def ids(batches: list[list[RankedResponse]]) -> list[list[str]]:
    return [[record.record_id for record in batch] for batch in batches]


def flat(batches: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(batches))


def read(data: RankedDataset, **options: int) -> list[list[str]]:
    return ids(list(data.batches(**{"seed": 3, "epoch": 1, "batch_size": 8} | options)))


def test_an_epoch_holds_every_record_once_and_keeps_its_incomplete_batch(
    data: RankedDataset,
) -> None:
    batches = read(data)
    assert [len(batch) for batch in batches] == [8] * 12 + [5]
    assert len(batches) == data.num_batches(8)
    names = flat(batches)
    assert sorted(names) == sorted(f"r{number}" for number in range(data.num_records))
    assert names != sorted(names)
    assert read(data, epoch=2) != batches


@pytest.mark.parametrize("world_size", [1, 2, 3, 110])
def test_a_pass_gives_each_record_to_one_process(data: RankedDataset, world_size: int) -> None:
    whole = [record.record_id for record in data.share()]
    assert sorted(whole) == sorted(f"r{number}" for number in range(data.num_records))
    shares = [
        [record.record_id for record in data.share(rank=rank, world_size=world_size)]
        for rank in range(world_size)
    ]
    assert shares == [whole[rank::world_size] for rank in range(world_size)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 12])
def test_processes_share_the_same_global_batches(data: RankedDataset, world_size: int) -> None:
    batches = read(data)
    shares = [read(data, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(batches)}
    for number, batch in enumerate(batches):
        first = number * 8
        for rank in range(world_size):
            mine = [
                batch[p - first] for p in range(first, first + len(batch)) if p % world_size == rank
            ]
            assert shares[rank][number] == mine


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8
)
@given(start=st.integers(0, 30), batch_size=st.integers(1, 30))
def test_reading_resumes_at_any_batch(data: RankedDataset, start: int, batch_size: int) -> None:
    whole = read(data, batch_size=batch_size)
    assert read(data, batch_size=batch_size, start=start) == whole[start:]


def test_resuming_reads_no_earlier_windows(
    data: RankedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def count(reader: Reader) -> None:
        read_block = reader.read_block

        def counted(file: DataFile, start: int, stop: int) -> BlockRows:
            calls.append(start)
            return read_block(file, start, stop)

        monkeypatch.setattr(reader, "read_block", counted)

    for reader in READERS.values():
        count(reader)
    read(data, start=11)
    late = len(calls)
    read(data)
    assert late < 8
    assert len(calls) - late == len(data.index)


def test_records_know_their_file_and_row(data: RankedDataset) -> None:
    for batch in data.batches(seed=0, epoch=0, batch_size=10):
        for record in batch:
            number = int(record.record_id[1:])
            name, row = ("a", number + 1) if number < 60 else ("b", number - 59)
            assert Path(record.location.file or "").stem == name
            assert record.location.row == row


def test_another_process_opens_with_the_index_and_without_a_scan(
    data: RankedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(data.files[0].uri).parent
    source = Source(str(shutil.copytree(folder, tmp_path / folder.name)))
    index = BlockIndex.from_bytes(data.index.to_bytes())
    monkeypatch.setattr(dataset_module, "scan", None)
    other = RankedDataset.open(source, index=index)
    assert read(other) == read(data)
    assert other.digest == data.digest
    assert other.report is None
    Path(other.files[0].uri).write_bytes(b"")
    with pytest.raises(DataError, match="changed after they were scanned"):
        RankedDataset.open(source, index=index)
    with pytest.raises(DataError, match="no block index"):
        BlockIndex.from_bytes(b"nonsense")


def test_skipped_rows_keep_order_and_digest_stable(tmp_path: Path) -> None:
    save_image(tmp_path)
    rows = [make_fields(f"r{number}") for number in range(20)]
    write_rows(tmp_path / "x.jsonl", [*rows[:7], b"broken", b"", *rows[7:], rows[3]])
    opened = [
        RankedDataset.open(Source(str(tmp_path / "x.jsonl")), max_invalid_fraction=0.1)
        for _ in range(2)
    ]
    data = opened[0]
    assert (data.num_records, data.index.skipped.tolist()) == (20, [7, 8, 22])
    assert data.digest == opened[1].digest
    assert read(data) == read(opened[1])
    assert sorted(flat(read(data))) == sorted(f"r{number}" for number in range(20))
    places = {
        r.record_id: r.location.row for b in data.batches(seed=0, epoch=0, batch_size=9) for r in b
    }
    assert (places["r6"], places["r7"]) == (7, 10)


def test_the_digest_follows_content_and_not_place(tmp_path: Path) -> None:
    digests = []
    for folder, name in (("a", "r"), ("b", "r"), ("c", "s")):
        (tmp_path / folder).mkdir()
        save_image(tmp_path / folder)
        write_rows(tmp_path / folder / "x.jsonl", [make_fields(name)])
        digests.append(RankedDataset.open(Source(str(tmp_path / folder))).digest)
    assert digests[0] == digests[1] != digests[2]


def test_object_stores_and_patterns_and_media_roots() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/bucket/media/image.png", IMAGE)
    for name in ("one", "two", "other"):
        write_records([make_record(name)], f"memory://bucket/set/{name}.jsonl")
    data = RankedDataset.open(
        Source("memory://bucket/set/[ot][nw]*.jsonl", media_root="memory://bucket/media")
    )
    assert sorted(flat(read(data))) == ["one", "two"]
    assert data.files[0].uri == "memory:///bucket/set/one.jsonl"
    assert data.media_root == "memory://bucket/media"


def test_a_file_that_shrank_after_the_scan_is_told(tmp_path: Path) -> None:
    save_image(tmp_path)
    path = write_rows(tmp_path / "x.jsonl", [make_fields()])
    data = RankedDataset.open(Source(str(path)))
    path.write_bytes(b"")
    with pytest.raises(DataError, match="became shorter"):
        read(data)


def test_an_index_of_no_blocks_has_no_records() -> None:
    index = BlockIndex((), np.zeros((0, 6), np.int64), np.zeros(0, np.int64))
    assert (index.num_records, len(index)) == (0, 0)


def test_samples_are_nested_and_the_same_for_a_seed(data: RankedDataset) -> None:
    def sample(fraction: float, seed: int) -> set[str]:
        index = data.index.sampled(fraction, seed=seed)
        return set(flat(read(RankedDataset(data.files, index, data.media_root, None))))

    half, tenth = sample(0.5, 0), sample(0.1, 0)
    assert (len(half), len(tenth)) == (50, 10)
    assert tenth < half
    assert tenth == sample(0.1, 0) != sample(0.1, 1)
    assert len(sample(1e-9, 0)) == 1
    assert data.index.sampled(1.0, seed=0) is data.index
