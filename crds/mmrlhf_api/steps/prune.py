"""What of a store stays, and what may go (ADR 0038)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le, MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import DnsLabel, JobName
from mmrlhf_api.uris import Uri

__all__ = ["PrunePart", "PruneSettings"]

Days = Annotated[float, Ge(0.0), Le(36500.0)]
Stores = Annotated[tuple[Uri, ...], Strict(strict=False), MaxLen(16), ListOf("atomic")]


class PruneSettings(ApiModel):
    """What stays.

    All that an alias, a run that has not ended, or a run that stays was made from stays with it,
    whatever is said here.
    """

    pipeline: JobName | None = None
    """Only runs of this pipeline may go; without it, those of all jobs."""
    namespace: DnsLabel | None = None
    """Only runs of this namespace may go."""
    last: Annotated[int, Ge(1), Le(1000)] = 3
    """Latest finished runs that stay: of each step of a pipeline, and of each other job by its
    name."""
    rollbacks: Annotated[int, Ge(1), Le(100)] | None = None
    """What stays of what an alias stood for before and a rollback may go to, the newest first;
    without it, all."""
    recent_days: Days = 7.0
    """Days for which everything stays that has ended, or was named by an alias."""
    wait_days: Days = 1.0
    """Days between the mark that a run is to go and its removal: whatever begins to need it
    meanwhile takes the mark away."""
    cache_days: Days = 30.0
    """Days after which a cached value goes; it is made anew where it is needed."""
    unfinished_days: Days | None = None
    """Days after which a run goes that has not ended and writes nothing; without it, such runs
    stay, as a job that is suspended may go on with them."""
    also: Stores = ()
    """Other stores whose aliases and runs may name something of this one."""


class PrunePart(PruneSettings):
    """Removes runs and cached values that nothing needs."""

    store: Uri | None = None
    """Folder of artifacts; without it, that of the job."""
    delete: bool = False
    """Whether to mark and remove; without it, the report says what would go."""
