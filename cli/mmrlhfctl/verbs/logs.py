"""``logs``: the logs of a job's pods, from where they are to the end of the job."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.log_stream import LogLine, read_log
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf.client.paths import core_path, job_path, pod_selector
from mmrlhf.client.views import JobView, PodView
from mmrlhf.client.watch import Snapshot, observe
from mmrlhf.errors import ClusterError, NotFoundError, WaitTimeoutError
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.endings import deleted, detached, failure, state_line
from mmrlhfctl.text.table import Style, paint
from mmrlhfctl.verbs.describe import list_pods
from mmrlhfctl.verbs.log_choice import (
    LogOptions,
    choose_attempt,
    chosen,
    nothing_to_show,
    wants,
)

__all__ = ["Follower", "LogOptions", "show_logs"]

_QUEUE = 10_000
_TICK_SECONDS = 0.5
_DRAIN_SECONDS = 20.0
"""How long a log may stay silent after the end of its job before it is given up."""
_COLOURS = (Style.BUSY, Style.GOOD, Style.IDLE)


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


def show_logs(connection: Connection, words: Sequence[str], options: LogOptions) -> None:
    """Show the logs of a job.

    Raises:
        CliError: There is nothing to show; or, after following, the job failed.
    """
    cluster = open_cluster(connection)
    (target,) = parse_job_names(words, at_most=1)
    job = find_job(cluster, target)
    if options.follow:
        Follower(cluster, job, options).run()
        return
    attempt = choose_attempt(job, options)
    ranks = wants(job, options.ranks)
    pods = chosen(list_pods(cluster, job), attempt=attempt, ranks=ranks)
    if not pods:
        raise nothing_to_show(job, attempt=attempt)
    printer = _Printer(options, several=len(ranks) > 1)
    for pod in pods:
        if not pod.started:
            why = f": {pod.why}" if pod.why else ""
            note(f"{pod.name} has no log yet ({pod.state}{why})")
            continue
        for line in read_log(
            cluster,
            job.namespace,
            pod,
            follow=False,
            since=options.since,
            tail=options.tail,
            timestamps=options.timestamps,
        ):
            printer.show(pod, line)


class Follower:
    """Follows a job's logs: waits for pods, goes on with the next attempt, ends with the job.

    Args:
        cluster: The cluster.
        job: The job.
        options: Which logs.
        seconds: How long; None follows to the end.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: JobView,
        options: LogOptions,
        *,
        seconds: float | None = None,
    ) -> None:
        self._cluster = cluster
        self._job = job
        self._options = options
        self._attempt = choose_attempt(job, options)
        self._onwards = options.attempt is None and not options.previous
        self._ranks = wants(job, options.ranks)
        self._seconds = seconds
        self._printer = _Printer(options, several=len(self._ranks) > 1)
        self._inbox: queue.Queue[_Line | _End | _Job | _Pods | BaseException] = queue.Queue(_QUEUE)
        self._stop = threading.Event()
        self._open: set[str] = set()
        self._done: set[str] = set()
        self._gone = False
        self._told = ""
        self._announced = self._attempt

    def run(self) -> None:
        """Follow to the end.

        Raises:
            CliError: The job failed, was deleted or takes too long; Ctrl-C.
        """
        try:
            self._follow()
        except KeyboardInterrupt:
            raise detached(self._job) from None
        finally:
            self._stop.set()
        error = failure(self._job)
        if error is not None and self._onwards:
            raise error
        if self._onwards:
            note(f"{self._job.title} {self._job.phase.lower()}")

    def _follow(self) -> None:
        self._tell_state()
        self._start(self._watch_job)
        self._start(self._watch_pods)
        deadline = None if self._seconds is None else time.monotonic() + self._seconds
        quiet_since: float | None = None
        while True:
            if self._inbox.empty():
                sys.stdout.flush()
            try:
                event = self._inbox.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                if self._finished():
                    self._attach(tuple(list_pods(self._cluster, self._job)), final=True)
                    if not self._open:
                        break
                    quiet_since = quiet_since or time.monotonic()
                    if time.monotonic() - quiet_since > _DRAIN_SECONDS:
                        note("the logs of some pods do not end; giving them up")
                        break
            else:
                quiet_since = None
                self._handle(event)
            if deadline is not None and time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"{self._job.title} has not ended within {self._seconds:g} s and goes on; "
                    f"it is {state_line(self._job)}"
                )
        if self._gone:
            raise deleted(self._job)

    def _handle(self, event: _Line | _End | _Job | _Pods | BaseException) -> None:
        match event:
            case _Line() if event.line.time:
                self._printer.show(event.pod, event.line)
            case _Line():
                note(f"{event.pod.name}: the kubelet says: {event.line.text}")
            case _End():
                self._open.discard(event.pod.uid)
                self._done.add(event.pod.uid)
                if isinstance(event.error, ClusterError):
                    note(f"{event.pod.name}: {event.error.lines[0]}")
                elif event.error is not None:
                    raise event.error
            case _Job(job=None):
                self._gone = True
            case _Job():
                assert event.job is not None  # the case above takes that
                self._job = event.job
                self._tell_state()
            case _Pods():
                self._attach(event.pods)
            case BaseException():
                raise event

    def _finished(self) -> bool:
        """Whether no new pods can come."""
        if self._gone or self._job.ended:
            return True
        past = self._job.attempt > self._attempt
        return not self._onwards and (past or len(self._done) == len(self._ranks))

    def _attach(self, pods: Sequence[PodView], *, final: bool = False) -> None:
        for pod in chosen(pods, attempt=self._attempt, ranks=self._ranks, onwards=self._onwards):
            if pod.uid in self._open | self._done or not pod.started:
                continue
            if pod.attempt > self._announced:
                self._announced = pod.attempt
                note(f"attempt {pod.attempt} begins")
            self._open.add(pod.uid)
            self._start(partial(self._read, pod, follow=not final))

    def _tell_state(self) -> None:
        line = state_line(self._job)
        if line != self._told:
            self._told = line
            note(line)

    def _read(self, pod: PodView, *, follow: bool) -> None:
        # What was written before the user attached is cut as he asked; a later attempt never is.
        fresh = pod.attempt > self._attempt
        error: BaseException | None = None
        try:
            for line in read_log(
                self._cluster,
                self._job.namespace,
                pod,
                follow=follow,
                since=None if fresh else self._options.since,
                tail=None if fresh else self._options.tail,
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
        query = {"fieldSelector": f"metadata.name={self._job.name}"}
        path = job_path(self._job.kind, self._job.namespace)
        uid = self._job.uid
        for event in observe(self._cluster, path, query=query):
            bodies = list(event.items) if isinstance(event, Snapshot) else [event.object]
            mine = [body for body in bodies if body["metadata"]["uid"] == uid]
            gone = not mine if isinstance(event, Snapshot) else event.type == "DELETED" and mine
            if gone:
                self._inbox.put(_Job(None))
                return
            if mine:
                self._inbox.put(_Job(JobView.read(mine[0])))

    def _watch_pods(self) -> None:
        query = {"labelSelector": pod_selector(self._job.kind, self._job.name)}
        for event in observe(self._cluster, core_path("pods", self._job.namespace), query=query):
            bodies = event.items if isinstance(event, Snapshot) else (event.object,)
            views = (PodView.read(body) for body in bodies)
            mine = tuple(pod for pod in views if pod and pod.owner in {"", self._job.uid})
            self._inbox.put(_Pods(mine))

    def _start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by the main thread
                self._inbox.put(error)

        threading.Thread(target=guarded, daemon=True).start()


class _Printer:
    """Writes lines as the options say."""

    def __init__(self, options: LogOptions, *, several: bool) -> None:
        self._prefix = several if options.prefix is None else options.prefix
        self._timestamps = options.timestamps
        self._colours = colours_wanted(sys.stdout)

    def show(self, pod: PodView, line: LogLine) -> None:
        text = f"{line.time} {line.text}" if self._timestamps and line.time else line.text
        if self._prefix:
            style = _COLOURS[pod.rank % len(_COLOURS)]
            text = f"{paint(f'[{pod.name}]', style, colours=self._colours)} {text}"
        out(text)
