"""When a pipeline runs, on a scripted clock."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_api.cron import Cron, fires_after, zone
from mmrlhf_api.schedule import Schedule, ScheduleStatus
from mmrlhf_operator.planning.history import outlived
from mmrlhf_operator.planning.schedules import (
    Decision,
    Listed,
    Scheduled,
    Sight,
    decide,
    run_name,
)
from mmrlhf_operator.planning.times import jitter
from mmrlhf_operator.state.schedules import SeenRun
from mmrlhf_operator.state.views import Finding

LOOK = 60.0
UID = "7c7a7b5e-4f0e-4d43-9f2e-6a2b8f1f6f10"


def at(text: str) -> datetime:
    """A moment of 2026, such as 01-31 12:00."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


@dataclass
class World:
    """A pipeline, its runs and its store; only the clock is told what it is."""

    schedule: dict[str, Any]
    now: datetime = field(default_factory=lambda: at("01-01 00:00"))
    lasts: timedelta | None = timedelta(minutes=1)
    suspended: bool = False
    generation: int = 1
    runs: dict[str, SeenRun] = field(default_factory=dict)
    status: ScheduleStatus = field(default_factory=ScheduleStatus)
    sight: Sight | None = None
    inputs: str = "a"
    data: Listed = field(default_factory=lambda: Listed(digest="none", count=0))
    rankings: Listed = field(default_factory=lambda: Listed(digest="none", count=0))
    problem: str | None = None
    succeeds: bool = True
    looks: int = 0
    starts: list[tuple[datetime, str, datetime]] = field(default_factory=list)
    skips: list[tuple[datetime, str]] = field(default_factory=list)
    last: Decision | None = None

    def __post_init__(self) -> None:
        self.created = self.now

    def view(self) -> Scheduled:
        return Scheduled(
            name="weekly",
            uid=UID,
            created=self.created,
            generation=self.generation,
            schedule=Schedule.model_validate(self.schedule),
            suspended=self.suspended,
            status=self.status,
        )

    def decide(self) -> Decision:
        return decide(
            self.view(), tuple(self.runs.values()), self.sight, now=self.now, look_seconds=LOOK
        )

    def settle(self) -> Decision:
        """Decide and do, until nothing is to be done."""
        for _ in range(20):
            self.end_runs()
            made = self.decide()
            changed = made.status != self.status
            skip = made.status.last_skip
            if skip is not None and skip != self.status.last_skip:
                self.skips.append((skip.time, skip.reason))
            self.status = made.status
            self.do(made)
            if not (changed or made.start or made.look or made.cancel or made.delete):
                self.last = made
                return made
        raise AssertionError("never at rest")

    def do(self, made: Decision) -> None:
        if made.look:
            self.look()
        if made.start is not None:
            begun = made.start
            assert begun.name not in self.runs, "started twice"
            self.runs[begun.name] = SeenRun(
                name=begun.name,
                uid=begun.name,
                created=self.now,
                digest=begun.digest,
            )
            self.starts.append((self.now, begun.cause, begun.time))
        for run in made.cancel:
            self.runs[run.name] = replace(run, cancelled=True)
        for run in made.delete:
            assert run.ended is not None
            del self.runs[run.name]

    def look(self) -> None:
        self.looks += 1
        triggers = Schedule.model_validate(self.schedule).triggers
        clear = triggers is not None and self.problem is None
        self.sight = Sight(
            at=self.now,
            generation=self.generation,
            inputs=None if self.problem else self.inputs,
            new_data=self.data if clear and triggers and triggers.new_data else None,
            new_rankings=self.rankings if clear and triggers and triggers.new_rankings else None,
            problem=self.problem,
        )

    def end_runs(self) -> None:
        for name, run in self.runs.items():
            over = self.lasts is not None and self.now >= run.created + self.lasts
            if run.ended is None and (over or run.cancelled):
                succeeded = self.succeeds and not run.cancelled
                self.runs[name] = replace(run, ended=self.now, succeeded=succeeded)

    def until(self, end: datetime) -> None:
        """Let time pass: something is decided when it was asked for, and when a run ends."""
        self.settle()
        while True:
            assert self.last is not None
            ends = [
                run.created + self.lasts
                for run in self.runs.values()
                if run.ended is None and self.lasts is not None
            ]
            following = min([*ends, *([self.last.wake] if self.last.wake else [])], default=end)
            if following >= end:
                break
            assert following > self.now
            self.now = following
            self.settle()
        self.now = end
        self.settle()

    @property
    def times(self) -> list[datetime]:
        return [time for _, _, time in self.starts]


def test_starts_a_run_at_each_time_and_none_else() -> None:
    world = World({"cron": "0 */6 * * *"})
    world.until(at("01-03 00:30"))
    expected = [at("01-01 06:00") + timedelta(hours=6 * n) for n in range(8)]
    assert world.times == expected
    assert [moment for moment, _, _ in world.starts] == expected
    assert world.status.last_schedule_time == expected[-1]
    assert world.status.next_schedule_time == at("01-03 06:00")
    assert world.status.last_run is not None
    assert world.status.last_run.name == run_name("weekly", expected[-1])
    assert world.looks == 0, "nothing needs the store"


def test_history_keeps_what_the_limits_say() -> None:
    world = World({"cron": "0 * * * *", "successfulRunsHistoryLimit": 2})
    world.until(at("01-01 06:30"))
    kept = {run_name("weekly", at(time)) for time in ("01-01 05:00", "01-01 06:00")}
    assert world.runs.keys() == kept


@pytest.mark.parametrize(
    ("zone_name", "cron", "start", "end", "expected"),
    [
        # 2:30 is skipped on the 29th of March, and shown twice on the 25th of October.
        ("Europe/Berlin", "30 2 * * *", "03-28", "03-31", ["03-28 01:30", "03-30 00:30"]),
        (
            "Europe/Berlin",
            "30 2 * * *",
            "10-24",
            "10-27",
            ["10-24 00:30", "10-25 00:30", "10-25 01:30", "10-26 01:30"],
        ),
        ("America/New_York", "0 0 * * 1", "11-01", "11-10", ["11-02 05:00", "11-09 05:00"]),
    ],
)
def test_follows_the_clocks_of_its_zone(
    zone_name: str, cron: str, start: str, end: str, expected: list[str]
) -> None:
    world = World({"cron": cron, "timeZone": zone_name}, now=at(f"{start} 00:00"))
    world.until(at(f"{end} 00:00"))
    assert world.times == [at(time) for time in expected]


# What happens while nobody decides, from `down` to `up`: schedule, times of the runs started by
# then, how many were missed, and what was skipped.
AWAY: list[tuple[dict[str, Any], str, str, list[str], int, list[tuple[str, str]]]] = [
    # Nothing was due.
    ({}, "01-01 01:10", "01-01 01:50", ["01-01 01:00"], 0, []),
    # One run for all that were missed, and that of the latest time.
    ({}, "01-01 01:10", "01-01 05:10", ["01-01 01:00", "01-01 05:00"], 3, []),
    # More than a hundred: told, and the latest one starts all the same.
    ({}, "01-01 01:10", "01-09 00:10", ["01-01 01:00", "01-09 00:00"], 101, []),
    # Too late.
    (
        {"startingDeadlineSeconds": 300},
        "01-01 01:10",
        "01-01 05:10",
        ["01-01 01:00"],
        0,
        [("01-01 05:00", "MissedDeadline")],
    ),
    # Late, but not too late.
    (
        {"startingDeadlineSeconds": 600},
        "01-01 01:10",
        "01-01 05:10",
        ["01-01 01:00", "01-01 05:00"],
        3,
        [],
    ),
]


@pytest.mark.parametrize(("fields", "down", "up", "times", "missed", "skips"), AWAY)
def test_makes_up_for_what_was_missed_once(
    fields: dict[str, Any],
    down: str,
    up: str,
    times: list[str],
    missed: int,
    skips: list[tuple[str, str]],
) -> None:
    world = World({"cron": "0 * * * *", **fields})
    world.until(at(down))
    world.now = at(up)
    world.settle()
    assert world.times == [at(time) for time in times]
    assert world.skips == [(at(time), reason) for time, reason in skips]
    if len(times) > 1:
        assert world.status.last_run is not None
        assert world.status.last_run.missed == missed


def test_a_pipeline_created_while_nobody_was_there_is_started_for_what_it_missed() -> None:
    world = World({"cron": "0 * * * *"})
    world.now = at("01-01 03:20")
    world.settle()
    assert world.times == [at("01-01 03:00")]


def test_a_schedule_that_is_given_later_or_changed_misses_nothing_of_before() -> None:
    world = World({"cron": "0 0 1 1 *"}, now=at("01-02 00:00"))
    world.until(at("01-05 12:30"))
    world.schedule, world.generation = {"cron": "0 * * * *"}, 2
    world.settle()
    assert world.times == []
    world.until(at("01-05 13:30"))
    assert world.times == [at("01-05 13:00")]
    fresh = World({"cron": "0 * * * *"}, generation=3)
    fresh.now = at("01-01 03:20")
    fresh.settle()
    assert fresh.times == []
    fresh.until(at("01-01 04:20"))
    assert fresh.times == [at("01-01 04:00")]


def test_suspended_nothing_starts_and_one_run_makes_up_for_it() -> None:
    world = World({"cron": "0 * * * *"})
    world.until(at("01-01 01:30"))
    world.suspended = True
    world.until(at("01-01 04:30"))
    assert world.times == [at("01-01 01:00")]
    assert world.status.next_schedule_time is None
    world.suspended = False
    world.until(at("01-01 05:30"))
    assert world.times == [at("01-01 01:00"), at("01-01 04:00"), at("01-01 05:00")]


def test_forbid_waits_for_the_end_and_then_starts_the_latest() -> None:
    world = World({"cron": "0 * * * *"}, lasts=timedelta(minutes=150))
    world.until(at("01-01 07:00"))
    assert world.starts == [
        (at("01-01 01:00"), "Cron", at("01-01 01:00")),
        (at("01-01 03:30"), "Cron", at("01-01 03:00")),
        (at("01-01 06:00"), "Cron", at("01-01 06:00")),
    ]
    assert (at("01-01 02:00"), "StillRunning") in world.skips
    assert world.last is not None
    name = run_name("weekly", at("01-01 06:00"))
    assert world.last.waits == Finding(
        reason="StillRunning", message=f"waits for the end of {name}"
    )


def test_forbid_with_a_deadline_skips_what_is_too_late_by_then() -> None:
    world = World(
        {"cron": "0 * * * *", "startingDeadlineSeconds": 60}, lasts=timedelta(minutes=150)
    )
    world.until(at("01-01 04:30"))
    assert world.times == [at("01-01 01:00"), at("01-01 04:00")]
    assert (at("01-01 02:00"), "MissedDeadline") in world.skips
    assert (at("01-01 03:00"), "MissedDeadline") in world.skips


def test_allow_starts_beside_what_goes_on() -> None:
    world = World({"cron": "0 * * * *", "concurrencyPolicy": "Allow"}, lasts=None)
    world.until(at("01-01 03:30"))
    assert len(world.times) == 3
    assert len(world.status.active) == 3


def test_replace_cancels_and_starts_once_that_has_ended() -> None:
    world = World({"cron": "0 * * * *", "concurrencyPolicy": "Replace"}, lasts=None)
    world.until(at("01-01 01:30"))
    world.now = at("01-01 02:00")
    made = world.decide()
    assert [run.name for run in made.cancel] == [run_name("weekly", at("01-01 01:00"))]
    assert made.start is None, "not before the other has stopped"
    world.do(made)
    assert world.decide().cancel == (), "once"
    world.until(at("01-01 02:30"))
    assert world.times == [at("01-01 01:00"), at("01-01 02:00")]
    first = world.runs[run_name("weekly", at("01-01 01:00"))]
    assert first.cancelled
    assert not first.succeeded


def test_jitter_is_the_same_for_each_run_and_spread_over_pipelines() -> None:
    world = World({"cron": "0 * * * *", "jitterSeconds": 600})
    later = jitter(UID, 600)
    world.until(at("01-01 04:30"))
    assert later > timedelta(0)
    assert world.starts == [
        (at(f"01-01 0{n}:00") + later, "Cron", at(f"01-01 0{n}:00")) for n in range(1, 5)
    ]
    spread = Counter(int(jitter(f"uid-{n}", 599).total_seconds()) // 60 for n in range(6000))
    assert sorted(spread) == list(range(10))
    # 600 each: four standard deviations of a fair draw are 93.
    assert all(abs(count - 600) < 93 for count in spread.values())
    early = World({"cron": "0 * * * *", "jitterSeconds": 600}, now=at("01-01 00:30"))
    early.settle()
    early.now = at("01-01 01:00") + later - timedelta(seconds=1)
    early.settle()
    assert early.starts == [], "whenever it is asked"
    assert {jitter(f"uid-{n}", 1) for n in range(20)} == {timedelta(0), timedelta(seconds=1)}
    assert jitter(UID, 0) == timedelta(0)


def test_a_deadline_counts_from_the_start_with_jitter() -> None:
    world = World({"cron": "0 * * * *", "jitterSeconds": 600, "startingDeadlineSeconds": 5})
    world.until(at("01-01 04:30"))
    assert len(world.times) == 4


# Jumps of the clock at 01:30, after the run of 01:00, and the runs until 2 hours later on it.
JUMPS = [
    (timedelta(minutes=-20), ["01:00", "02:00", "03:00"]),  # 01:10 again
    (timedelta(minutes=-45), ["01:00", "02:00"]),  # 00:45: 01:00 comes twice, and starts once
    (timedelta(minutes=45), ["01:00", "02:00", "03:00", "04:00"]),
    (timedelta(hours=5), ["01:00", "06:00", "07:00", "08:00"]),  # one for the 02:00 to 06:00
]


@pytest.mark.parametrize(("jump", "times"), JUMPS)
def test_a_clock_that_jumps_starts_nothing_twice(jump: timedelta, times: list[str]) -> None:
    world = World({"cron": "0 * * * *"})
    world.until(at("01-01 01:30"))
    world.now += jump
    world.settle()
    following = world.status.next_schedule_time
    assert following is not None
    assert following > max(world.now, world.times[-1])
    world.until(world.now + timedelta(hours=2))
    assert world.times == [at(f"01-01 {time}") for time in times]


def test_a_clock_that_was_a_year_ahead_holds_nothing_up() -> None:
    world = World({"cron": "0 * * * *", "concurrencyPolicy": "Allow"})
    world.until(at("01-01 01:30"))
    world.now = at("12-01 00:10")
    world.settle()
    world.now = at("01-01 01:40")
    world.until(at("01-01 03:30"))
    times = ("01-01 01:00", "12-01 00:00", "01-01 02:00", "01-01 03:00")
    assert world.times == [at(time) for time in times]
    assert (at("12-01 00:00"), "ClockAstray") in world.skips


def test_unchanged_data_is_skipped_after_a_run_that_succeeded_and_looked_at_once_a_time() -> None:
    world = World({"cron": "0 * * * *", "skipUnchanged": True})
    world.until(at("01-01 03:30"))
    assert world.times == [at("01-01 01:00")]
    assert world.skips == [(at("01-01 02:00"), "Unchanged"), (at("01-01 03:00"), "Unchanged")]
    assert world.looks == 3
    world.inputs = "b"
    world.until(at("01-01 04:30"))
    assert world.times[1:] == [at("01-01 04:00")]


def test_only_a_look_at_the_start_or_later_tells_that_nothing_has_changed() -> None:
    world = World(
        {
            "cron": "0 * * * *",
            "jitterSeconds": 600,
            "skipUnchanged": True,
            "triggers": {"newData": {"uri": "s3://b/new"}},
        }
    )
    world.until(at("01-01 01:50"))
    assert len(world.times) == 1
    start = at("01-01 02:00") + jitter(UID, 600)
    world.until(start - timedelta(seconds=1))
    assert world.sight is not None
    assert world.sight.at > at("01-01 02:00"), "the trigger looked after the time"
    world.inputs = "b"
    world.now = start
    world.settle()
    assert len(world.times) == 2


def test_a_run_that_somebody_deleted_is_not_started_again() -> None:
    world = World({"cron": "0 * * * *"})
    world.until(at("01-01 01:30"))
    world.runs.clear()
    world.until(at("01-01 01:50"))
    assert world.times == [at("01-01 01:00")]


def test_a_run_that_is_there_is_not_started_again_though_the_status_was_lost() -> None:
    world = World({"cron": "0 * * * *"})
    world.until(at("01-01 01:30"))
    world.status = ScheduleStatus()
    world.until(at("01-01 01:50"))
    assert world.times == [at("01-01 01:00")]


def test_a_run_that_failed_is_no_reason_to_skip() -> None:
    world = World({"cron": "0 * * * *", "skipUnchanged": True}, succeeds=False)
    world.until(at("01-01 03:30"))
    assert len(world.times) == 3
    world.succeeds = True
    world.until(at("01-01 05:30"))
    assert len(world.times) == 4


def test_what_cannot_be_looked_at_waits_is_told_and_paced() -> None:
    world = World({"cron": "0 * * * *", "skipUnchanged": True}, problem="access denied")
    world.until(at("01-01 01:05:30"))
    assert world.times == []
    assert world.skips == [(at("01-01 01:00"), "LookUpFailed")]
    assert world.looks == 6, "once a minute"
    world.problem = None
    world.until(at("01-01 01:07"))
    assert world.times == [at("01-01 01:00")]


def test_new_data_starts_a_run_once_it_is_quiet() -> None:
    world = World(
        {"triggers": {"newData": {"uri": "s3://b/new", "settleSeconds": 300}}},
        now=at("01-01 00:00"),
    )
    world.until(at("01-01 01:00"))
    assert world.starts == [], "an empty prefix is nothing new"
    for minute in range(4):  # somebody uploads for four minutes
        world.data = Listed(digest=f"part {minute}", count=minute + 1)
        world.until(at(f"01-01 01:0{minute + 1}"))
    world.until(at("01-01 02:00"))
    [(moment, cause, _)] = world.starts
    assert cause == "NewData"
    # Last seen to change within a minute of 01:04, and then quiet for five, as looks tell.
    assert at("01-01 01:08") <= moment <= at("01-01 01:11")
    world.data = Listed(digest="removed", count=1)
    world.until(at("01-01 03:00"))
    assert [cause for _, cause, _ in world.starts] == ["NewData", "NewData"]
    assert world.looks <= 185, "a look a minute at most"


def test_only_a_look_tells_that_it_was_quiet() -> None:
    world = World({"triggers": {"newData": {"uri": "s3://b/new", "settleSeconds": 90}}})
    world.data = Listed(digest="x", count=1)
    world.settle()  # seen at 00:00, and quiet until 00:01:30
    world.now += timedelta(seconds=55)
    world.until(at("01-01 00:01"))
    world.data = Listed(digest="y", count=2)
    world.now = at("01-01 00:01:30")
    made = world.settle()
    assert world.starts == []
    assert made.start is None
    assert world.looks == 3, "at once, when it should be quiet"


def test_data_that_is_there_from_the_beginning_is_new() -> None:
    world = World({"triggers": {"newData": {"uri": "s3://b/new", "settleSeconds": 0}}})
    world.data = Listed(digest="x", count=3)
    world.until(at("01-01 01:00"))
    assert len(world.starts) == 1


def test_so_many_new_rankings_start_a_run_and_count_anew() -> None:
    world = World(
        {"triggers": {"newRankings": {"uri": "s3://b/r", "atLeast": 100, "settleSeconds": 0}}}
    )
    started = []
    for hour, count in enumerate([0, 99, 100, 150, 199, 200, 40, 139, 140]):
        world.rankings = Listed(digest=str(count), count=count)
        world.until(at(f"01-01 0{hour}:59"))
        started.append(len(world.starts))
    # 40 are left of 200: what was taken away does not count against what comes.
    assert started == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert {cause for _, cause, _ in world.starts} == {"NewRankings"}


def test_a_run_by_cron_takes_what_is_new_by_then() -> None:
    world = World(
        {
            "cron": "30 * * * *",
            "triggers": {"newData": {"uri": "s3://b/new", "settleSeconds": 1200}},
        }
    )
    world.until(at("01-01 00:20"))
    world.data = Listed(digest="x", count=1)
    world.until(at("01-01 01:29"))
    assert [cause for _, cause, _ in world.starts] == ["Cron"]


def test_a_trigger_waits_for_a_run_that_goes_on_and_forgets_nothing() -> None:
    world = World(
        {"triggers": {"newData": {"uri": "s3://b/new", "settleSeconds": 0}}},
        lasts=timedelta(hours=2),
    )
    world.data = Listed(digest="x", count=1)
    world.until(at("01-01 01:00"))
    world.data = Listed(digest="y", count=2)
    world.until(at("01-01 01:50"))
    assert len(world.starts) == 1
    world.until(at("01-01 03:00"))
    assert len(world.starts) == 2


def test_what_a_look_found_for_another_spec_is_not_used() -> None:
    world = World({"triggers": {"newData": {"uri": "s3://b/old", "settleSeconds": 0}}})
    world.until(at("01-01 00:30"))
    world.schedule = {"triggers": {"newData": {"uri": "s3://b/new", "settleSeconds": 0}}}
    world.generation += 1
    assert world.decide().look


@dataclass
class Crash(Exception):  # noqa: N818 - it is none of ours
    """The process ends here."""


def dying(world: World, draw: random.Random, share: float) -> None:
    """Decide and do as an operator that may die between any two writes, and as another beside it.

    What one has decided may be old when it does it: the status is written on top of the version
    that it was made from, and a name that is taken is not taken twice.
    """
    for _ in range(4):
        world.end_runs()
        version = world.status
        made = world.decide()
        if draw.random() < share:  # another one is quicker
            world.end_runs()
            other = world.decide()
            if other.status != world.status:
                world.status = other.status
        if made.status != version:
            if world.status is not version and world.status != version:
                continue  # refused: it has changed
            world.status = made.status
        if draw.random() < share:
            return
        if made.look:
            world.look()
        if made.start is not None and made.start.name not in world.runs:
            world.do(replace(made, cancel=(), delete=(), look=False))
        if draw.random() < share:
            return
        there = tuple(run for run in made.delete if run.name in world.runs)
        world.do(replace(made, start=None, look=False, cancel=(), delete=there))


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_write_and_two_at_once_each_time_is_started_once(seed: int) -> None:
    draw = random.Random(seed)
    world = World({"cron": "*/7 * * * *", "concurrencyPolicy": "Allow"}, lasts=timedelta(minutes=3))
    for _ in range(300):
        world.now += timedelta(seconds=draw.randint(5, 40))
        dying(world, draw, 0.3)
    there = zone("Etc/UTC")
    come = fires_after(Cron.parse("*/7 * * * *"), there, world.created)
    expected = list(itertools.takewhile(lambda at: at <= world.now - timedelta(minutes=4), come))
    assert len(set(world.times)) == len(world.times)
    assert world.times[: len(expected)] == expected


def run(name: str, hour: int | None, *, ok: bool = True, takes: tuple[str, ...] = ()) -> SeenRun:
    ended = None if hour is None else at(f"01-01 {hour:02}:00")
    return SeenRun(
        name=name,
        uid=name,
        created=at("01-01 00:00"),
        ended=ended,
        succeeded=ok and hour is not None,
        takes=frozenset(takes),
    )


def test_history_never_deletes_what_goes_on_or_what_a_kept_run_took_results_of() -> None:
    runs = [
        run("live", None, takes=("a",)),
        run("a", 1),
        run("b", 2, takes=("gone",)),
        run("c", 3),
        run("d", 4, takes=("b",)),
        run("e", 5, ok=False),
        run("f", 6, ok=False),
    ]
    assert [r.name for r in outlived(runs, successful=1, failed=1)] == ["c", "e"]
    assert [r.name for r in outlived(runs, successful=0, failed=0)] == ["b", "c", "d", "e", "f"]
    assert outlived(runs, successful=9, failed=9) == ()
