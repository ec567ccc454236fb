"""The process group of a job, from the environment that torchrun sets.

One process needs no process group at all; several compute over gloo on CPUs and over NCCL on GPUs.
What they tell each other, and where they wait for each other, goes over a gloo group of its own:
rank 0 may draw, read or upload for as long as it must, while NCCL gives up after ten minutes and
keeps a GPU busy meanwhile. Where a process dies, the others' waiting ends at once in both.
DeepSpeed is initialised inside torchrun, never through ssh, pdsh or MPI.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.process import exchange
from mmrlhf_jobs.process.messages import decode, encode
from mmrlhf_jobs.process.network import find_interface
from mmrlhf_jobs.watch.position import Place, Position

__all__ = ["Runtime"]

T = TypeVar("T")

LONGEST_WAIT: Final = timedelta(days=7)
"""How long processes wait for the work of one of them: whoever watches the run gives up before."""

_INTERFACE: Final = "GLOO_SOCKET_IFNAME"
_UNWATCHED: Final = Position(Place(0, 0))


@dataclass(frozen=True)
class Runtime:
    """Place of this process among all processes of the job.

    Attributes:
        rank: Number of this process, 0 to ``world_size - 1``.
        world_size: Number of processes of the job, on all nodes.
        device: Device that this process computes on.
        messages: Group for messages and waiting; None: the default one, which is of CPUs then.
        position: Tells where this process is to whoever watches it.
    """

    rank: int
    world_size: int
    device: torch.device
    messages: dist.ProcessGroup | None = field(default=None, compare=False, repr=False)
    position: Position = field(default=_UNWATCHED, compare=False, repr=False)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, position: Position = _UNWATCHED
    ) -> Runtime:
        """Join the process group that torchrun describes, or stand alone without one.

        Args:
            environ: What torchrun has set.
            position: Tells where this process is.
        """
        rank = int(environ.get("RANK", "0"))
        world_size = int(environ.get("WORLD_SIZE", "1"))
        device = torch.device("cpu")
        if torch.cuda.is_available():
            device = torch.device("cuda", int(environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(device)
        if world_size == 1:
            return cls(rank=rank, world_size=world_size, device=device, position=position)
        if _INTERFACE not in environ and (found := find_interface(environ.get("MASTER_ADDR", ""))):
            os.environ[_INTERFACE] = found
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
        return cls(
            rank=rank,
            world_size=world_size,
            device=device,
            messages=messages,
            position=position,
        )

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which speaks for the job."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sum numbers over all processes, in float64, with the same result on each."""
        if self.world_size == 1:
            return [float(value) for value in values]
        tensor = torch.tensor(list(values), dtype=torch.float64)
        with self.position.waiting(f"a sum of {len(values)} numbers"):
            dist.all_reduce(tensor, group=self.messages)
        return [float(value) for value in tensor.tolist()]

    def most(self, values: Sequence[int]) -> list[int]:
        """The largest of each number over all processes, with the same result on each."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(list(values), dtype=torch.int64)
        with self.position.waiting(f"the largest of {len(values)} numbers"):
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self.messages)
        return [int(value) for value in tensor.tolist()]

    def sum_array(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum arrays of one shape over all processes, with the same result on each."""
        if self.world_size == 1:
            return values
        tensor = torch.from_numpy(values).to(self.device, copy=True)
        with self.position.waiting(f"a sum of {len(values)} rows"):
            dist.all_reduce(tensor)
        total: npt.NDArray[np.float64] = tensor.cpu().numpy()
        return total

    def any(self, value: bool) -> bool:
        """Whether the value is true on at least one process."""
        return self.sum([float(value)])[0] > 0

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in rank order; tensors may differ in shape.

        Raises:
            TypeError: The value is nothing that a message can be; see `messages`.
        """
        if self.world_size == 1:
            return [value]
        own = encode(value)
        with self.position.waiting("an exchange of messages"):
            parts = exchange.gather(own, world_size=self.world_size, group=self.messages)
        return [decode(part) for part in parts]

    def on_main(self, work: Callable[[], T]) -> T:
        """Do work on rank 0 alone and hand its result, or its error, to every process.

        Raises:
            JobError: The error of rank 0, on every process, so that all end alike.
            TypeError: The result is nothing that a message can be; see `messages`.
        """
        if self.world_size == 1:
            return work()
        if not self.is_main:
            with self.position.waiting("work of rank 0"):
                message = exchange.broadcast(None, group=self.messages)
            result, failure = decode(message)
            if isinstance(failure, JobError):
                raise failure
            return result  # type: ignore[no-any-return]
        try:
            own = work()
        except JobError as error:
            exchange.broadcast(encode([None, error]), group=self.messages)
            raise
        exchange.broadcast(encode([own, None]), group=self.messages)
        return own

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            with self.position.waiting("a barrier"):
                dist.barrier(group=self.messages)

    def leave(self) -> None:
        """Leave the process group, if there is one."""
        if dist.is_initialized():
            dist.destroy_process_group()
