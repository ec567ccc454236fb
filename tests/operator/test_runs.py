"""Runs of pipelines on a real API server: their whole life, whatever happens to the operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from mmrlhf_api import Job
from mmrlhf_operator.state.views import Finding
from tests.operator import faults
from tests.operator.conftest import StartOperator
from tests.operator.driver import IMPATIENT, Driver, until
from tests.operator.lives import overlapped, started_again
from tests.operator.run_driver import RunDriver, created_jobs, steps

pytestmark = pytest.mark.cluster

T = TypeVar("T")

JOBS = Counter({"r-judge": 1, "r-judge--1": 1, "r-score": 1, "r-bench": 1, "r-critiques": 1})
"""Those of `live`."""
TOLD = Counter(
    {"StepStarted": 5, "StepFailed": 1, "StepSucceeded": 4, "RunFailed": 1, "RunSucceeded": 1}
)
"""Events about its run; a request that is refused may be told besides."""


async def live(runs: RunDriver) -> None:
    """Take a run through its life: a failure, a retry, a suspension, and success."""
    runs.submit()
    await runs.runs("r-judge", "r-critiques")
    runs.finish("r-judge", exit_code=2)
    await runs.phases_are(
        judge="Failed", score="Skipped", bench="Skipped", critiques="Running", seconds=60
    )
    assert runs.status()["phase"] == "Running"
    runs.finish("r-critiques")
    await runs.ends("Failed")
    runs.edit(retry=1)
    await runs.runs("r-judge--1")
    runs.finish("r-judge--1")
    await runs.runs("r-score")
    runs.edit(suspend=True)
    await runs.ends("Suspended")
    await until(lambda: "r-score-0-0" not in runs.driver.left(), what="no pods of it", seconds=60)
    runs.edit(suspend=False)
    await until(lambda: "r-score-1-0" in runs.driver.pods(), what="the next attempt", seconds=60)
    runs.driver.run("r-score-1-0")
    runs.finish("r-score", attempt=1)
    await runs.runs("r-bench")
    runs.finish("r-bench")
    await runs.ends("Succeeded")
    found = {
        one["name"]: (one["job"], one["phase"], one.get("tries")) for one in runs.status()["steps"]
    }
    assert found == {
        "judge": ("r-judge--1", "Succeeded", 1),
        "score": ("r-score", "Succeeded", 0),
        "bench": ("r-bench", "Succeeded", 0),
        "critiques": ("r-critiques", "Succeeded", 0),
    }
    await until(
        lambda: runs.told() & TOLD == TOLD, what=lambda: f"{TOLD}, not {runs.told()}", seconds=60
    )
    assert {reason: count for reason, count in runs.told().items() if reason in TOLD} == TOLD
    status = runs.status()
    assert (status["summary"], status["retried"], status["observedGeneration"]) == ("4/4", 1, 4)
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    conditions.pop("Blocked", None)
    assert conditions == {
        "Accepted": "True",
        "Running": "False",
        "Suspended": "False",
        "Succeeded": "True",
        "Failed": "False",
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }


@pytest.fixture
def runs(driver: Driver) -> RunDriver:
    return RunDriver(driver)


async def test_steps_take_what_others_left_and_a_retry_goes_on(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with start_operator(lambda inner: faults.Recorded(inner, log)) as running:
        await live(runs)
        await running.idle()
        settled = len(log)
        runs.api.patch(runs.path("r"), {"metadata": {"labels": {"touched": "yes"}}})
        await until(lambda: running.operator.queue.is_idle, what="a look")
        await running.idle()
        assert not [str(request) for request, _ in log[settled:] if request.writes]
    assert created_jobs(log) == JOBS
    judged = runs.driver.job("RewardTrainJob", "r-judge--1")
    score = runs.driver.job("StepJob", "r-score")
    bench = runs.driver.job("StepJob", "r-bench")
    assert score["spec"]["score"]["model"] == judged["status"]["outputs"][0]["uri"]
    assert score["spec"]["score"]["data"] == "/data/bench.jsonl"
    assert bench["spec"]["bench"]["scores"] == score["status"]["outputs"][0]["uri"]
    (owner,) = score["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == (
        "AlignmentRun",
        runs.api.get(runs.path("r"))["metadata"]["uid"],
    )
    assert score["metadata"]["labels"]["mmrlhf.io/run"] == "r"
    assert score["metadata"]["labels"]["mmrlhf.io/step"] == "score"
    runs.api.delete(runs.path("r"))
    await until(
        lambda: not runs.driver.jobs("StepJob") and not runs.driver.jobs("RewardTrainJob"),
        what="jobs that go with their run",
        seconds=60,
    )


async def test_the_operator_dies_at_every_write_and_no_step_runs_twice(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    lives = faults.Lives(log)
    async with started_again(start_operator, lives.begin):
        await live(runs)
    # A request that was under way when another one ended the process is in no log.
    assert created_jobs(log) <= JOBS
    assert set(runs.driver.jobs("RewardTrainJob") + runs.driver.jobs("StepJob")) == set(JOBS)
    written = [
        str(r) for r, status in log if r.writes and status < 400 and "alignmentruns" in r.path
    ]
    assert len(lives) > len(written) > 8


async def test_two_operators_overlap_and_no_step_runs_twice(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with overlapped(start_operator, log):
        await live(runs)
    assert created_jobs(log) == JOBS


@pytest.mark.parametrize(("fault", "late"), faults.FAULTS.values(), ids=faults.FAULTS)
async def test_every_request_fails_once_and_the_end_is_the_same(
    fault: faults.Fault, late: bool, runs: RunDriver, start_operator: StartOperator
) -> None:
    log: faults.Log = []
    async with start_operator(
        lambda inner: faults.Flaky(faults.Recorded(inner, log), fault, late=late),
        config=IMPATIENT,
    ):
        await live(runs)
    assert created_jobs(log) == JOBS


async def test_a_job_of_somebody_else_is_never_taken_for_the_runs_own(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    runs.driver.submit("RewardTrainJob", metadata__name="r-judge", runPolicy={"suspend": True})
    runs.submit()
    async with start_operator():
        await until(
            lambda: runs.condition("Blocked").get("reason") == "NameConflict",
            what=lambda: f"a conflict, not {runs.status()}",
        )
        assert "RewardTrainJob r-judge that does not belong to this run" in runs.status()["message"]
        assert "uid" not in runs.step("judge")
        runs.driver.api.delete(runs.driver.path("RewardTrainJob", "r-judge"))
        await until(
            lambda: runs.step("judge")["phase"] == "Running",
            what=lambda: f"a job of its own, not {runs.status()}",
            seconds=30,
        )
    assert runs.condition("Blocked")["status"] == "False"


async def test_what_a_person_suspended_is_left_so_and_cancelling_reaches_all(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    runs.submit()
    async with start_operator():
        await runs.runs("r-judge", "r-critiques")
        path = runs.driver.path("StepJob", "r-critiques")
        runs.api.patch(path, {"spec": {"runPolicy": {"suspend": True}}})
        runs.edit(suspend=True)
        await until(
            lambda: runs.driver.job("RewardTrainJob", "r-judge")["spec"]["runPolicy"]["suspend"],
            what="a job that is suspended with its run",
        )
        runs.edit(suspend=False)
        await until(
            lambda: (
                not runs.driver.job("RewardTrainJob", "r-judge")["spec"]["runPolicy"]["suspend"]
            ),
            what="a job that goes on with its run",
        )
        assert runs.driver.job("StepJob", "r-critiques")["spec"]["runPolicy"]["suspend"] is True
        runs.edit(cancel=True)
        await runs.ends("Failed")
        status = runs.status()
        assert status["reason"] == "Cancelled"
        assert runs.phases() == {
            "judge": "Failed",
            "score": "Skipped",
            "bench": "Skipped",
            "critiques": "Failed",
        }


async def test_a_job_that_somebody_deletes_has_failed_and_a_retry_makes_another(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    runs.submit()
    async with start_operator():
        await runs.runs("r-judge", "r-critiques")
        await until(lambda: "uid" in runs.step("critiques"), what="a job that was seen")
        runs.api.delete(runs.driver.path("StepJob", "r-critiques"))
        await until(lambda: runs.step("critiques")["phase"] == "Failed", what="a failed step")
        assert runs.step("critiques")["reason"] == "JobDeleted"
        runs.edit(retry=1)
        await runs.runs("r-critiques--1")
        assert runs.step("judge")["job"] == "r-judge"


async def test_what_is_wrong_is_said_in_seconds_with_its_field(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    broken = steps(score={"score": {"model": "${steps.judge.modle}", "data": "/data/x"}})
    runs.submit(steps=broken)
    pipeline: dict[str, Any] = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "AlignmentPipeline",
        "metadata": {"name": "weekly"},
        "spec": {"artifacts": {"uri": "/shared/runs"}, "steps": broken},
    }
    runs.api.create(runs.path(kind="AlignmentPipeline"), pipeline)
    message = "spec.steps[1].spec.score.model: step judge leaves no modle; it leaves: model"
    async with start_operator():
        await runs.ends("Failed")
        assert runs.status()["reason"] == "InvalidSpec"
        assert message in runs.condition("Accepted")["message"]
        assert runs.condition("Stalled")["status"] == "True"
        await until(
            lambda: (
                runs.condition("Stalled", "weekly", "AlignmentPipeline").get("status") == "True"
            ),
            what="a pipeline that is not valid",
        )
        told = runs.condition("Ready", "weekly", "AlignmentPipeline")
        assert (told["status"], told["reason"]) == ("False", "InvalidSpec")
        mended = {**pipeline["spec"], "parameters": [{"name": "data", "default": "/data/x"}]}
        runs.api.patch(
            runs.path("weekly", "AlignmentPipeline"), {"spec": {**mended, "steps": steps()}}
        )
        await until(
            lambda: runs.condition("Ready", "weekly", "AlignmentPipeline")["status"] == "True",
            what="a pipeline that was mended",
        )
    assert not runs.driver.jobs("RewardTrainJob")


class Shelf:
    """A store that has everything, in the versions that a test says."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.lost: set[str] = set()

    async def look(self, job: Job, work: Callable[[Any], T]) -> T:
        return work(self)

    def digest(self, uri: str) -> str:
        return f"{uri}@{self.versions.get(uri, 0)}"

    def holds(self, uri: str) -> bool:
        return uri not in self.lost


class NothingMissing:
    """Finds nothing in the way of any job."""

    async def check(self, job: Job) -> Finding | None:
        return None


async def test_a_run_takes_what_an_earlier_one_has_made_of_the_same(
    runs: RunDriver, start_operator: StartOperator
) -> None:
    shelf, data = Shelf(), "s3://data/bench.jsonl"
    chosen = steps(
        judge={"model": {"uri": "s3://m"}, "data": {"train": {"uri": "s3://data/train"}}}
    )[:3]

    def submit(name: str) -> None:
        runs.submit(
            name,
            pipeline="weekly",
            artifacts={"uri": "s3://runs"},
            parameters=[{"name": "data", "value": data}],
            steps=chosen,
        )

    async def finish(*jobs: str) -> None:
        for job in jobs:
            await runs.runs(job)
            runs.finish(job)

    async with start_operator(checker=NothingMissing(), looker=shelf):
        submit("a")
        await finish("a-judge", "a-score", "a-bench")
        await runs.ends("Succeeded", "a")
        submit("b")
        await runs.ends("Succeeded", "b")
        for step in ("judge", "score", "bench"):
            taken = runs.step(step, "b")
            made = runs.step(step, "a")
            assert taken["cachedFrom"] == {
                "run": "a",
                "job": f"a-{step}",
                "manifest": made["manifest"],
            }
            assert (taken["outputs"], taken["key"]) == (made["outputs"], made["key"])
        await until(lambda: runs.told()["StepTaken"] == 3, what=lambda: f"{runs.told()}")
        assert "taken from earlier runs: judge, score, bench" in runs.status("b")["message"]
        shelf.versions[data] = 1
        submit("c")
        await finish("c-score", "c-bench")
        await runs.ends("Succeeded", "c")
        assert runs.step("judge", "c")["cachedFrom"]["run"] == "a"
        assert "cachedFrom" not in runs.step("score", "c")
        shelf.lost.add(runs.step("bench", "c")["manifest"])
        submit("d")
        await finish("d-bench")
        await runs.ends("Succeeded", "d")
        assert runs.step("score", "d")["cachedFrom"]["run"] == "c"
    assert runs.driver.jobs("RewardTrainJob") == ["a-judge"]
    assert runs.driver.jobs("StepJob") == ["a-bench", "a-score", "c-bench", "c-score", "d-bench"]
