"""Messages between the processes of a job, as tensors of bytes through its process group."""

from __future__ import annotations

import torch
import torch.distributed as dist

from mmrlhf_jobs.errors import RunError

__all__ = ["MAX_BYTES", "broadcast", "gather"]

MAX_BYTES = 2**30
"""Largest message; a longer one is not even made room for."""


def gather(message: bytes, *, world_size: int, device: torch.device) -> list[bytes]:
    """The messages of all processes, in rank order.

    Args:
        message: The one of this process; not empty.
        world_size: Number of processes.
        device: Device that the process group sends from.

    Raises:
        RunError: One is too large; on every process.
    """
    own = torch.tensor([len(message)], dtype=torch.int64, device=device)
    sizes = [torch.zeros_like(own) for _ in range(world_size)]
    dist.all_gather(sizes, own)
    lengths = [int(size.item()) for size in sizes]
    _check(lengths)
    padded = torch.zeros(max(lengths), dtype=torch.uint8, device=device)
    padded[: len(message)] = _tensor(message, device)
    parts = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(parts, padded)
    return [
        part[:length].cpu().numpy().tobytes() for part, length in zip(parts, lengths, strict=True)
    ]


def broadcast(message: bytes | None, *, device: torch.device) -> bytes:
    """The message of rank 0.

    Args:
        message: On rank 0, what it says; None on all others.
        device: Device that the process group sends from.

    Raises:
        RunError: It is too large; on every process.
    """
    size = torch.tensor([0 if message is None else len(message)], dtype=torch.int64, device=device)
    dist.broadcast(size, src=0)
    length = int(size.item())
    _check([length])
    if message is None:
        content = torch.empty(length, dtype=torch.uint8, device=device)
    else:
        content = _tensor(message, device)
    dist.broadcast(content, src=0)
    return content.cpu().numpy().tobytes()


def _check(lengths: list[int]) -> None:
    for rank, length in enumerate(lengths):
        if not 0 < length <= MAX_BYTES:
            raise RunError(
                f"process {rank} of the job would send {length} bytes to the others; at most"
                f" {MAX_BYTES} are taken"
            )


def _tensor(message: bytes, device: torch.device) -> torch.Tensor:
    return torch.frombuffer(bytearray(message), dtype=torch.uint8).to(device)
