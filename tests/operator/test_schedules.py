"""Pipelines on schedules on a real API server, by a clock and a store that say what a test says."""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from mmrlhf_operator.kube.transport import Request, Transport
from mmrlhf_operator.planning.schedules import run_name
from tests.cluster.access import Access
from tests.cluster.errors import ApiError
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import IMPATIENT, Driver, until
from tests.operator.lives import overlapped, started_again
from tests.operator.run_driver import created_jobs
from tests.operator.schedule_driver import DATA, MODEL, ScheduleDriver

pytestmark = pytest.mark.cluster

RANKINGS = "s3://bucket/rankings"


def name_at(text: str) -> str:
    return run_name("weekly", datetime.fromisoformat(text).replace(tzinfo=UTC))


MISSED, FIRST, SECOND = map(name_at, ("2036-11-30T03:00", "2036-12-02T03:00", "2036-12-02T12:00"))
"""Runs of `live`."""


async def live(weekly: ScheduleDriver) -> None:
    """A run for what was missed, a skip, a run of changed data, one of rankings in its place."""
    await weekly.at("2036-12-01T02:00:00")
    weekly.create(
        schedule={
            "cron": "0 4 * * *",
            "timeZone": "Europe/Berlin",  # 3:00 in winter
            "skipUnchanged": True,
            "successfulRunsHistoryLimit": 1,
            "concurrencyPolicy": "Replace",
        }
    )
    # It was created long ago by this clock: what was missed since is made up for once.
    await weekly.comes(lambda: len(weekly.runs_of()) == 1, "what was missed")
    await weekly.succeeds(MISSED)
    await weekly.at("2036-12-01T03:00:05")
    await weekly.comes(
        lambda: weekly.schedule().get("lastSkip", {}).get("reason") == "Unchanged", "a skip"
    )
    assert weekly.schedule()["lastScheduleTime"] == "2036-12-01T03:00:00Z"
    weekly.store.put(f"{DATA}/b.jsonl", b"{}\n{}\n")
    await weekly.at("2036-12-02T03:00:05")
    await weekly.comes(lambda: FIRST in weekly.runs_of(), "a run of changed data")
    await weekly.runs(f"{FIRST}-score")
    weekly.change(
        schedule={
            "triggers": {"newRankings": {"uri": RANKINGS, "atLeast": 5, "settleSeconds": 300}}
        }
    )
    await weekly.at("2036-12-02T11:00:00")
    weekly.store.put(f"{RANKINGS}/1.jsonl", b'{"id": "a"}\n' * 4)
    await weekly.comes(
        lambda: weekly.schedule().get("newRankings", {}).get("count") == 4, "four rankings"
    )
    weekly.store.put(f"{RANKINGS}/2.jsonl", b'{"id": "b"}')
    await weekly.at("2036-12-02T11:30:00")
    await weekly.comes(
        lambda: weekly.schedule().get("newRankings", {}).get("count") == 5, "five rankings"
    )
    assert weekly.runs_of() == [MISSED, FIRST], "not before they have settled"
    await weekly.at("2036-12-02T12:00:20")
    # First the other must have stopped: a dozen writes, after each of which an operator may die.
    await weekly.comes(lambda: SECOND in weekly.runs_of(), "a run in its place", seconds=120.0)
    await weekly.succeeds(SECOND)
    assert weekly.status(FIRST)["reason"] == "Cancelled"
    await weekly.comes(
        lambda: weekly.runs_of() == [FIRST, SECOND], "a history of one that went well"
    )
    last = weekly.schedule()["lastRun"]
    assert (last["name"], last["cause"], last["missed"]) == (SECOND, "NewRankings", 0)
    assert last["time"] == "2036-12-02T12:00:00Z"


async def is_told(weekly: ScheduleDriver) -> None:
    """Wait until all of `TOLD` is told, and see that it is told once."""
    await until(
        lambda: weekly.told("AlignmentPipeline") & TOLD == TOLD,
        what=lambda: f"{TOLD}, not {weekly.told('AlignmentPipeline')}",
        seconds=60,
    )
    told = weekly.told("AlignmentPipeline")
    assert {reason: told[reason] for reason in TOLD} == TOLD


MADE = Counter([MISSED, FIRST, SECOND])
MADE += Counter(f"{run}-score" for run in (MISSED, FIRST, SECOND))
"""Runs and jobs that are created in all of it."""
TOLD = Counter({"RunStarted": 3, "MissedTimes": 1, "Unchanged": 1})
"""Events about the pipeline, and more where something waits for a moment."""


@pytest.fixture
def weekly(driver: Driver) -> ScheduleDriver:
    return ScheduleDriver(driver)


async def test_runs_start_by_the_clock_and_by_rankings_and_nothing_is_asked_at_rest(
    weekly: ScheduleDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with start_operator(lambda inner: faults.Recorded(inner, log), **weekly.parts) as running:
        await live(weekly)
        await is_told(weekly)
        await running.idle()
        settled, looks = len(log), weekly.store.looks
        running.operator.queue.add(weekly.key())
        await until(lambda: running.operator.queue.is_idle, what="a look")
        await running.idle()
        assert not [str(request) for request, _ in log[settled:] if request.writes]
        assert weekly.store.looks == looks
    assert created_jobs(log) == MADE
    run = weekly.api.get(weekly.path(FIRST))
    (owner,) = run["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("AlignmentPipeline", "weekly")
    notes = run["metadata"]["annotations"]
    assert notes["mmrlhf.io/scheduled-for"] == "2036-12-02T03:00:00Z"
    assert notes["mmrlhf.io/started-by"] == "Cron"
    assert len(notes["mmrlhf.io/data-digest"]) == 64


async def test_a_run_that_has_just_come_to_be_is_the_pipelines_own(
    weekly: ScheduleDriver, start_operator: StartOperator
) -> None:
    """Whoever tries again looks first, so an answer that is lost does not bring it here."""
    log: faults.Log = []
    async with start_operator(
        lambda inner: faults.Overtaken(faults.Recorded(inner, log)), **weekly.parts
    ):
        await weekly.at("2036-12-01T02:00:00")
        weekly.create(schedule={"cron": "0 4 * * *", "timeZone": "Europe/Berlin"})
        await weekly.succeeds(MISSED)
        # What stands in the way of a run stands there until another one is due.
        await weekly.comes(
            lambda: (
                weekly.condition("OnSchedule", "weekly", "AlignmentPipeline")["status"] == "True"
            ),
            "nothing in its way",
        )
    assert created_jobs(log)[MISSED] == 1


async def test_the_operator_dies_at_every_write_and_no_run_starts_twice(
    weekly: ScheduleDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    lives = faults.Lives(log)
    async with started_again(functools.partial(start_operator, **weekly.parts), lives.begin):
        await live(weekly)
    # One that dies while another of its requests is under way never hears of that one.
    assert created_jobs(log) <= MADE
    assert len(lives) > 15
    # What is told bears the time that a run is for: one for long ago counts as told after a crash.
    told = weekly.told("AlignmentPipeline")
    assert Counter({reason: told[reason] for reason in TOLD}) <= TOLD


async def test_two_operators_overlap_and_no_run_starts_twice(
    weekly: ScheduleDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with overlapped(functools.partial(start_operator, **weekly.parts), log):
        await live(weekly)
        await is_told(weekly)
    assert created_jobs(log) == MADE


EVERY = os.environ.get("MMRLHF_TEST_FAULTS") == "all"
LUCK = [pytest.param(dict(faults.FAULTS), id="drawn")]
"""What each request meets once; `make every-fault` has each fault at each of them, one by one."""
LUCK += [pytest.param({name: fault}, id=name) for name, fault in faults.FAULTS.items() if EVERY]


@pytest.mark.parametrize("luck", LUCK)
async def test_every_request_fails_once_and_no_run_starts_twice(
    luck: dict[str, tuple[faults.Fault, bool]],
    weekly: ScheduleDriver,
    start_operator: StartOperator,
) -> None:
    log: faults.Log = []
    made: list[faults.Drawn] = []

    def drawn(inner: Transport) -> Transport:
        made.append(faults.Drawn(faults.Recorded(inner, log), luck, random.Random(40)))
        return made[0]

    async with start_operator(drawn, config=IMPATIENT, **weekly.parts):
        await live(weekly)
        await is_told(weekly)
    assert created_jobs(log) == MADE
    # Each kind of call has met each kind of fault that was to be drawn, or one as good.
    assert set(made[0].drawn) == set(luck)
    wanted = {"POST alignmentruns", "PATCH alignmentruns", "DELETE alignmentruns", "POST stepjobs"}
    wanted |= {"PATCH alignmentpipelines/status", "GET alignmentruns", "POST events"}
    assert wanted <= {f"{one.method} {_plural(one)}" for one in made[0].failed}


def _plural(request: Request) -> str:
    """What a request is about, as a rule of a role would say it."""
    parts = request.path.split("/")
    at = parts.index("namespaces") + 2 if "namespaces" in parts else -1
    return "/".join([parts[at], *parts[at + 2 :]])


# A schedule, what the rules of the CRD say of it where the server knows any, and what the operator
# says in seconds where nobody has.
WRONG: list[tuple[dict[str, Any], str | None, str]] = [
    ({"cron": "0 25 * * *"}, "must have five fields", "cron: hour: 25 is not within 0 to 23"),
    ({"cron": "0 0 31 2 *"}, "never fires", "cron: never fires: there is no day 31 in month 2"),
    ({"cron": "0 0 31 2-2 *"}, None, "cron: never fires: there is no day 31 in month 2"),
    ({"skipUnchanged": True}, "give cron, triggers or both", "give cron, triggers or both"),
    ({"triggers": {}}, "give newData, newRankings or both", "triggers: give newData, newRankings"),
    (
        {"cron": "0 0 * * *", "timeZone": "Europe/Berln"},
        None,
        "timeZone: there is no time zone Europe/Berln",
    ),
    (
        {"cron": "* * * * *", "jitterSeconds": 60},
        None,
        "jitterSeconds: must be below 60, the shortest time between two runs in seconds",
    ),
]


async def test_what_is_wrong_is_refused_or_told_in_seconds(
    weekly: ScheduleDriver, start_operator: StartOperator, control_plane: Access
) -> None:
    left: dict[str, str] = {}
    for number, (schedule, server, operator) in enumerate(WRONG):
        if server is not None and control_plane.knows_rules:
            with pytest.raises(ApiError, match=server):
                weekly.create(f"p{number}", schedule=schedule)
        else:
            weekly.create(f"p{number}", schedule=schedule)
            left[f"p{number}"] = operator
    async with start_operator(**weekly.parts):
        for name, words in left.items():
            await until(
                functools.partial(weekly.is_stalled, name), what="a pipeline that is not valid"
            )
            told = weekly.condition("Ready", name, "AlignmentPipeline")
            assert (told["status"], told["reason"]) == ("False", "InvalidSpec")
            assert f"spec.schedule{'.' if ':' in words else ''}" in told["message"]
            assert words in told["message"]
    assert weekly.api.get(weekly.path())["items"] == []


async def test_suspended_waiting_and_what_cannot_be_looked_at_are_told(
    weekly: ScheduleDriver, start_operator: StartOperator
) -> None:
    await weekly.at("2036-12-01T02:00:00")
    weekly.create(schedule={"cron": "0 3 * * *", "skipUnchanged": True}, suspend=True)

    def on_schedule() -> str:
        found = weekly.condition("OnSchedule", "weekly", "AlignmentPipeline")
        return str(found.get("reason"))

    async with start_operator(**weekly.parts):
        await weekly.comes(lambda: on_schedule() == "Suspended", "suspended")
        assert weekly.runs_of() == []
        weekly.store.problem = LookUpError(Outcome.DENIED)
        weekly.change(suspend=False)
        await weekly.comes(lambda: on_schedule() == "LookUpFailed", "a store that denies")
        assert weekly.runs_of() == []
        weekly.store.problem = None
        await weekly.at("2036-12-01T02:05:00")
        await weekly.comes(lambda: len(weekly.runs_of()) == 1, "a run")
        await weekly.at("2036-12-01T03:00:05")
        await weekly.comes(lambda: on_schedule() == "StillRunning", "waits for the end")
        weekly.change(schedule={"concurrencyPolicy": "Replace"})
        following = name_at("2036-12-01T03:00")
        await weekly.comes(lambda: following in weekly.runs_of(), "the next run")
        (replaced,) = set(weekly.runs_of()) - {following}
        assert weekly.status(replaced)["reason"] == "Cancelled"


async def test_of_two_pipelines_that_move_one_alias_the_older_does_and_the_other_says_so(
    weekly: ScheduleDriver, start_operator: StartOperator
) -> None:
    gate: dict[str, Any] = {
        "require": {"safety": {"maxAsr": 0.1}},
        "candidate": [f"{DATA}/a.jsonl"],
        "alias": "default/vqa",
        "artifact": MODEL,
    }

    def create(name: str, **changes: Any) -> None:
        step = {"name": "gate", "kind": "StepJob", "spec": {"step": "gate", "gate": gate | changes}}
        weekly.create(name, steps=[step])

    def ready(name: str) -> tuple[str | None, str | None]:
        told = weekly.condition("Ready", name, "AlignmentPipeline")
        return told.get("status"), told.get("reason")

    create("older")
    await asyncio.sleep(1.1)  # the server keeps whole seconds
    create("younger", store="s3://bucket/runs/")
    create("other", alias="default/other")
    create("elsewhere", store="s3://bucket/models")
    async with start_operator(**weekly.parts):
        await until(lambda: ready("younger") == ("False", "AliasTaken"), what="a taken alias")
        for name in ("older", "other", "elsewhere"):
            await until(
                functools.partial(lambda name: ready(name)[0] == "True", name), what=f"{name} ready"
            )
        told = weekly.condition("Stalled", "younger", "AlignmentPipeline")
        assert told["status"] == "True"
        assert (
            "pipeline older, which is older, moves alias default/vqa in s3://bucket/runs"
            in (told["message"])
        )
        weekly.api.delete(weekly.path("older", "AlignmentPipeline"))
        await until(lambda: ready("younger")[0] == "True", what="an alias that is free")
