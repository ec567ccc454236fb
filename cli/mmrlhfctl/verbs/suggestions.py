"""Words that a shell offers for a job: kinds, and the names of jobs in the cluster."""

from __future__ import annotations

from dataclasses import replace

from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.paths import job_path
from mmrlhf.errors import MmrlhfError
from mmrlhf_api.kinds import KINDS

__all__ = ["suggest_jobs"]

_SECONDS = 2.0
"""A shell that completes waits for the answer."""


def suggest_jobs(connection: Connection, incomplete: str) -> list[str]:
    """Return the words that may become of what was typed so far.

    Before a slash there are kinds as well; behind one only jobs of that kind are named. A cluster
    that does not answer at once has no jobs to offer.
    """
    prefix, slash, _ = incomplete.rpartition("/")
    kinds = [kind for kind in KINDS.values() if not slash or prefix.lower() in kind.aliases]
    words = [] if slash else [kind.short_name for kind in kinds]
    try:
        cluster = open_cluster(replace(connection, request_timeout=_SECONDS))
        for kind in kinds:
            items, _ = cluster.list(job_path(kind, cluster.namespace))
            words += [f"{prefix}{slash}{item['metadata']['name']}" for item in items]
    except MmrlhfError:
        pass
    return sorted({word for word in words if word.startswith(incomplete)})
