"""DeepSpeed, imported and told of the process group that there is."""

from __future__ import annotations

import os
import warnings

from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.deepspeed_muon import import_muon

__all__ = ["start_deepspeed"]


def start_deepspeed(runtime: Runtime) -> None:
    """Make DeepSpeed ready; does nothing the second time.

    Args:
        runtime: Process group, already joined.
    """
    if runtime.device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # torch 2.13 deprecates calls that DeepSpeed 0.19 still makes, once a step and process.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    warnings.filterwarnings("ignore", category=FutureWarning, module="deepspeed")
    import deepspeed
    import deepspeed.ops

    # Its all-reduce over shared memory would be compiled at the first start, which takes a
    # compiler, and would sum in another order on one node than between nodes.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    import_muon()
    # The group exists already; this only tells DeepSpeed's own layer about it.
    deepspeed.init_distributed(
        dist_backend="nccl" if runtime.device.type == "cuda" else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
    )
