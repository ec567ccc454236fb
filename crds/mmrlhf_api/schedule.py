"""When a pipeline runs: at times of a clock, and when there is something new to learn from."""

from __future__ import annotations

import zoneinfo
from enum import StrEnum
from typing import Annotated, Literal, Self

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, Strict, model_validator

from mmrlhf_api.base import ApiModel, ServerModel
from mmrlhf_api.cron import CRON_WORDS, EXPRESSION, NEVER, Cron, zone
from mmrlhf_api.errors import FieldError
from mmrlhf_api.rules import ListOf, Rule, Ruled
from mmrlhf_api.scalars import Count, DnsName, Matching, PositiveInt, Seconds, Text, Timestamp
from mmrlhf_api.status import CamelCase
from mmrlhf_api.uris import Uri

__all__ = [
    "ConcurrencyPolicy",
    "NewData",
    "NewRankings",
    "Schedule",
    "ScheduleCondition",
    "ScheduleStatus",
    "Seen",
    "SkippedRun",
    "StartedRun",
    "SucceededRun",
    "Triggers",
]

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]

_MAX_CRON = 128
_SETTLE = 600
Limit = Annotated[int, Ge(0), Le(1000)]


def _cron(text: str) -> str:
    Cron.parse(text)
    return text


def _zone(name: str) -> str:
    zone(name)
    return name


Expression = Annotated[
    str,
    MinLen(1),
    MaxLen(_MAX_CRON),
    AfterValidator(_cron),
    Ruled(
        Rule(
            f"self.matches('{EXPRESSION}')",
            "must have five fields, minute (0-59), hour (0-23), day of month (1-31), month (1-12 or"
            " JAN-DEC) and day of week (0-6 or SUN-SAT), or be one of " + ", ".join(CRON_WORDS),
        )
    ),
    Ruled(Rule(f"!self.matches('{NEVER}')", "never fires: that month has no such day")),
]
ZoneName = Annotated[
    str,
    MinLen(1),
    MaxLen(64),
    Matching("^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$", "a name such as Europe/Berlin"),
    AfterValidator(_zone),
]
_ON_S3 = Rule(
    "self.uri.startsWith('s3://')",
    "uri must be s3://bucket/prefix: the operator sees no path of the pods",
    field="uri",
    check=lambda self: self.uri.startswith("s3://"),
    detail="must be s3://bucket/prefix: the operator sees no path of the pods",
)


class NewData(ApiModel):
    """Run when objects below a prefix were added, changed or removed."""

    uri: Uri
    """Folder that is looked at: s3://bucket/prefix."""
    settle_seconds: Seconds = _SETTLE
    """Seconds for which nothing below it may change before a run starts."""

    rules = (_ON_S3,)


class NewRankings(ApiModel):
    """Run when people have ranked enough since the latest run."""

    uri: Uri
    """Folder of rankings: s3://bucket/prefix. A .jsonl file holds one a line, as annotate-import
    writes them; any other object is one, as Label Studio writes them into a storage."""
    at_least: PositiveInt
    """New rankings that are worth a run."""
    settle_seconds: Seconds = _SETTLE
    """Seconds for which nothing below it may change before a run starts."""

    rules = (_ON_S3,)


class Triggers(ApiModel):
    """What makes a run start without a clock; each of them does."""

    new_data: NewData | None = None
    """New data under a prefix."""
    new_rankings: NewRankings | None = None
    """So many new rankings."""

    rules = (
        Rule(
            "has(self.newData) || has(self.newRankings)",
            "give newData, newRankings or both",
            check=lambda self: self.new_data is not None or self.new_rankings is not None,
        ),
    )


class Schedule(ApiModel):
    """When a pipeline runs, by the rules of Kubernetes' CronJob where that has any.

    https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
    """

    cron: Expression | None = None
    """When to run, such as 0 3 * * 1 for Mondays at 3:00. A time that the clocks skip does not
    fire, one that they show twice fires twice."""
    time_zone: ZoneName | None = None
    """Time zone of cron by its name of the IANA, such as Europe/Berlin; without it, UTC."""
    jitter_seconds: Seconds = 0
    """A run starts up to so many seconds after its time: always as many for one pipeline, so that
    many of the same time are spread. Less than the shortest time between two of cron."""
    starting_deadline_seconds: PositiveInt | None = None
    """Seconds after its time when a run may still start, if it could not at once; without it, the
    latest one that was missed always starts."""
    triggers: Triggers | None = None
    """What makes a run start without a clock."""
    concurrency_policy: ConcurrencyPolicy = "Forbid"
    """When a run is due while an earlier one goes on: Allow lets both go on, Forbid lets the new
    one wait for its end, Replace cancels the earlier one."""
    skip_unchanged: bool = False
    """Skip a run by cron where data and steps are those of the latest run that succeeded: keys,
    sizes and ETags of all that the steps read from S3."""
    successful_runs_history_limit: Limit = 3
    """Runs that have succeeded to keep."""
    failed_runs_history_limit: Limit = 1
    """Runs that have failed to keep."""

    rules = (
        Rule(
            "has(self.cron) || has(self.triggers)",
            "give cron, triggers or both; without a schedule, runs start by hand alone",
            check=lambda self: self.cron is not None or self.triggers is not None,
        ),
        *(
            Rule(
                f"has(self.cron) || {cel}",
                f"{wire} needs cron",
                field=wire,
                check=check,
                detail="needs cron",
            )
            for wire, cel, check in (
                (
                    "timeZone",
                    "!has(self.timeZone)",
                    lambda self: self.cron is not None or self.time_zone is None,
                ),
                (
                    "jitterSeconds",
                    "self.jitterSeconds == 0",
                    lambda self: self.cron is not None or self.jitter_seconds == 0,
                ),
                (
                    "startingDeadlineSeconds",
                    "!has(self.startingDeadlineSeconds)",
                    lambda self: self.cron is not None or self.starting_deadline_seconds is None,
                ),
                (
                    "skipUnchanged",
                    "!self.skipUnchanged",
                    lambda self: self.cron is not None or not self.skip_unchanged,
                ),
            )
        ),
    )

    @model_validator(mode="after")
    def _starts_in_order(self) -> Self:
        # No rule of the CRDs: CEL knows no calendar.
        if self.cron is None or not self.jitter_seconds:
            return self
        shortest = int(Cron.parse(self.cron).shortest_interval().total_seconds())
        if self.jitter_seconds >= shortest:
            raise FieldError(
                "jitterSeconds",
                f"must be below {shortest}, the shortest time between two runs in seconds",
            )
        return self

    @property
    def where(self) -> zoneinfo.ZoneInfo:
        """Time zone of `cron`."""
        return zone(self.time_zone or "Etc/UTC")


class ScheduleCondition(StrEnum):
    """Type of the condition that pipelines with a schedule have besides those of all pipelines."""

    ON_SCHEDULE = "OnSchedule"
    """Runs start as the schedule says. False says what is in the way of the run that is due."""


Digest = Annotated[str, MaxLen(64)]


class StartedRun(ServerModel):
    """A run that was started by itself."""

    name: DnsName
    """Its name."""
    time: Timestamp
    """Time that it is for: that of cron, or when a trigger fired."""
    cause: CamelCase
    """What it was started by: Cron, NewData or NewRankings."""
    missed: Count = 0
    """Times of cron before it for which none was started, 101 for more than 100."""
    digest: Digest | None = None
    """Digest of its data and steps, where that was looked at."""


class SkippedRun(ServerModel):
    """A time of cron at which no run was started."""

    time: Timestamp
    """That time."""
    reason: CamelCase
    """Why: Unchanged, MissedDeadline, StillRunning, Replacing or LookUpFailed."""
    message: Text = ""
    """Why, in a sentence."""


class SucceededRun(ServerModel):
    """The latest run that succeeded."""

    name: DnsName
    """Its name."""
    time: Timestamp
    """When it did."""
    digest: Digest | None = None
    """Digest of its data and steps, where that was looked at."""


class Seen(ServerModel):
    """What lies below a prefix that a trigger looks at."""

    digest: Digest
    """Digest of all keys, sizes and ETags."""
    since: Timestamp
    """Since when it has been so, as the operator saw it."""
    count: Count = 0
    """Objects, or rankings."""
    taken: Digest | None = None
    """Digest when the latest run started."""
    taken_count: Count = 0
    """The count then."""


class ScheduleStatus(ServerModel):
    """How a pipeline gets on with its schedule."""

    cron: Annotated[str, MaxLen(256)] | None = None
    """Expression and time zone that count from `since`."""
    since: Timestamp | None = None
    """Since when they are so: earlier times are not missed."""
    last_schedule_time: Timestamp | None = None
    """Latest time of cron that is done with: a run was started for it, or skipped for good."""
    next_schedule_time: Timestamp | None = None
    """When the next run by cron starts, jitter added; absent while suspended."""
    starting: StartedRun | None = None
    """Run that is decided and not made yet."""
    last_run: StartedRun | None = None
    """Latest run that was started by itself."""
    last_skip: SkippedRun | None = None
    """Latest time at which none was."""
    last_success: SucceededRun | None = None
    """Latest run that succeeded, however it was started."""
    active: Annotated[tuple[DnsName, ...], Strict(strict=False), MaxLen(64), ListOf("atomic")] = ()
    """Runs that have not ended, the first 64 of them."""
    new_data: Seen | None = None
    """What the trigger newData saw."""
    new_rankings: Seen | None = None
    """What the trigger newRankings saw."""
