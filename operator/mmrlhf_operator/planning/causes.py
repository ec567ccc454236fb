"""How the cluster takes a pod away, or never lets it begin: one table, with its sources.

Every way in which a node leaves or refuses a pod, in Kubernetes 1.20 to 1.36, is a row: what the
pod's status shows then, and what that means. A word in a message is not enough: a node that is
short of disk and a pod that went over its own limit are both ``Evicted`` and both speak of
``ephemeral-storage``, and only the second is the job's own fault.

Rows are tried in order; those of ``status.reason``, which the kubelet and the node controller
write, are more exact than the condition ``DisruptionTarget`` (from 1.25 on), which for all that a
kubelet does has one reason. Paths of the sources are those of kubernetes/kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmrlhf_api.constants import FailureReason
from mmrlhf_operator.state.pods import PodView

__all__ = ["CAUSES", "Cause", "Taken", "taken_away"]

_NODE_LOST = FailureReason.NODE_LOST
_REFUSED = FailureReason.NODE_REFUSED


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One row: a pod fits when all that the row names does.

    Attributes:
        failure: What it means.
        status: Pattern of the whole of ``status.reason``; None where it does not matter.
        message: Pattern within ``status.message``.
        condition: Reason of the condition DisruptionTarget.
        container: Reason with which the job's container ended, as the whole of a pattern.
        exit_code: Exit code of that container.
        versions: Kubernetes that writes it.
        source: Where it comes from.
    """

    failure: FailureReason
    status: str | None = None
    message: str | None = None
    condition: str | None = None
    container: str | None = None
    exit_code: int | None = None
    versions: str
    source: str

    def fits(self, pod: PodView) -> bool:
        """Whether a pod looks like it."""
        end, disruption = pod.end, pod.disruption
        return (
            (self.status is None or re.fullmatch(self.status, pod.reason) is not None)
            and (self.message is None or re.search(self.message, pod.message) is not None)
            and (
                self.condition is None
                or (disruption is not None and disruption.reason == self.condition)
            )
            and (
                self.container is None
                or (end is not None and re.fullmatch(self.container, end.reason) is not None)
            )
            and (self.exit_code is None or (end is not None and end.exit_code == self.exit_code))
        )


CAUSES: Sequence[Cause] = (
    Cause(
        failure=FailureReason.STORAGE_FULL,
        status="Evicted",
        message=(
            r"(?i)usage of emptydir volume .* exceeds the limit"
            r"|container .* exceeded its local ephemeral storage limit"
            r"|pod ephemeral local storage usage exceeds the total limit"
        ),
        versions="1.20-1.36",
        source="pkg/kubelet/eviction/helpers.go: emptyDirMessageFmt and its neighbours",
    ),
    Cause(
        failure=_REFUSED,
        status="Evicted",
        message=r"The node had condition",
        versions="1.20-1.36",
        source="pkg/kubelet/eviction/eviction_manager.go: Admit; nodeConditionMessageFmt",
    ),
    Cause(
        failure=FailureReason.EVICTED,
        status="Evicted",
        versions="1.20-1.36",
        source="pkg/kubelet/eviction/helpers.go: Reason; nodeLowMessageFmt",
    ),
    Cause(
        failure=FailureReason.PREEMPTED,
        status="Preempting|Preempted",
        versions="1.20-1.36",
        source="pkg/kubelet/preemption/preemption.go: a critical pod takes the place",
    ),
    Cause(
        failure=_REFUSED,
        status="Shutdown",
        message=r"not admitting",
        versions="1.20",
        source="pkg/kubelet/nodeshutdown: nodeShutdownNotAdmitMessage",
    ),
    Cause(
        failure=_NODE_LOST,
        status="Shutdown",
        versions="1.20-1.21",
        source="pkg/kubelet/nodeshutdown/nodeshutdown_manager_linux.go: nodeShutdownReason",
    ),
    Cause(
        failure=_NODE_LOST,
        status="Terminated",
        versions="1.21-1.36",
        source="pkg/kubelet/nodeshutdown/nodeshutdown_manager.go: nodeShutdownReason",
    ),
    Cause(
        failure=_REFUSED,
        status="NodeShutdown",
        versions="1.21-1.36",
        source="pkg/kubelet/nodeshutdown: NodeShutdownNotAdmittedReason",
    ),
    Cause(
        failure=_NODE_LOST,
        status="NodeLost",
        versions="1.20",
        source="pkg/util/node/node.go: NodeUnreachablePodReason",
    ),
    Cause(
        failure=_REFUSED,
        status="UnexpectedAdmissionError",
        versions="1.20-1.36",
        source="pkg/kubelet/cm/devicemanager, pkg/kubelet/lifecycle/predicate.go: lost devices",
    ),
    Cause(
        failure=_REFUSED,
        status=r"OutOf\S+",
        versions="1.20-1.36",
        source="pkg/kubelet/lifecycle/predicate.go: InsufficientResourcePrefix",
    ),
    Cause(
        failure=_REFUSED,
        status=(
            "NodeAffinity|MatchNodeSelector|NodeName|HostName|NodePorts|PodFitsHostPorts"
            "|NodeUnschedulable|TaintToleration|PodToleratesNodeTaints"
            r"|node\(s\) had taints that the pod didn't tolerate"
        ),
        versions="1.20-1.36",
        source="pkg/kubelet/lifecycle/predicate.go: generalFilter, PredicateFailureError",
    ),
    Cause(
        failure=_REFUSED,
        status=(
            "UnknownReason|UnexpectedPredicateFailureType|InvalidNodeInfo|PodOSNotSupported"
            "|PodOSSelectorNodeLabelDoesNotMatch|InitContainerRestartPolicyForbidden"
            "|SupplementalGroupsPolicyNotSupported|PodLevelResourcesNotSupported"
            "|PodLevelResourcesNotAdmitted|PodFeatureUnsupported|VolumeAttachmentLimitExceeded"
        ),
        versions="1.24-1.36",
        source="pkg/kubelet/kubelet.go: admissionRejectionReasons",
    ),
    Cause(
        failure=_REFUSED,
        status="TopologyAffinityError|SMTAlignmentError",
        versions="1.20-1.36",
        source="pkg/kubelet/cm/topologymanager, pkg/kubelet/cm/cpumanager",
    ),
    Cause(
        failure=_REFUSED,
        status="AppArmor|SysctlForbidden|SysctlUnsupported",
        versions="1.20-1.36",
        source="pkg/security/apparmor, pkg/kubelet/sysctl",
    ),
    Cause(
        failure=FailureReason.PREEMPTED,
        condition="PreemptionByScheduler",
        versions="1.25-1.36",
        source="pkg/scheduler/framework/preemption/preemption.go",
    ),
    Cause(
        failure=_NODE_LOST,
        condition="DeletionByTaintManager",
        versions="1.25-1.36",
        source="pkg/controller/tainteviction/taint_eviction.go",
    ),
    Cause(
        failure=FailureReason.EVICTED,
        condition="DeletionByDeviceTaintManager",
        versions="1.33-1.36",
        source="pkg/controller/devicetainteviction/device_taint_eviction.go",
    ),
    Cause(
        failure=FailureReason.EVICTED,
        condition="EvictionByEvictionAPI",
        versions="1.25-1.36",
        source="pkg/registry/core/pod/storage/eviction.go: kubectl drain among others",
    ),
    Cause(
        failure=_NODE_LOST,
        condition="DeletionByPodGC",
        versions="1.25-1.36",
        source="pkg/controller/podgc/gc_controller.go: the node is gone",
    ),
    Cause(
        failure=FailureReason.EVICTED,
        condition="TerminationByKubelet",
        versions="1.25-1.36",
        source="k8s.io/api/core/v1: PodReasonTerminationByKubelet",
    ),
    Cause(
        failure=_NODE_LOST,
        container="ContainerStatusUnknown",
        versions="1.20-1.36",
        source="pkg/kubelet/kubelet_pods.go: the kubelet finds the container no more",
    ),
    Cause(
        failure=_NODE_LOST,
        container="Unknown",
        exit_code=255,
        versions="1.20-1.36",
        source="containerd, pkg/cri/server: unknownExitReason, after the node or it began anew",
    ),
)
"""What the cluster does to pods, the most exact first."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was done to a pod: what it means, and who said what."""

    failure: FailureReason
    told: str


def taken_away(pod: PodView) -> Taken | None:
    """Return what the cluster did to a pod, as its status shows; None when it did nothing."""
    if not (pod.reason or pod.message or pod.disruption or pod.end or pod.phase == "Failed"):
        return None  # nobody says anything of it
    cause = next((cause for cause in CAUSES if cause.fits(pod)), None)
    if cause is not None:
        return Taken(failure=cause.failure, told=_words(pod, cause))
    if pod.disruption is not None:  # of a Kubernetes to come
        told = f"{pod.disruption.reason}: {pod.disruption.message}"
        return Taken(failure=FailureReason.EVICTED, told=told)
    if pod.phase == "Failed" and pod.end is None:
        # A kubelet that refuses a pod starts none of its containers.
        refused = pod.runs is None
        return Taken(
            failure=_REFUSED if refused else FailureReason.EVICTED,
            told=f"{pod.reason or 'no reason given'}: {pod.message or 'failed without an end'}",
        )
    return None


def _words(pod: PodView, cause: Cause) -> str:
    if cause.status is not None:
        words = f"{pod.reason}: {pod.message}"
    elif cause.condition is not None and pod.disruption is not None:
        words = f"{pod.disruption.reason}: {pod.disruption.message}"
    else:
        assert pod.end is not None  # the row names a container
        words = f"{pod.end.reason}: {pod.end.message or 'nobody knows how its container ended'}"
    return f"node {pod.node}: {words}" if pod.node and cause.failure is _REFUSED else words
