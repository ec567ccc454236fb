"""The log of one pod, line by line, over lost connections."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mmrlhf.client.cluster import Cluster
from mmrlhf.client.paths import core_path
from mmrlhf.client.views import PodView
from mmrlhf.errors import NotFoundError, RejectedError, UnreachableError
from mmrlhf_api.plain_text import make_safe

__all__ = ["JobLine", "LogLine", "Position", "read_log"]

_RETRY_SECONDS = 1.0
_KUBELET = re.compile(
    rb"(?i)unable to retrieve container logs for |failed to (try resolving symlinks|watch file|"
    rb"open|create|get container status|read)|rpc error: code = |can't find"
)
"""How what a kubelet says instead of a log may begin (pkg/kubelet/kuberuntime, ReadLogs)."""


@dataclass(frozen=True)
class LogLine:
    """One line of a log.

    Attributes:
        time: When it was written, as the kubelet says; empty for words of the kubelet itself.
        text: The line, without its line feed.
    """

    time: str
    text: str

    @classmethod
    def parse(cls, raw: bytes) -> LogLine:
        """Read a line of a log that was asked for with timestamps."""
        line = raw.decode(errors="replace").removesuffix("\n")
        time, _, text = line.partition(" ")
        if len(time) >= 20 and time[4:5] == "-" and time[10:11] == "T":
            return cls(time, text)
        return cls("", line)

    @classmethod
    def plain(cls, raw: bytes) -> LogLine:
        """Read a line of a log that was asked for without timestamps."""
        return cls("", raw.decode(errors="replace").removesuffix("\n"))


@dataclass(frozen=True)
class JobLine:
    """One line of a job's logs.

    Attributes:
        pod: Name of the pod.
        attempt: Attempt that the pod belongs to.
        rank: Node rank in the attempt.
        time: When it was written, as the kubelet says.
        text: The line, without its line feed.
    """

    pod: str
    attempt: int
    rank: int
    time: str
    text: str

    @classmethod
    def of(cls, pod: PodView, line: LogLine) -> JobLine:
        """The line of a pod."""
        return cls(pod.name, pod.attempt, pod.rank, line.time, line.text)


class Position:
    """How far a log was read, so that a new connection repeats nothing and drops nothing.

    The server starts at a whole second only; lines of that second that were seen are skipped. Of
    lines with the same time, as many are skipped as were seen.
    """

    def __init__(self) -> None:
        self._time = ""
        self._seen = 0
        self._repeated = 0

    @property
    def since(self) -> str | None:
        """Time to ask the server for; None before the first line."""
        return f"{self._time[:19]}Z" if self._time else None

    def reconnect(self) -> None:
        """Expect lines from `since` on again."""
        self._repeated = 0

    def accept(self, line: LogLine) -> bool:
        """Whether a line is new."""
        key = _sortable(line.time)
        if not line.time or key > _sortable(self._time):
            if line.time:
                self._time, self._seen, self._repeated = line.time, 1, 1
            return True
        if key < _sortable(self._time):
            return False
        self._repeated += 1
        if self._repeated <= self._seen:
            return False
        self._seen = self._repeated
        return True


def read_log(
    cluster: Cluster,
    namespace: str,
    pod: PodView,
    *,
    follow: bool,
    since: float | None = None,
    tail: int | None = None,
    timestamps: bool = False,
    stop: threading.Event | None = None,
) -> Iterator[LogLine]:
    """Yield the lines of a pod's container: the job's, or that of `PodView.with_container`.

    Args:
        cluster: The cluster.
        namespace: Namespace of the pod.
        pod: The pod.
        follow: Go on to the end of the container.
        since: Seconds to look back; None looks back to the start.
        tail: Lines at the end; None takes all.
        timestamps: Whether lines have their times; those that are followed always do.
        stop: Ends the following.

    Raises:
        NotFoundError: The kubelet cannot give the log; its words are no lines of it.
        ClusterError: The cluster refuses, or cannot be reached and nothing is followed.
    """
    position = Position()
    path = core_path("pods", namespace, pod.name)
    # Old kubelets put times into the middle of lines over 16 KiB, so they are not asked in vain.
    query = {
        "container": pod.container,
        "timestamps": str(follow or timestamps).lower(),
        "follow": str(follow).lower(),
    }
    first = {}
    if since is not None:
        first["sinceSeconds"] = str(max(1, round(since)))
    if tail is not None:
        first["tailLines"] = str(tail)
    if not follow:
        yield from _read_once(cluster, path, pod, query | first, timestamps=timestamps)
        return
    stop = stop or threading.Event()
    while not stop.is_set():
        again = {"sinceTime": position.since} if position.since is not None else first
        position.reconnect()
        try:
            for raw in cluster.lines(f"{path}/log", query=query | again):
                if not raw.endswith(b"\n") and not _has_ended(cluster, path, pod):
                    break  # cut off in the middle; the whole line comes again
                line = LogLine.parse(raw)
                if not line.time and _has_ended(cluster, path, pod):
                    continue  # the kubelet says that what has ended is gone
                if position.accept(line):
                    yield line
            if _has_ended(cluster, path, pod):
                return
        except NotFoundError:
            return
        except (RejectedError, UnreachableError):
            pass  # rejected: the kubelet does not know the container yet, or any more
        stop.wait(_RETRY_SECONDS)


def _read_once(
    cluster: Cluster, path: str, pod: PodView, query: Mapping[str, str], *, timestamps: bool
) -> Iterator[LogLine]:
    """Yield what a log has; what the kubelet says instead of it is an error, and no line."""
    last = b""
    for raw in cluster.lines(f"{path}/log", query=query):
        if timestamps:
            if not (line := LogLine.parse(raw)).time:
                raise _no_log(pod, raw)
            yield line
            continue
        # Words of the kubelet come last, and look like a line.
        if last:
            yield LogLine.plain(last)
        last = raw
    if last:
        if _KUBELET.match(last) and not _is_written(cluster, path, query):
            raise _no_log(pod, last)
        yield LogLine.plain(last)


def _has_ended(cluster: Cluster, path: str, pod: PodView) -> bool:
    try:
        now = PodView.read(cluster.get(path))
        now = now and now.with_container(pod.container)
    except NotFoundError:
        return True
    except UnreachableError:
        return False
    return now is None or now.uid != pod.uid or now.ended


def _is_written(cluster: Cluster, path: str, query: Mapping[str, str]) -> bool:
    """Whether the last line of a log is the container's: those of the kubelet have no time."""
    timed = {"timestamps": "true", "tailLines": "1"}
    lines = list(cluster.lines(f"{path}/log", query={**query, **timed}))
    return bool(lines) and bool(LogLine.parse(lines[-1]).time)


def _no_log(pod: PodView, raw: bytes) -> NotFoundError:
    words = make_safe(raw.decode(errors="replace").strip())
    return NotFoundError(f"{pod.name}: the kubelet cannot give the log of {pod.container}: {words}")


def _sortable(time: str) -> str:
    """Return a time whose order as text is that in time: the kubelet drops trailing zeros."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
