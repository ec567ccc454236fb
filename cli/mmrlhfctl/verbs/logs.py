"""``logs``: the logs of a job's pods, from where they are to the end of the job."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.log_stream import LogLine, read_log
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf.client.pods import chosen_pods, list_pods
from mmrlhf.client.views import JobView
from mmrlhf.errors import ClusterError, NotFoundError, RejectedError
from mmrlhf_api.interrupts import interrupt_arrived
from mmrlhf_api.plain_text import make_safe
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.endings import detached, failure
from mmrlhfctl.text.table import Style, paint
from mmrlhfctl.verbs.jobs_alone import refuse_runs
from mmrlhfctl.verbs.log_choice import LogOptions, choose_attempt, nothing_to_show, wants

__all__ = ["follow_logs", "show_logs"]

_COLOURS = (Style.BUSY, Style.GOOD, Style.IDLE)


def show_logs(connection: Connection, words: Sequence[str], options: LogOptions) -> None:
    """Show the logs of a job.

    Raises:
        MmrlhfError: There is nothing to show; or, after following, the job failed.
    """
    refuse_runs(words, "logs")
    cluster = open_cluster(connection)
    (target,) = parse_job_names(words, at_most=1)
    job = find_job(cluster, target)
    if options.archived:
        _show_archived(job, options)
        return
    if options.follow:
        follow_logs(cluster, job, options)
        return
    attempt = choose_attempt(job, options)
    ranks = wants(job, options.ranks)
    pods = chosen_pods(list_pods(cluster, job), attempt=attempt, ranks=ranks)
    if not pods:
        raise nothing_to_show(job, attempt=attempt)
    pods = [pod.with_container(options.container) for pod in pods]
    printer = _Printer(options, several=len(ranks) > 1)
    errors: list[ClusterError] = []
    for pod in pods:
        if not pod.started:
            why = f": {pod.why}" if pod.why else ""
            note(f"{pod.name} has no log yet ({pod.state}{why})")
            continue
        try:
            for line in read_log(
                cluster,
                job.namespace,
                pod,
                follow=False,
                since=options.since,
                tail=options.tail,
                timestamps=options.timestamps,
            ):
                printer.show(pod.name, pod.rank, line)
        except (NotFoundError, RejectedError) as error:  # of one pod; others may have theirs
            errors.append(error)
    _raise_all(errors)


def _show_archived(job: JobView, options: LogOptions) -> None:
    from mmrlhf.client.archived import archived_logs, moment

    if options.follow or options.container is not None:
        raise CliError(
            "--archived shows the job's container as it was stored; leave -f and -c out",
            code=ExitCode.USAGE,
        )
    ranks = wants(job, options.ranks)
    printer = _Printer(options, several=len(ranks) > 1)
    lines = archived_logs(job, tell=note).lines(
        attempt=choose_attempt(job, options),
        nodes=ranks,
        since=moment(options.since),
        tail=options.tail,
    )
    for line in lines:
        name = f"{job.name}-{line.attempt}-{line.node}"
        printer.show(name, line.node, LogLine(line.time, line.text))


def _raise_all(errors: Sequence[ClusterError]) -> None:
    """Tell all errors but the last, and end with that."""
    for error in errors[:-1]:
        note(f"error: {error.lines[0]}")
    if errors:
        raise errors[-1]


def follow_logs(
    cluster: Cluster, job: JobView, options: LogOptions, *, seconds: float | None = None
) -> None:
    """Show the logs of a job to its end.

    Args:
        cluster: The cluster.
        job: The job.
        options: Which logs.
        seconds: How long; None follows to the end.

    Raises:
        MmrlhfError: The job failed, was deleted or takes too long; Ctrl-C.
    """
    from mmrlhf.client.following import Follower

    ranks = wants(job, options.ranks)
    onwards = options.attempt is None and not options.previous
    follower = Follower(
        cluster,
        job,
        attempt=choose_attempt(job, options),
        onwards=onwards,
        ranks=ranks,
        since=options.since,
        tail=options.tail,
        container=options.container,
        seconds=seconds,
        tell=note,
        idle=sys.stdout.flush,
    )
    printer = _Printer(options, several=len(ranks) > 1)
    try:
        for pod, line in follower:
            printer.show(pod.name, pod.rank, line)
    except KeyboardInterrupt:
        interrupt_arrived()
        raise detached(follower.job) from None
    if not onwards:
        _raise_all(follower.unread)
        return
    error = failure(follower.job)
    if error is not None:
        raise error
    _raise_all(follower.unread)
    note(f"{follower.job.title} {follower.job.phase.lower()}")


class _Printer:
    """Writes lines as the options say."""

    def __init__(self, options: LogOptions, *, several: bool) -> None:
        self._prefix = several if options.prefix is None else options.prefix
        self._timestamps = options.timestamps
        self._colours = colours_wanted(sys.stdout)

    def show(self, pod: str, rank: int, line: LogLine) -> None:
        text = f"{line.time} {line.text}" if self._timestamps and line.time else line.text
        text = make_safe(text, lines=True)
        if self._prefix:
            style = _COLOURS[rank % len(_COLOURS)]
            text = f"{paint(f'[{pod}]', style, colours=self._colours)} {text}"
        out(text)
