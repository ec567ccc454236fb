"""When a pipeline runs, as one pure function of what is known.

``decide`` is level-triggered as ``plan`` is: it asks what is, not what happened. What it decides is
in the status before it is done (``starting``), and the name of a run is that of its time, so that
an operator that dies, or another one beside it, starts no run twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mmrlhf_api.schedule import (
    NewData,
    NewRankings,
    Schedule,
    ScheduleStatus,
    Seen,
    SkippedRun,
    StartedRun,
    SucceededRun,
)
from mmrlhf_operator.planning.history import outlived
from mmrlhf_operator.planning.times import Due, due
from mmrlhf_operator.state.schedules import SeenRun
from mmrlhf_operator.state.views import Finding

__all__ = ["Decision", "Listed", "Scheduled", "Sight", "decide", "run_name"]

_MAX_ACTIVE = 64
_WHILE_REPLACING = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A pipeline, as far as its schedule goes.

    Attributes:
        name: Its name.
        uid: Its identity.
        created: When it was created.
        generation: Of its spec.
        schedule: When it runs.
        suspended: Whether no runs are to be started.
        status: How it got on until now.
    """

    name: str
    uid: str
    created: datetime
    generation: int
    schedule: Schedule
    suspended: bool = False
    status: ScheduleStatus = field(default_factory=ScheduleStatus)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What lies below a prefix: the digest of all keys, sizes and ETags, and how much it is."""

    digest: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a look into the store found.

    Attributes:
        at: When it was taken.
        generation: Of the spec that says where to look.
        inputs: Digest of all that the steps read, and of the steps.
        new_data: What lies where the trigger of that name looks.
        new_rankings: Likewise; it counts rankings. None while there are more to count.
        problem: Why nothing was found out; None when something was.
    """

    at: datetime
    generation: int
    inputs: str | None = None
    new_data: Listed | None = None
    new_rankings: Listed | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do about the runs of a pipeline.

    Attributes:
        status: To be written before anything is done.
        start: Run to be made.
        cancel: Runs to be cancelled, as another one takes their place.
        delete: Runs to be deleted.
        look: Whether the store is to be looked at.
        wake: When to decide again, whatever happens; None: when something has.
        waits: Why a run that is due does not start.
    """

    status: ScheduleStatus
    start: StartedRun | None = None
    cancel: tuple[SeenRun, ...] = ()
    delete: tuple[SeenRun, ...] = ()
    look: bool = False
    wake: datetime | None = None
    waits: Finding | None = None


def run_name(pipeline: str, time: datetime) -> str:
    """Name of the run of a time: that of the pipeline, and the minutes since 1970, as CronJob."""
    return f"{pipeline}-{int(time.timestamp()) // 60}"


def decide(
    view: Scheduled,
    runs: Sequence[SeenRun],
    sight: Sight | None,
    *,
    now: datetime,
    look_seconds: float,
) -> Decision:
    """Return what to do about the runs of a pipeline.

    Args:
        view: The pipeline.
        runs: All runs of it.
        sight: The latest look into the store; None before the first one.
        now: Time of the decision.
        look_seconds: Time between two looks for triggers.
    """
    draft = _Draft(view, runs, sight, now, timedelta(seconds=look_seconds))
    draft.observe()
    draft.note_expression()
    if draft.finish_start():
        return draft.decision()
    if view.schedule.cron is None or view.suspended:
        draft.change(next_schedule_time=None)
    else:
        draft.follow_cron()
    if not view.suspended:
        draft.follow_triggers()
    return draft.decision()


class _Draft:
    """A decision in the making."""

    def __init__(
        self,
        view: Scheduled,
        runs: Sequence[SeenRun],
        sight: Sight | None,
        now: datetime,
        pause: timedelta,
    ) -> None:
        self.view, self.now, self.pause = view, now, pause
        self.sight = sight if sight is not None and sight.generation == view.generation else None
        self.runs = {run.name: run for run in runs}
        self.active = tuple(run for run in runs if run.ended is None)
        self.status = view.status
        self.start: StartedRun | None = None
        self.cancel: tuple[SeenRun, ...] = ()
        self.look = False
        self.wakes: list[datetime] = []
        self.waits: Finding | None = None

    def change(self, **fields: Any) -> None:  # noqa: ANN401 - fields of the status
        """Change fields of the status."""
        self.status = self.status.model_copy(update=fields)

    def observe(self) -> None:
        """Take into the status what is to be seen of runs and store."""
        self.change(active=tuple(sorted(run.name for run in self.active))[:_MAX_ACTIVE])
        done = [(run.ended, run.name, run) for run in self.runs.values() if run.succeeded]
        if done:
            ended, name, run = max(done, key=lambda one: one[:2])
            assert ended is not None
            known = self.status.last_success
            if known is None or ended > known.time:
                success = SucceededRun(name=name, time=_whole(ended), digest=run.digest)
                self.change(last_success=success)
        triggers, sight = self.view.schedule.triggers, self.sight
        for name in ("new_data", "new_rankings"):
            if triggers is None or getattr(triggers, name) is None:
                self.change(**{name: None})
            elif sight is not None and (listed := getattr(sight, name)) is not None:
                self._see(name, listed, at=_whole(sight.at))

    def note_expression(self) -> None:
        """Note since when cron is as it is: times before that are not missed."""
        schedule = self.view.schedule
        words = schedule.cron and f"{schedule.cron} {schedule.where.key}"
        if words != self.status.cron:
            # A spec that never changed had it from the beginning, whoever was there to see it.
            first = self.status.cron is None and self.view.generation == 1
            self.change(cron=words, since=self.view.created if first else _whole(self.now))

    def finish_start(self) -> bool:
        """Go on with a run that was decided on; whether it has yet to be made."""
        starting = self.status.starting
        if starting is None:
            return False
        if starting.name not in self.runs:
            self.start = starting
            return True
        self.change(starting=None, last_run=starting)
        return False

    def follow_cron(self) -> None:
        """Start the run of the latest time that has come, or say why not."""
        schedule, since = self.view.schedule, self.status.since
        assert since is not None
        since = max(since, self.status.last_schedule_time or since)
        found = due(schedule, uid=self.view.uid, since=since, now=self.now)
        following = found.following
        self.change(next_schedule_time=following)
        if found.astray:
            words = "it is ahead of the clock, which was wrong then or is now; goes on from now"
            self._skip(since, "ClockAstray", words, for_good=False)
            now = self.now.replace(microsecond=0)
            self.change(since=now, last_schedule_time=now)
        if following is not None:
            self.wakes.append(following)
        if found.time is None or found.starts is None:
            return
        if run_name(self.view.name, found.time) in self.runs:
            self.change(last_schedule_time=found.time)  # it was started, and that not written
            return
        deadline = schedule.starting_deadline_seconds
        if deadline is not None:
            latest = found.starts + timedelta(seconds=deadline)
            if self.now > latest:
                words = f"it could not start within {deadline} s"
                self._skip(found.time, "MissedDeadline", words, for_good=True)
                return
            self.wakes.append(latest + timedelta(seconds=1))
        if not self._has_changed(found):
            return
        if self._has_room("Cron", found.time):
            self._begin(found.time, "Cron", missed=found.missed)

    def follow_triggers(self) -> None:
        """Look whether there is something new, and start a run if there is enough of it."""
        triggers = self.view.schedule.triggers
        if triggers is None or self.start is not None:
            return
        looks_at = None if self.sight is None else self.sight.at + self.pause
        if looks_at is None or self.now >= looks_at:
            self.look = True
        else:
            self.wakes.append(looks_at)
        if self.sight is not None and self.sight.problem is not None:
            self._wait("LookUpFailed", self.sight.problem)
            return
        minute = self.now.replace(second=0, microsecond=0)
        for cause, trigger, seen in (
            ("NewData", triggers.new_data, self.status.new_data),
            ("NewRankings", triggers.new_rankings, self.status.new_rankings),
        ):
            if trigger is None or seen is None or not _is_new(trigger, seen):
                continue
            settled = seen.since + timedelta(seconds=trigger.settle_seconds)
            if self.sight is None or self.sight.at < settled:
                # Only a look tells that nothing has changed until then.
                self._look_from(settled)
                continue
            if run_name(self.view.name, minute) in self.runs:
                self.wakes.append(minute + timedelta(minutes=1))
                continue
            if self._has_room(cause, minute):
                self._begin(minute, cause)
            return

    def decision(self) -> Decision:
        """Return the decision."""
        schedule = self.view.schedule
        gone = outlived(
            self.runs.values(),
            successful=schedule.successful_runs_history_limit,
            failed=schedule.failed_runs_history_limit,
        )
        coming = [at for at in self.wakes if at > self.now]
        return Decision(
            status=self.status,
            start=self.start,
            cancel=self.cancel,
            delete=gone,
            look=self.look,
            wake=min(coming, default=None),
            waits=self.waits,
        )

    def _has_changed(self, found: Due) -> bool:
        """Whether a run may start as far as its data goes; if not, that is told, or looked at."""
        assert found.time is not None
        assert found.starts is not None
        if not self.view.schedule.skip_unchanged:
            return True
        if self.sight is None or self.sight.at < found.starts:
            self.look = True
            return False
        if self.sight.inputs is None:
            words = self.sight.problem or "the data could not be looked at"
            self._wait("LookUpFailed", words, time=found.time)
            self._look_from(self.sight.at + self.pause)
            return False
        success = self.status.last_success
        if success is not None and success.digest == self.sight.inputs:
            words = f"data and steps are those of {success.name}, which succeeded"
            self._skip(found.time, "Unchanged", words, for_good=True)
            return False
        return True

    def _has_room(self, cause: str, time: datetime) -> bool:
        """Whether a run may start beside those that go on."""
        policy = self.view.schedule.concurrency_policy
        if policy == "Allow" or not self.active:
            return True
        names = ", ".join(run.name for run in self.active[:3])
        names += f" and {len(self.active) - 3} more" if len(self.active) > 3 else ""
        since = time if cause == "Cron" else None
        if policy == "Replace":
            self.cancel = tuple(run for run in self.active if not (run.cancelled or run.deleting))
            words = f"waits until {names} has stopped, whose place it takes"
            self._wait("Replacing", words, time=since)
            self.wakes.append(self.now + _WHILE_REPLACING)
        else:
            self._wait("StillRunning", f"waits for the end of {names}", time=since)
        return False

    def _wait(self, reason: str, words: str, *, time: datetime | None = None) -> None:
        """Say why nothing starts now; with a time of cron, that this is why its run does not."""
        self.waits = Finding(reason=reason, message=words)
        if time is not None:
            self._skip(time, reason, words, for_good=False)

    def _begin(self, time: datetime, cause: str, *, missed: int = 0) -> None:
        digest = self.sight.inputs if self.sight is not None else None
        name = run_name(self.view.name, time)
        begun = StartedRun(name=name, time=time, cause=cause, missed=missed, digest=digest)
        self.start = begun
        self.change(starting=begun)
        if cause == "Cron":
            self.change(last_schedule_time=time)
        for name in ("new_data", "new_rankings"):
            seen: Seen | None = getattr(self.status, name)
            if seen is not None:
                taken = {"taken": seen.digest, "taken_count": seen.count}
                self.change(**{name: seen.model_copy(update=taken)})

    def _skip(self, time: datetime, reason: str, words: str, *, for_good: bool) -> None:
        self.change(last_skip=SkippedRun(time=time, reason=reason, message=words))
        if for_good:
            self.change(last_schedule_time=time)

    def _see(self, name: str, listed: Listed, *, at: datetime) -> None:
        known: Seen | None = getattr(self.status, name)
        if known is not None and known.digest == listed.digest:
            return
        known = known or Seen(digest=listed.digest, since=at)
        changes = {
            "digest": listed.digest,
            "since": at,
            "count": listed.count,
            # What was taken away does not count against what comes.
            "taken_count": min(known.taken_count, listed.count),
        }
        self.change(**{name: known.model_copy(update=changes)})

    def _look_from(self, moment: datetime) -> None:
        if self.now >= moment:
            self.look = True
        else:
            self.wakes.append(moment)


def _is_new(trigger: NewData | NewRankings, seen: Seen) -> bool:
    if isinstance(trigger, NewRankings):
        return seen.count - seen.taken_count >= trigger.at_least
    return seen.digest != seen.taken and (seen.count > 0 or seen.taken is not None)


def _whole(moment: datetime) -> datetime:
    """Whole seconds, as the API server keeps them: later ones, so that no wait is cut short."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0)
