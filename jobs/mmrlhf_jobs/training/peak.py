"""Memory of a process, as the runtime has counted it: no question to the device."""

from __future__ import annotations

import resource

import torch

__all__ = ["peak_memory"]


def peak_memory(device: torch.device) -> dict[str, float]:
    """``peakMemoryGiB`` of this process so far: of its GPU, or without one of the host's memory."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB, on Linux
    return {"peakMemoryGiB": used / 2**30}
