"""Telling a lost peer from a fault of one's own."""

from __future__ import annotations

import torch.distributed as dist

from mmrlhf_api.termination import Ending
from mmrlhf_jobs.errors import JobError

__all__ = ["PeerLost", "is_peer_loss"]

_SIGNS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "socket timeout")


class PeerLost(JobError):  # noqa: N818 - the error is another process's
    """Another process of the job is gone; what it said is why."""

    ending = Ending.PEER_LOST


def is_peer_loss(error: BaseException) -> bool:
    """Whether a collective failed because another process is gone.

    The process that really failed tells its own story; the others must not drown it.
    """
    if isinstance(error, dist.DistNetworkError | dist.DistBackendError):
        return True
    # Gloo raises a bare RuntimeError from C++ with the place of the failure in its text.
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)
