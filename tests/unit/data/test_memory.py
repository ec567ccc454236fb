"""Validation and reading take memory that does not grow with the number of rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.data.builders import make_fields, save_image, write_rows

MEASURE = """
import resource, sys
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.sources import Source

data = RankedDataset.open(Source(sys.argv[1]))
count = sum(len(batch) for batch in data.batches(seed=0, epoch=0, batch_size=64, world_size=8))
print(data.num_records, count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(path: Path, rows: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True
    )
    records, count, peak = map(int, done.stdout.split())
    assert (records, count) == (rows, rows // 8)
    return peak


def test_ten_times_the_rows_take_about_the_same_memory(tmp_path: Path) -> None:
    save_image(tmp_path)
    peaks = []
    for rows in (5_000, 50_000):
        path = tmp_path / f"{rows}.jsonl"
        # 1 KiB a row: 5 MB, and 50 MB, against windows of 16 MiB.
        fields = make_fields("@", (1, 2, 3), query={"text": "What is shown? " * 32})
        line = json.dumps(fields).encode()
        write_rows(path, (line.replace(b"@", str(number).encode()) for number in range(rows)))
        peaks.append(peak_kib(path, rows))
    # A window more than the small file fills, the ids' buffers, and the index.
    assert peaks[1] - peaks[0] < 32 * 1024
