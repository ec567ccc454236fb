"""Which jobs are meant: ``KIND``, ``NAME``, ``KIND NAME...`` or ``KIND/NAME...``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from mmrlhf.client.choice import Choice
from mmrlhf.client.cluster import Cluster
from mmrlhf.client.paths import job_path
from mmrlhf.client.views import JobView
from mmrlhf.errors import ClusterError, NotFoundError, UsageError
from mmrlhf_api.errors import UnknownKindError
from mmrlhf_api.kinds import KINDS, Kind, find_kind
from mmrlhf_api.kinds.registry import find_among
from mmrlhf_api.pipelines.resources import all_resources

__all__ = [
    "Target",
    "Targets",
    "choose_jobs",
    "find_job",
    "find_jobs",
    "list_jobs",
    "parse_job_names",
    "parse_targets",
]


@dataclass(frozen=True)
class Target:
    """One job: its name, and its kind where the user gave it."""

    kind: Kind | None
    name: str


@dataclass(frozen=True)
class Targets:
    """Kinds to list, or jobs.

    Attributes:
        kinds: Kinds that were named; all when none was.
        jobs: Jobs that were named; empty means all of the kinds.
    """

    kinds: tuple[Kind, ...]
    jobs: tuple[Target, ...]


def parse_targets(words: Sequence[str]) -> Targets:
    """Return what the arguments of a command mean.

    Raises:
        UsageError: A kind is unknown, or forms are mixed.
    """
    if not words:
        return Targets(tuple(KINDS.values()), ())
    if any("/" in word for word in words):
        return Targets((), tuple(_slashed(word) for word in words))
    kinds = _kinds(words[0])
    if kinds is None:
        return Targets((), tuple(Target(None, word) for word in words))
    if len(words) == 1:
        return Targets(kinds, ())
    if len(kinds) > 1:
        raise UsageError(
            f"{words[0]} {words[1]}: give one kind with names, or KIND/NAME for each",
        )
    return Targets(kinds, tuple(Target(kinds[0], word) for word in words[1:]))


def parse_job_names(words: Sequence[str], *, at_most: int | None = None) -> tuple[Target, ...]:
    """Return the jobs that the arguments of a command name.

    Raises:
        UsageError: They name none, or too many.
    """
    targets = parse_targets(words)
    if not targets.jobs:
        named = f"{words[0]} is a kind: " if words else ""
        raise UsageError(f"{named}name a job, as NAME, KIND NAME or KIND/NAME")
    if at_most is not None and len(targets.jobs) > at_most:
        raise UsageError(f"this takes one job; {' '.join(words)} are more")
    return targets.jobs


def find_job(cluster: Cluster, target: Target) -> JobView:
    """Return a job.

    Raises:
        NotFoundError: There is none; says what is near.
        UsageError: Jobs of several kinds have that name.
    """
    kinds = tuple(KINDS.values()) if target.kind is None else (target.kind,)
    found: list[JobView] = []
    problem: ClusterError | None = None
    for kind in kinds:
        try:
            body = cluster.get(job_path(kind, cluster.namespace, target.name))
        except NotFoundError:
            continue
        except ClusterError as error:
            problem = problem or error
            continue
        found.append(JobView.read(body))
    if len(found) > 1:
        choice = " or ".join(job.argument for job in found)
        raise UsageError(
            f"{target.name} is the name of jobs of several kinds: say {choice}",
        )
    if found:
        return found[0]
    if problem is not None:
        raise problem
    raise _no_job(cluster, target, kinds)


def find_jobs(cluster: Cluster, targets: Sequence[Target]) -> list[JobView]:
    """Return jobs in the order in which they were named; see `find_job`."""
    return [find_job(cluster, target) for target in targets]


def choose_jobs(cluster: Cluster, choice: Choice) -> list[JobView]:
    """Return the jobs of a choice, in the order in which they were named, or that of their names.

    Raises:
        NotFoundError: One that was named is not there; says what is near.
        UsageError: It names no jobs, or both some and all of them.
    """
    if choice.named:
        return find_jobs(cluster, parse_job_names(choice.words))
    targets = parse_targets(choice.words)
    if targets.jobs:
        option = "all" if choice.everything else "selector"
        raise UsageError(f"{option} does not go with names of jobs", argument=option)
    return list_jobs(cluster, targets.kinds, cluster.namespace, selector=choice.selector)


def list_jobs(
    cluster: Cluster, kinds: Sequence[Kind], namespace: str | None, *, selector: str | None = None
) -> list[JobView]:
    """Return all jobs of some kinds.

    Args:
        cluster: Where.
        kinds: Their kinds.
        namespace: Their namespace; None stands for all.
        selector: Label selector; None takes all.
    """
    query = {} if selector is None else {"labelSelector": selector}
    return [
        JobView.read(item)
        for kind in kinds
        for item in cluster.list(job_path(kind, namespace), query=query)[0]
    ]


def _slashed(word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash or not name or "/" in name:
        raise UsageError(f"{word}: where one job is KIND/NAME, all must be so")
    try:
        return Target(find_kind(kind), name)
    except UnknownKindError as error:
        raise UsageError(str(error)) from error


def _kinds(word: str) -> tuple[Kind, ...] | None:
    found = []
    for part in word.split(","):
        try:
            found.append(find_kind(part))
        except UnknownKindError as error:
            if "," in word:  # names have no commas
                raise UsageError(str(error)) from error
            return None
    return tuple(found)


def _no_job(cluster: Cluster, target: Target, kinds: Sequence[Kind]) -> NotFoundError:
    what = "job" if target.kind is None else target.kind.name
    text = f"no {what} named {target.name} in namespace {cluster.namespace}"
    near: list[str] = []
    for kind in kinds:
        items, _ = cluster.list(job_path(kind, cluster.namespace))
        near += [str(item["metadata"]["name"]) for item in items]
    close = difflib.get_close_matches(target.name, near, n=1)
    if not close and target.kind is None:
        close = _near_kinds(target.name)
    return NotFoundError(f"{text}; did you mean {close[0]}?" if close else text)


def _near_kinds(name: str) -> list[str]:
    """Return what is said of a name that may be a misspelt kind."""
    try:
        find_among(name, all_resources())
    except UnknownKindError as error:
        return [] if error.suggestion is None else [f"the kind {error.suggestion}"]
    return []
