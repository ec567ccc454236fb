"""Jobs on a cluster, from Python."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, TypeAlias

from mmrlhf.client.archived import archived_logs, moment
from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.following import Follower
from mmrlhf.client.log_stream import JobLine, read_log
from mmrlhf.client.names import find_job, parse_job_names, parse_targets
from mmrlhf.client.paths import job_path
from mmrlhf.client.pods import chosen_pods, list_pods
from mmrlhf.client.policy import cancel_job, suspend_job
from mmrlhf.client.submission import (
    apply_job,
    existing_job,
    job_namespace,
    manifest,
    with_free_name,
)
from mmrlhf.client.views import JobView, PodView
from mmrlhf.client.waiting import wait_for, wait_until_cleaned_up
from mmrlhf.errors import JobFailedError, MmrlhfError, NotFoundError, UsageError
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.constants import ConditionType
from mmrlhf_api.kinds import Job

__all__ = ["Client"]

Named: TypeAlias = str | JobView
"""A job: its name, ``KIND/NAME`` where several kinds have it, or what a call has returned."""


class Client:
    """Speaks to the API server of one cluster, as one user, and never prints.

    Nothing is sent before the first call. Threads may share it.

    Args:
        kubeconfig: Path of the kubeconfig; None looks where kubectl looks, and in a pod takes its
            service account.
        context: Context of the kubeconfig; None takes its current one.
        namespace: Namespace of the jobs; None takes that of the context.
        request_timeout: Seconds for one request; 0 waits for ever, None takes the default.
        tell: Takes lines for a person, such as that the connection is lost; logged by default.

    Raises:
        NoClusterError: There is no configuration.
        UsageError: It is wrong.
        CredentialsError: It has no credentials.
    """

    def __init__(
        self,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        request_timeout: float | None = None,
        tell: Tell = log_line,
    ) -> None:
        self._asked = namespace
        self._tell = tell
        self.cluster: Cluster = open_cluster(
            Connection(
                context=context,
                kubeconfig=kubeconfig,
                namespace=namespace,
                request_timeout=request_timeout,
            )
        )

    @property
    def namespace(self) -> str:
        """Namespace of the jobs."""
        return self.cluster.namespace

    def submit(
        self, job: Job, *, generate_name: bool = False, force: bool = False, dry_run: bool = False
    ) -> JobView:
        """Submit a job, or change one that is there; the same job again changes nothing.

        Args:
            job: What `load_job` returned.
            generate_name: Add random characters to its name.
            force: Take over fields that others have set.
            dry_run: Have the server check the job, and change nothing.

        Raises:
            ConflictError: Others have set the same fields to other values.
            RejectedError: The server finds the job wrong.
            ClusterError: The cluster cannot be reached or used.
        """
        namespace = job_namespace(job, asked=self._asked, default=self.namespace)
        body = manifest(job, namespace=namespace)
        if generate_name or job.metadata.is_unnamed:
            body = with_free_name(self.cluster, body, job)
        before = existing_job(self.cluster, body, job)
        return JobView.read(
            apply_job(self.cluster, body, job, before, force=force, dry_run=dry_run)
        )

    def status(self, job: Named) -> JobView:
        """Return a job as it is now.

        Raises:
            NotFoundError: There is none; says what is near.
        """
        return self._find(job)

    def list(self, kind: str | None = None, *, selector: str | None = None) -> list[JobView]:
        """Return the jobs of the namespace.

        Args:
            kind: Their kind, such as ``MMDPOJob`` or ``mmdpo``; None takes all kinds.
            selector: Label selector.
        """
        targets = parse_targets([] if kind is None else [kind])
        if targets.jobs:
            raise UsageError(f"{kind} is no kind")
        query = {} if selector is None else {"labelSelector": selector}
        return [
            JobView.read(body)
            for each in targets.kinds
            for body in self.cluster.list(job_path(each, self.namespace), query=query)[0]
        ]

    def wait(
        self,
        job: Named,
        *,
        until: Literal["ended"] | ConditionType | str = ConditionType.SUCCEEDED,
        timeout: float | None = None,
    ) -> JobView:
        """Wait for what a job becomes; return it as it is then.

        Args:
            job: The job.
            until: A condition that must be true, such as ``Running``, or ``ended``.
            timeout: Seconds; None waits for ever.

        Raises:
            JobFailedError: The job failed or was cancelled, and that was not waited for.
            NotFoundError: There is no such job, or it was deleted.
            WaitTimeoutError: It takes too long.
        """
        known = {kind.value.lower(): kind.value for kind in ConditionType}
        wanted = known.get(until.lower())
        if wanted is None and until != "ended":
            raise UsageError(f"until {until}: must be ended or one of {', '.join(known.values())}")

        def verdict(now: JobView) -> bool:
            if now.ended if wanted is None else now.holds(wanted):
                return True
            if now.failed:
                raise JobFailedError(now)
            if now.ended:
                raise MmrlhfError(f"{now.title} has ended ({now.phase}) without being {wanted}")
            return False

        return wait_for(
            self.cluster, self._find(job), verdict, until, seconds=timeout, tell=self._tell
        )

    def logs(
        self,
        job: Named,
        *,
        follow: bool = False,
        ranks: Collection[int] | None = None,
        attempt: int | None = None,
        since: float | None = None,
        tail: int | None = None,
        container: str | None = None,
        archived: bool = False,
        timeout: float | None = None,
    ) -> Iterator[JobLine]:
        """Iterate over the lines of a job's logs.

        Args:
            job: The job.
            follow: Go on to the end of the job, over restarts; ask `status` then how it ended.
            ranks: Nodes; None takes all.
            attempt: Attempt, from 0; None takes the current one, and those after it.
            since: Seconds to look back; None looks back to the start.
            tail: Lines at the end of each log; None takes all.
            container: Container of each pod; None is the job's.
            archived: Read the job's artifact store, as this user, instead of pods.
            timeout: Seconds to follow; None follows to the end.

        Raises:
            NotFoundError: There is no such job, no such attempt, or its logs are gone.
            WaitTimeoutError: The job has not ended in time.
        """
        found = self._find(job)
        first = found.attempt if attempt is None else attempt
        if first > found.attempt:
            raise NotFoundError(
                f"{found.title} has had no attempt {first} yet; the current one is {found.attempt}"
            )
        nodes = range(found.nodes) if ranks is None else ranks
        if beyond := sorted(rank for rank in nodes if rank not in range(found.nodes)):
            raise UsageError(f"rank {beyond[0]}: {found.title} has nodes 0 to {found.nodes - 1}")
        if archived:
            if follow or container is not None:
                raise UsageError("archived logs are of the job's container, and not followed")
            return self._archived(found, first, nodes, since=since, tail=tail)
        if follow:
            follower = Follower(
                self.cluster,
                found,
                attempt=first,
                onwards=attempt is None,
                ranks=nodes,
                since=since,
                tail=tail,
                container=container,
                seconds=timeout,
                tell=self._tell,
            )
            return (JobLine.of(pod, line) for pod, line in follower)
        pods = chosen_pods(list_pods(self.cluster, found), attempt=first, ranks=nodes)
        if not pods:
            raise NotFoundError(
                f"{found.title} has no pods of attempt {first}, and no logs of it",
                "archived=True reads those in its artifact store",
            )
        pods = [pod.with_container(container) for pod in pods]
        return self._written(found, pods, since=since, tail=tail)

    def suspend(self, job: Named) -> JobView:
        """Stop the pods of a job after a checkpoint, and keep the job.

        Raises:
            UsageError: The job has ended or is being cancelled.
        """
        return suspend_job(self.cluster, self._find(job), suspend=True)

    def resume(self, job: Named) -> JobView:
        """Let a suspended job go on from its last checkpoint.

        Raises:
            UsageError: The job has ended or is being cancelled.
        """
        return suspend_job(self.cluster, self._find(job), suspend=False)

    def cancel(self, job: Named) -> JobView:
        """Stop a job permanently and keep it, with its record and artifacts.

        One that has ended is left as it is.
        """
        found = self._find(job)
        return found if found.ended else cancel_job(self.cluster, found)

    def delete(self, job: Named, *, wait: bool = True, timeout: float | None = None) -> None:
        """Delete a job and its pods; artifacts stay.

        Args:
            job: The job.
            wait: Return only when the job and its pods are gone.
            timeout: Seconds to wait; None waits for ever.

        Raises:
            NotFoundError: There is no such job.
            WaitTimeoutError: It takes too long; says what is still there.
        """
        found = self._find(job)
        self.cluster.delete(job_path(found.kind, found.namespace, found.name), uid=found.uid)
        if wait:
            wait_until_cleaned_up(self.cluster, found, seconds=timeout, tell=self._tell)

    def _archived(
        self,
        job: JobView,
        attempt: int,
        nodes: Collection[int],
        *,
        since: float | None,
        tail: int | None,
    ) -> Iterator[JobLine]:
        lines = archived_logs(job, tell=self._tell).lines(
            attempt=attempt, nodes=nodes, since=moment(since), tail=tail
        )
        for line in lines:
            pod = f"{job.name}-{line.attempt}-{line.node}"
            yield JobLine(pod, line.attempt, line.node, line.time, line.text)

    def _written(
        self, job: JobView, pods: Iterable[PodView], *, since: float | None, tail: int | None
    ) -> Iterator[JobLine]:
        for pod in pods:
            if not pod.started:
                self._tell(f"{pod.name} has no log yet ({pod.state})")
                continue
            for line in read_log(
                self.cluster,
                job.namespace,
                pod,
                follow=False,
                since=since,
                tail=tail,
                timestamps=True,
            ):
                yield JobLine.of(pod, line)

    def _find(self, job: Named) -> JobView:
        if isinstance(job, JobView):
            return JobView.read(self.cluster.get(job_path(job.kind, job.namespace, job.name)))
        (target,) = parse_job_names([job], at_most=1)
        return find_job(self.cluster, target)
