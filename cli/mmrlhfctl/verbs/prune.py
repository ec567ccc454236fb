"""``prune``: what of a store nothing needs, for a pipeline with what its cluster knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmrlhf.client.cluster import Cluster, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import list_jobs
from mmrlhf.client.runs import list_of, read, run_targets
from mmrlhf.client.views import JobView
from mmrlhf_api import KINDS
from mmrlhf_api.constants import Phase
from mmrlhf_api.pipelines import PIPELINE, RUN
from mmrlhf_api.runs import RunLayout
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode

__all__ = ["needs_of_job", "needs_of_run", "read_store"]

_OVER = frozenset({Phase.SUCCEEDED, Phase.FAILED})


def read_store(connection: Connection, store: str) -> tuple[str, list[str]]:
    """Return the folder of artifacts that is meant, and what the step is told of it.

    Args:
        connection: Which cluster, for a pipeline.
        store: Folder of artifacts, or ap/NAME.

    Raises:
        CliError: It is a job or a run, or the pipeline names no store.
        MmrlhfError: There is no such pipeline, or the cluster cannot be asked.
    """
    targets = None if "://" in store or store.startswith(("/", ".")) else run_targets([store])
    if targets is None:
        return store, []
    if not (targets.named and targets.named[0][0] is PIPELINE):
        raise CliError(
            f"{store}: name a folder of artifacts or a pipeline, such as ap/weekly",
            code=ExitCode.USAGE,
        )
    cluster = open_cluster(connection)
    (pipeline,) = read(cluster, targets)
    artifacts = pipeline["spec"].get("artifacts")
    if artifacts is None:
        raise CliError(
            f"{store}: has no spec.artifacts; name its folder of artifacts, and --pipeline",
            code=ExitCode.USAGE,
        )
    meta = pipeline["metadata"]
    own = {"pipeline": meta["name"], "namespace": meta["namespace"]}
    own |= {name: artifacts[name] for name in ("endpoint", "region") if name in artifacts}
    given = [f"--{name}={value}" for name, value in own.items()]
    needs = [f"--need={uri}" for uri in sorted(set(_needs(cluster, meta["namespace"])))]
    return str(artifacts["uri"]), [*given, *needs]


def _needs(cluster: Cluster, namespace: str) -> Iterator[str]:
    for run in list_of(cluster, RUN, namespace):
        yield from needs_of_run(run)
    for job in list_jobs(cluster, tuple(KINDS.values()), namespace):
        yield from needs_of_job(job)


def needs_of_run(run: Mapping[str, Any]) -> Iterator[str]:
    """What a run that has not ended may still hand to its steps: all that they have left."""
    status = run.get("status") or {}
    if status.get("phase") in _OVER:
        return
    for step in status.get("steps") or ():
        if step.get("manifest"):
            yield str(step["manifest"])
        yield from (str(one["uri"]) for one in step.get("outputs") or () if "uri" in one)


def needs_of_job(job: JobView) -> Iterator[str]:
    """What a job that has not ended reads, and its own run."""
    if job.status.get("phase") in _OVER:
        return
    spec = job.spec
    root = (spec.get("artifacts") or {}).get("uri")
    if root is not None:
        yield RunLayout.named(job.namespace, job.name, job.uid).within(str(root)).prefix
    try:
        parsed = job.kind.model.model_validate(
            {**job.body, "status": None}, by_alias=True, by_name=False
        )
    except ValueError:
        return  # it is not valid, and so it will read nothing
    yield from (one.uri for one in job.kind.inputs(parsed.spec))
