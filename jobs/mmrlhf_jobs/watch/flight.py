"""What collectives a process has begun, by torch's flight recorder.

It keeps the last ones of each process group in memory: which, of what shapes, and whether they are
over (https://docs.pytorch.org/tutorials/unstable/flight_recorder_tutorial.html). torch itself dumps
NCCL's after a timeout; here a process that is asked writes those of gloo and NCCL as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

__all__ = ["RECORDS", "pending_collective", "recorder_environment", "write_records"]

RECORDS: Final = "collectives"
"""Folder of records in the folder that a launcher watches."""
_DUMPS: Final = (("gloo", "_dump_fr_trace_json"), ("nccl", "_dump_nccl_trace_json"))
_KEPT: Final = 2000
"""Collectives of each process."""


def recorder_environment(folder: Path) -> dict[str, str]:
    """Variables by which torch keeps a record, and dumps that of NCCL after a timeout.

    Names are those of torch 2.13 (``FlightRecorder.hpp``, ``ProcessGroupNCCL.hpp``).

    Args:
        folder: Where dumps go; each process adds its rank to the name.
    """
    return {
        "TORCH_FR_BUFFER_SIZE": str(_KEPT),
        "TORCH_FR_DUMP_TEMP_FILE": str(folder / "timeout-rank-"),
        "TORCH_NCCL_DUMP_ON_TIMEOUT": "1",
    }


def write_records(folder: Path, rank: int) -> None:
    """Write the record of this process, of each backend that has one."""
    from torch._C import _distributed_c10d as c10d

    for backend, name in _DUMPS:
        # Builds without a backend have no such function.
        dump = getattr(c10d, name, None)
        content = b"" if dump is None else dump(includeCollectives=True, onlyActive=False)
        if content and b'"entries"' in content:
            arriving = folder / f"arriving-{rank}"
            arriving.write_bytes(content)
            arriving.rename(_file(folder, rank, backend))


def pending_collective(folder: Path, rank: int) -> str | None:
    """The last collective that a process has begun and that is not over, for people.

    None: there is none, or the process has written no record.
    """
    for backend, _ in reversed(_DUMPS):
        try:
            entries = json.loads(_file(folder, rank, backend).read_bytes())["entries"]
            for entry in reversed(entries):
                if not entry["retired"]:
                    return _words(entry)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _words(entry: dict[str, Any]) -> str:
    shapes = ", ".join(
        f"{kind}{size}"
        for kind, size in zip(entry["input_dtypes"], entry["input_sizes"], strict=False)
    )
    number, group = entry["collective_seq_id"], entry["process_group"]
    return f"{entry['profiling_name']} of {shapes}, number {number} of group {' '.join(group)}"


def _file(folder: Path, rank: int, backend: str) -> Path:
    return folder / f"collectives-rank-{rank}-{backend}.json"
