"""Follow a job's logs: wait for pods, go on with the next attempt, end with the job."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from mmrlhf.client.cluster import Cluster
from mmrlhf.client.log_stream import LogLine, read_log
from mmrlhf.client.paths import core_path, job_path, pod_selector
from mmrlhf.client.pods import chosen_pods, list_pods
from mmrlhf.client.views import JobView, PodView
from mmrlhf.client.watch import Snapshot, observe
from mmrlhf.errors import ClusterError, NotFoundError, WaitTimeoutError
from mmrlhf.telling import Tell, log_line

__all__ = ["Follower"]

_QUEUE = 10_000
_TICK_SECONDS = 0.5
_DRAIN_SECONDS = 20.0
"""How long a log may stay silent after the end of its job before it is given up."""


@dataclass(frozen=True)
class _Line:
    pod: PodView
    line: LogLine


@dataclass(frozen=True)
class _End:
    pod: PodView
    error: BaseException | None


@dataclass(frozen=True)
class _Job:
    job: JobView | None


@dataclass(frozen=True)
class _Pods:
    pods: tuple[PodView, ...]


class Follower:
    """Iterates over the lines of a job's logs, each with its pod, to the end of the job.

    Args:
        cluster: The cluster.
        job: The job.
        attempt: Attempt to begin with.
        onwards: Go on with the attempts after it, and end only with the job.
        ranks: Nodes.
        since: Seconds to look back; None looks back to the start.
        tail: Lines at the end of what each log has already; None takes all.
        container: Container of each pod; None is the job's.
        seconds: How long; None follows to the end.
        tell: Takes lines about the job's state, its pods and the connection.
        idle: Called whenever there is nothing to yield for now.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: JobView,
        *,
        attempt: int,
        onwards: bool,
        ranks: Collection[int],
        since: float | None = None,
        tail: int | None = None,
        container: str | None = None,
        seconds: float | None = None,
        tell: Tell = log_line,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.job = job
        """The job as it was last seen."""
        self._cluster = cluster
        self._attempt = attempt
        self._onwards = onwards
        self._ranks = ranks
        self._since = since
        self._tail = tail
        self._container = container
        self._seconds = seconds
        self._tell = tell
        self._idle = idle
        self._inbox: queue.Queue[_Line | _End | _Job | _Pods | BaseException] = queue.Queue(_QUEUE)
        self._stop = threading.Event()
        self._open: set[str] = set()
        self._done: set[str] = set()
        self._unread: list[ClusterError] = []
        self._gone = False
        self._told = ""
        self._announced = attempt

    @property
    def unread(self) -> Sequence[ClusterError]:
        """Errors of logs that could not be read to their end."""
        return self._unread

    def __iter__(self) -> Iterator[tuple[PodView, LogLine]]:
        """Follow to the end.

        Raises:
            NotFoundError: The job was deleted.
            WaitTimeoutError: It takes too long.
            ClusterError: The cluster refuses, or was away for ten minutes.
        """
        try:
            yield from self._follow()
        finally:
            self._stop.set()

    def _follow(self) -> Iterator[tuple[PodView, LogLine]]:
        self._tell_state()
        self._start(self._watch_job)
        self._start(self._watch_pods)
        deadline = None if self._seconds is None else time.monotonic() + self._seconds
        quiet_since: float | None = None
        while True:
            if self._inbox.empty():
                self._idle()
            try:
                event = self._inbox.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                if self._finished():
                    self._attach(tuple(list_pods(self._cluster, self.job)), final=True)
                    if not self._open:
                        break
                    quiet_since = quiet_since or time.monotonic()
                    if time.monotonic() - quiet_since > _DRAIN_SECONDS:
                        self._tell("the logs of some pods do not end; giving them up")
                        break
            else:
                quiet_since = None
                if isinstance(event, _Line) and event.line.time:
                    yield event.pod, event.line
                else:
                    self._handle(event)
            if deadline is not None and time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"{self.job.title} has not ended within {self._seconds:g} s and goes on; "
                    f"it is {self.job.state_line}"
                )
        if self._gone:
            raise NotFoundError(f"{self.job.title} was deleted")

    def _handle(self, event: _Line | _End | _Job | _Pods | BaseException) -> None:
        match event:
            case _Line():
                self._tell(f"{event.pod.name}: the kubelet says: {event.line.text}")
            case _End():
                self._open.discard(event.pod.uid)
                self._done.add(event.pod.uid)
                if isinstance(event.error, ClusterError):
                    self._tell(f"{event.pod.name}: {event.error.lines[0]}")
                    self._unread.append(event.error)
                elif event.error is not None:
                    raise event.error
            case _Job(job=None):
                self._gone = True
            case _Job():
                assert event.job is not None  # the case above takes that
                self.job = event.job
                self._tell_state()
            case _Pods():
                self._attach(event.pods)
            case BaseException():
                raise event

    def _finished(self) -> bool:
        """Whether no new pods can come."""
        if self._gone or self.job.ended:
            return True
        past = self.job.attempt > self._attempt
        return not self._onwards and (past or len(self._done) == len(self._ranks))

    def _attach(self, pods: Sequence[PodView], *, final: bool = False) -> None:
        for each in chosen_pods(
            pods, attempt=self._attempt, ranks=self._ranks, onwards=self._onwards
        ):
            pod = each.with_container(self._container)
            if pod.uid in self._open | self._done or not pod.started:
                continue
            if pod.attempt > self._announced:
                self._announced = pod.attempt
                self._tell(f"attempt {pod.attempt} begins")
            self._open.add(pod.uid)
            self._start(partial(self._read, pod, follow=not final))

    def _tell_state(self) -> None:
        line = self.job.state_line
        if line != self._told:
            self._told = line
            self._tell(line)

    def _read(self, pod: PodView, *, follow: bool) -> None:
        # What was written before the user attached is cut as he asked; a later attempt never is.
        fresh = pod.attempt > self._attempt
        error: BaseException | None = None
        try:
            for line in read_log(
                self._cluster,
                self.job.namespace,
                pod,
                follow=follow,
                since=None if fresh else self._since,
                tail=None if fresh else self._tail,
                timestamps=True,
                stop=self._stop,
            ):
                self._inbox.put(_Line(pod, line))
        except NotFoundError:
            pass
        except BaseException as caught:  # noqa: BLE001 - raised again by the main thread
            error = caught
        self._inbox.put(_End(pod, error))

    def _watch_job(self) -> None:
        query = {"fieldSelector": f"metadata.name={self.job.name}"}
        path = job_path(self.job.kind, self.job.namespace)
        uid = self.job.uid
        for event in observe(self._cluster, path, query=query, tell=self._tell):
            bodies = list(event.items) if isinstance(event, Snapshot) else [event.object]
            mine = [body for body in bodies if body["metadata"]["uid"] == uid]
            gone = not mine if isinstance(event, Snapshot) else event.type == "DELETED" and mine
            if gone:
                self._inbox.put(_Job(None))
                return
            if mine:
                self._inbox.put(_Job(JobView.read(mine[0])))

    def _watch_pods(self) -> None:
        query = {"labelSelector": pod_selector(self.job.kind, self.job.name)}
        path = core_path("pods", self.job.namespace)
        for event in observe(self._cluster, path, query=query, tell=self._tell):
            bodies = event.items if isinstance(event, Snapshot) else (event.object,)
            views = (PodView.read(body) for body in bodies)
            mine = tuple(pod for pod in views if pod and pod.owner in {"", self.job.uid})
            self._inbox.put(_Pods(mine))

    def _start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by the main thread
                self._inbox.put(error)

        threading.Thread(target=guarded, daemon=True).start()
