"""Sweeps on a real API server: their whole life, whatever happens to the operator."""

from __future__ import annotations

from collections import Counter

import pytest

from mmrlhf_operator.kube.transport import Request, Transport
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import Driver, until
from tests.operator.lives import overlapped, started_again
from tests.operator.run_driver import created_jobs
from tests.operator.sweep_driver import KIND, SweepDriver

pytestmark = pytest.mark.cluster

JOBS = Counter({"t-00": 1, "t-01": 1, "t-02": 1})


@pytest.fixture
def sweeps(driver: Driver) -> SweepDriver:
    return SweepDriver(driver)


async def live(sweeps: SweepDriver) -> None:
    """Take a sweep through its life: two points at a time, one ended early, a rest, success."""
    sweeps.sweep()
    await sweeps.runs("t-00", "t-01")
    assert sweeps.state()["points"][2]["phase"] == "Waiting"
    sweeps.reach("t-00", 0.7)
    sweeps.reach("t-01", 0.4)
    await until(lambda: sweeps.policy("t-01")["cancel"], what="a job that is cancelled")
    await sweeps.points_are("Running", "Stopped", "Running")
    await sweeps.runs("t-02")
    sweeps.change(suspend=True)
    await until(lambda: sweeps.policy("t-02")["suspend"], what="a job that rests")
    await until(lambda: sweeps.state()["phase"] == "Suspended", what="a sweep that rests")
    await until(lambda: not sweeps.driver.left(), what="no pods", seconds=60)
    sweeps.change(suspend=False)
    pods = [f"{job}-1-0" for job in ("t-00", "t-02")]
    await until(lambda: set(pods) <= set(sweeps.driver.pods()), what="new pods", seconds=60)
    sweeps.driver.run(*pods)
    for job, value in (("t-00", 0.7), ("t-02", 0.8)):
        sweeps.tell(job, metrics={"afterAcc": value})
        sweeps.finish(job, attempt=1)
    await sweeps.points_are("Succeeded", "Stopped", "Succeeded")
    await until(lambda: sweeps.state()["phase"] == "Succeeded", what="its end")
    status = sweeps.state()
    assert status["best"] == {
        "values": "optimizer.learningRate=1e-05",
        "value": 0.8,
        "points": ["02"],
    }
    assert (status["summary"], status["reason"]) == ("3/3", "Completed")


async def test_points_run_and_end_and_all_goes_with_the_sweep(
    sweeps: SweepDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with start_operator(lambda inner: faults.Recorded(inner, log)) as running:
        await live(sweeps)
        await running.idle()
        settled = len(log)
        sweeps.api.patch(sweeps.path("t", "Sweep"), {"metadata": {"labels": {"touched": "yes"}}})
        await until(lambda: running.operator.queue.is_idle, what="a look")
        await running.idle()
        assert not [str(request) for request, _ in log[settled:] if request.writes]
    assert created_jobs(log) == JOBS
    job = sweeps.driver.job(KIND, "t-02")
    assert job["spec"]["optimizer"]["learningRate"] == 1e-5
    assert job["metadata"]["labels"]["mmrlhf.io/sweep"] == "t"
    sweeps.api.delete(sweeps.path("t", "Sweep"))
    await until(lambda: not sweeps.driver.jobs(KIND), what="jobs that go too", seconds=60)


async def test_the_operator_dies_at_writes_about_the_sweep_and_no_point_runs_twice(
    sweeps: SweepDriver, start_operator: StartOperator
) -> None:
    """The pure planner is taken through far more deaths (tests/unit/operator/test_sweeps.py)."""
    log: faults.Log = []
    deaths = Counter[str]()

    def counts(request: Request) -> bool:
        """Each job that is made, suspended or cancelled, and the first of the statuses."""
        about = request.path.endswith("/sweeps/t/status") or (
            "rewardtrainjobs" in request.path and not request.path.endswith("/status")
        )
        what = f"{request.method} {request.path}"
        if not (request.writes and about) or deaths[what] == 3:
            return False
        deaths[what] += 1
        return True

    def wrap(inner: Transport) -> Transport:
        return faults.Mortal(faults.Recorded(inner, log), counts=counts)

    async with started_again(start_operator, wrap):
        await live(sweeps)
    # A request that was under way when another one ended the process is in no log.
    assert created_jobs(log) <= JOBS
    assert set(sweeps.driver.jobs(KIND)) == set(JOBS)
    assert {what.split()[0] for what in deaths} == {"POST", "PATCH"}
    assert deaths.total() >= 6


async def test_two_operators_overlap_and_cancelling_reaches_every_job(
    sweeps: SweepDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with overlapped(start_operator, log):
        sweeps.sweep(earlyStop=None)
        await sweeps.runs("t-00", "t-01")
        sweeps.finish("t-00", exit_code=2)
        await sweeps.runs("t-02")
        sweeps.change(cancel=True)
        await sweeps.points_are("Failed", "Failed", "Failed")
        await until(lambda: sweeps.state()["phase"] == "Failed", what="its end")
    assert created_jobs(log) == JOBS
    assert sweeps.policy("t-01")["cancel"] is True


async def test_what_is_wrong_with_a_point_is_said_with_its_field(
    sweeps: SweepDriver, start_operator: StartOperator
) -> None:
    sweeps.sweep(parameters=[{"field": "optimizer.learningRat", "values": [1e-3]}])
    async with start_operator():
        await until(lambda: sweeps.state().get("phase") == "Failed", what="a refusal")
    assert sweeps.state()["message"].startswith(
        "spec.parameters[0].values[0]: optimizer.learningRat: unknown field; did you mean"
    )
    assert not sweeps.driver.jobs(KIND)
