"""Many pipelines on schedules that are due at once: what a run takes of the API server, counted.

`benchmarks/schedule_scale.py` measures the same at scale, and how late runs start.
"""

from __future__ import annotations

from collections import Counter

import pytest

from mmrlhf_operator.kube.transport import Request
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.operator.schedule_driver import ScheduleDriver

pytestmark = pytest.mark.cluster

NAMES = [f"p{number}" for number in range(10)]
COSTS = {
    "POST alignmentruns": 1,
    "POST stepjobs": 1,
    "POST pods": 1,
    "POST configmaps": 1,
    "POST networkpolicies": 1,
    "POST services": 1,
    "DELETE services/.": 1,
    "POST events AlignmentPipeline": 2,  # it has started a run, and times before that were missed
    "POST events AlignmentRun": 3,  # its step has started and ended, and so has the run
}
"""What a run of one step takes."""
MOST = {
    # It starts, is there, and has succeeded; that it is active may be told apart.
    "PATCH alignmentpipelines/./status": 4,
    "PATCH alignmentruns/./status": 8,
    "PATCH stepjobs/./status": 6,
    "POST events StepJob": 5,
    # For a start all runs are listed, and no more for what only changes a status; that it is made
    # may be asked once more, as the watch has not told so yet.
    "GET alignmentruns by label": 2,
}
"""What it takes at most: states that pass fast share a write."""


async def test_what_a_run_takes_is_counted_and_nothing_is_asked_at_rest(
    driver: Driver, start_operator: StartOperator
) -> None:
    fleet, log = ScheduleDriver(driver), faults.Log()
    # All were created long ago by this clock, so that each makes up for what was missed.
    await fleet.at("2036-12-01T03:00:05")
    for name in NAMES:
        fleet.create(name, schedule={"cron": "0 3 * * *"})
    config = CONFIG.model_copy(update={"resync_seconds": 0.5, "sweep_seconds": 3600.0})
    async with start_operator(
        lambda inner: faults.Recorded(inner, log), config=config, **fleet.parts
    ) as running:
        await until(
            lambda: len(driver.pods()) == len(NAMES), what=lambda: f"{driver.pods()}", seconds=60
        )
        driver.run()
        for pod in driver.pods():
            driver.finish(pod)
        await until(
            lambda: all(fleet.schedule(name).get("lastSuccess") for name in NAMES),
            what="all ends",
            seconds=60,
        )
        await running.idle()
        settled, done = len(log), running.operator.queue.done
        everything = 3 * len(NAMES)  # pipelines, runs and jobs
        await until(lambda: running.operator.queue.done >= done + 2 * everything, what="looks")
        rest = [request for request, _ in log[settled:]]
        assert [str(request) for request in rest if request.writes or _is_one(request)] == []
    asked = Counter(_what(request) for request, status in log[:settled] if status < 400)
    assert {what: asked[what] for what in COSTS} == {
        what: count * len(NAMES) for what, count in COSTS.items()
    }
    most = {what: asked[what] for what, count in MOST.items() if asked[what] > count * len(NAMES)}
    assert not most, asked


def _is_one(request: Request) -> bool:
    """Whether it is about one pipeline, run or job, and not about all of a kind."""
    return any(f"/{name}" in request.path for name in NAMES)


def _what(request: Request) -> str:
    """A request, as its method and what it is about; a dot stands for the name of an object."""
    plural, *named = request.path.partition("/namespaces/")[2].split("/")[1:] or [request.path]
    what = "/".join([plural, *("." for _ in named[:1]), *named[1:]])
    if what == "events" and request.writes:
        what += f" {request.body['involvedObject']['kind']}"
    if "labelSelector" in request.query:
        what += " by label"
    return f"{request.method} {what}"
