"""Messages between the processes of a job, as tensors of bytes through a process group of CPUs."""

from __future__ import annotations

import torch
import torch.distributed as dist

from mmrlhf_jobs.errors import RunError

__all__ = ["MAX_BYTES", "broadcast", "gather"]

MAX_BYTES = 2**30
"""Largest message; a longer one is not even made room for."""


def gather(
    message: bytes, *, world_size: int, group: dist.ProcessGroup | None = None
) -> list[bytes]:
    """The messages of all processes, in rank order.

    Args:
        message: The one of this process; not empty.
        world_size: Number of processes.
        group: The process group, which sends from CPUs; None is the default one.

    Raises:
        RunError: One is too large; on every process.
    """
    own = torch.tensor([len(message)], dtype=torch.int64)
    sizes = [torch.zeros_like(own) for _ in range(world_size)]
    dist.all_gather(sizes, own, group=group)
    lengths = [int(size.item()) for size in sizes]
    _check(lengths)
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(message)] = _tensor(message)
    parts = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(parts, padded, group=group)
    return [part[:length].numpy().tobytes() for part, length in zip(parts, lengths, strict=True)]


def broadcast(message: bytes | None, *, group: dist.ProcessGroup | None = None) -> bytes:
    """The message of rank 0.

    Args:
        message: On rank 0, what it says; None on all others.
        group: The process group, which sends from CPUs; None is the default one.

    Raises:
        RunError: It is too large; on every process.
    """
    size = torch.tensor([0 if message is None else len(message)], dtype=torch.int64)
    dist.broadcast(size, src=0, group=group)
    length = int(size.item())
    _check([length])
    content = torch.empty(length, dtype=torch.uint8) if message is None else _tensor(message)
    dist.broadcast(content, src=0, group=group)
    return content.numpy().tobytes()


def _check(lengths: list[int]) -> None:
    for rank, length in enumerate(lengths):
        if not 0 < length <= MAX_BYTES:
            raise RunError(
                f"process {rank} of the job would send {length} bytes to the others; at most"
                f" {MAX_BYTES} are taken"
            )


def _tensor(message: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(message), dtype=torch.uint8)
