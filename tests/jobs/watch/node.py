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

from mmrlhf_api import Optimizer
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.membership import run_in_gang
from mmrlhf_jobs.training.loop import OptimizerLoop
from mmrlhf_jobs.training.plan import Step
from tests.jobs.launched import forks, main
from tests.jobs.training.two_layers import make

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


if __name__ == "__main__":
    main(forks(lambda fault, stage: work(fault, int(stage))))
