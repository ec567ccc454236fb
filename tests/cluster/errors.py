"""What can go wrong with the test cluster, in words for the person who reads them.

ClusterError
+-- PrerequisiteError    something this machine lacks; the message says what to do
|   +-- BuildError       Kubernetes could not be built from source
+-- ClusterInUseError    another process holds the cluster of that name
+-- DaemonError          a process of the cluster ended, or was not ready in time
+-- ApiError             the API server answered with an error status
+-- WaitTimeoutError     a condition did not come true in time
"""

from __future__ import annotations

__all__ = [
    "ApiError",
    "BuildError",
    "ClusterError",
    "ClusterInUseError",
    "DaemonError",
    "PrerequisiteError",
    "WaitTimeoutError",
]


class ClusterError(Exception):
    """Base of all errors of the test cluster."""


class PrerequisiteError(ClusterError):
    """The machine lacks something that the cluster needs."""


class BuildError(PrerequisiteError):
    """Kubernetes could not be built from Debian's source package."""


class ClusterInUseError(ClusterError):
    """Another process holds the cluster of that name."""


class DaemonError(ClusterError):
    """A process of the cluster ended, or was not ready in time."""


class WaitTimeoutError(ClusterError):
    """A condition did not come true in time."""


class ApiError(ClusterError):
    """The API server answered with an error status.

    Attributes:
        status: the HTTP status code.
        reason: the machine-readable reason, as `NotFound`.
    """

    def __init__(self, *, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
