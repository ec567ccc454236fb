"""Nodes on which attempts of a job failed, and which its next pods therefore prefer to avoid.

The scheduler knows nothing of it: a node whose kubelet refuses pods, or whose GPU ends processes,
is empty each time and so looks best. It is a preference and no must: where no other node fits, an
attempt on such a node is better than none, and a job that fails of itself blames no cluster.
"""

from __future__ import annotations

from mmrlhf_api import JobStatus
from mmrlhf_api.constants import FailureReason
from mmrlhf_api.status import NodeFault
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.planning.failures import Failure

__all__ = ["avoided_nodes", "with_fault"]

_MOST = 32
_OF_NODES = frozenset(
    {
        FailureReason.NODE_REFUSED,
        FailureReason.NODE_LOST,
        FailureReason.KILLED,
        FailureReason.APPLICATION_ERROR,
    }
)
"""Failures that a node may be to blame for."""


def with_fault(status: JobStatus, failure: Failure) -> tuple[NodeFault, ...]:
    """Return the faults of nodes with a failure that may be a node's, the latest last."""
    known = status.node_faults or ()
    if failure.node is None or failure.symptom or failure.reason not in _OF_NODES:
        return known
    before = next((fault.count for fault in known if fault.name == failure.node), 0)
    others = tuple(fault for fault in known if fault.name != failure.node)
    return (*others, NodeFault(name=failure.node, count=before + 1))[-_MOST:]


def avoided_nodes(status: JobStatus, config: OperatorConfig) -> tuple[str, ...]:
    """Return the nodes that new pods of a job prefer to avoid."""
    most = config.node_faults
    return tuple(fault.name for fault in status.node_faults or () if fault.count >= most)
