"""A node of a small training, as its launcher starts it, in which a process goes wrong.

``node.py FAULT STAGE``: processes are forks of the launcher, which has imported all that they need.
Steps are those of the real loop, with a module of two layers; rank 1 goes wrong in step 3.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic import multiprocessing
from torch.distributed.elastic.multiprocessing.api import MultiprocessContext, RunProcsResult
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mmrlhf_api import Optimizer
from mmrlhf_jobs import launch
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.membership import run_in_gang
from mmrlhf_jobs.training.loop import OptimizerLoop
from mmrlhf_jobs.training.plan import Step
from tests.jobs.training.worlds import make

FAULTY_STEP = 3
STEPS = 5


class Row(torch.Tensor):
    """A row of numbers, as tokens of a query."""

    tokens = 7


@dataclass(frozen=True)
class Query:
    name: str
    encoded: Any


class Plan:
    """Two rows a step and process, one a micro-batch."""

    queries_per_micro_batch = 1
    total_steps = STEPS

    def steps(self, *_: Any, start: int, runtime: Any, **__: Any) -> Iterator[Step[Query]]:
        for index in range(start, STEPS):
            names = [f"train.jsonl, row {4 * index + 2 * runtime.rank + n}" for n in (1, 2)]
            rows = (torch.ones(7).as_subclass(Row) for _ in names)
            yield Step(index, 0, tuple(map(Query, names, rows)), 2)


class Objective:
    """The square of what the module answers; goes wrong when it is told to."""

    def __init__(self, fault: str, context: TrainingContext) -> None:
        self._fault = fault
        self._runtime = context.runtime
        self._other: Any = None
        if context.runtime.world_size > 1:
            self._other = dist.new_group(backend="gloo")

    def counts(self, queries: Sequence[Query]) -> dict[str, float]:
        return {"pairs": float(len(queries))}

    def loss(self, queries: Sequence[Query], output: torch.Tensor, *, draw: int, **_: Any) -> Any:
        if self._runtime.rank == 1 and draw == 2 * (FAULTY_STEP - 1) + 1:
            self._go_wrong()
        loss = (output**2).sum()
        sums = {"tokens": 7.0}
        return SimpleNamespace(loss=loss, sums=sums, rows=[float(loss.detach())])

    def _go_wrong(self) -> None:
        match self._fault:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "collective":
                dist.all_reduce(torch.ones(3), group=self._other)
            case "loop":
                while True:
                    time.sleep(0.01)
            case "error":
                raise TrainingError("step 3: the loss of row 12 is no number")

    def check_first(self, *_: Any) -> None:
        pass

    def figures(self, *_: Any) -> Any:
        return SimpleNamespace(loss=0.0, margin=0.0, accuracy=0.0, row={})


def train(context: TrainingContext, fault: str, stage: int) -> None:
    objective: Any = Objective(fault, context)
    loop: OptimizerLoop[Any, Any] = OptimizerLoop(
        engine=make(torch.float32, stage, context.runtime),
        objective=objective,
        plan=Plan(),  # type: ignore[arg-type]
        optimizer=Optimizer(),
        seed=0,
        runtime=context.runtime,
        interruption=context.interruption,
    )
    dataset: Any = SimpleNamespace(share=lambda: iter([None]))
    builder: Any = SimpleNamespace(build=lambda _: None)
    for _ in loop.run(dataset, builder, start=0):
        pass


def work(fault: str, stage: int) -> None:
    code = run_in_gang(lambda context: train(context, fault, stage))
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)


class Forks(MultiprocessContext):
    """Forks that are looked at as programs are: torchrun tells how each of those has ended.

    Of forks it tells of one, and of the lower rank where two have ended since it last looked.
    """

    def _poll(self) -> RunProcsResult | None:
        result = super()._poll()
        if result is None or self._pc is None:
            return result
        for rank, process in enumerate(self._pc.processes):
            if rank not in result.failures and process.exitcode:
                result.failures[rank] = ProcessFailure(
                    rank, process.pid, process.exitcode, self.error_files[rank]
                )
        return result


def forks(command: Sequence[str]) -> None:
    """What torchrun does by the same variables, but that its processes are forks of this one."""
    multiprocessing.MultiprocessContext = Forks  # type: ignore[misc]
    environ = os.environ
    config = LaunchConfig(
        min_nodes=int(environ["PET_NNODES"]),
        max_nodes=int(environ["PET_NNODES"]),
        nproc_per_node=int(environ["PET_NPROC_PER_NODE"]),
        run_id="hangs",
        rdzv_backend="static",
        rdzv_endpoint=f"{environ['PET_MASTER_ADDR']}:{environ['PET_MASTER_PORT']}",
        rdzv_configs={"rank": int(environ["PET_NODE_RANK"]), "timeout": 600},
        max_restarts=0,
        start_method="fork",
        monitor_interval=0.1,
    )
    elastic_launch(config, work)(command[0], int(command[1]))


if __name__ == "__main__":
    ended = launch.main(sys.argv[1:3], gang=forks, log_seconds=0.5)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)
