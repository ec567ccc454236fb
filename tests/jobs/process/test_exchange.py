"""Processes of a gang exchange values through a real process group."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE
from tests.ports import free_port

WORKER = """
import sys
import threading
from datetime import timedelta
import numpy as np
import torch
import torch.distributed as dist
from mmrlhf_jobs.errors import DataError, RunError
from mmrlhf_jobs.process import exchange
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.uris import StorageOptions

runtime = Runtime.from_environment()
rank, size = runtime.rank, runtime.world_size

parts = runtime.gather({"rank": rank, "text": "x" * 10 ** rank})
assert [part["rank"] for part in parts] == list(range(size)), parts
assert [len(part["text"]) for part in parts] == [10 ** one for one in range(size)]
gaps = runtime.gather(torch.arange(rank, dtype=torch.float64))
assert torch.equal(torch.cat(gaps), torch.cat([torch.arange(n).double() for n in range(size)]))
assert runtime.gather(()) == [()] * size

made = []
options = StorageOptions(endpoint="http://x")
found = runtime.on_main(lambda: made.append(1) or (options, np.arange(3)))
assert made == ([1] if rank == 0 else [])
assert found[0] == options
assert found[1].tolist() == [0, 1, 2]
assert runtime.on_main(lambda: None) is None

# A group like the default one gives up three times, one after another, while the others wait for
# rank 0, which works until then: what NCCL's ten minutes are to the drawing of a map.
store = dist.distributed_c10d._get_default_store()
likes = [dist.new_group() for _ in range(6)]
for group in (None, *likes):
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=0.5), group)

def give_up(name, groups):
    for group in groups:
        try:
            dist.all_reduce(torch.zeros(1), group=group)
        except RuntimeError as error:
            assert "imed out" in str(error), error
    store.set(name, "they gave up")

def others_wait(name, groups, wait):
    like = threading.Thread(target=give_up, args=(name, groups))
    if rank == 1:
        like.start()
    try:
        return wait(lambda: store.get(name).decode())
    finally:
        if rank == 1:
            like.join()  # and rank 0 works no longer, if this one has given up as well

found = others_wait("a", likes[:3], lambda work: runtime.on_main(work))
assert found == "they gave up"
others_wait("b", likes[3:], lambda work: (rank == 0 and work(), runtime.wait()))
assert runtime.sum([rank, 1]) == [sum(range(size)), size]

def fail():
    raise DataError("odd", file="f", row=3)

try:
    runtime.on_main(fail)
except DataError as error:
    assert (str(error), error.row) == ("f, row 3: odd", 3)
else:
    raise AssertionError("no error")

exchange.MAX_BYTES = 1000
for send in (
    lambda: runtime.gather("x" * (2000 if rank == 1 else 1)),
    lambda: runtime.on_main(lambda: "x" * 2000),
):
    try:
        send()
    except RunError as error:
        assert "at most 1000" in str(error)
    else:
        raise AssertionError("no error")
runtime.leave()
"""


def test_values_and_errors_reach_all_processes_and_large_ones_none(tmp_path: Path) -> None:
    port, size = str(free_port()), 2
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=tmp_path,
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "GLOO_SOCKET_IFNAME": "lo",
                "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=120 * PATIENCE)[1] for process in started]
    assert [process.returncode for process in started] == [0] * size, "\n".join(said)
