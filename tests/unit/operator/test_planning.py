"""What the operator decides, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_api import KINDS
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.planning.actions import Create, DeleteJob, DeletePod
from mmrlhf_operator.planning.notes import notes
from mmrlhf_operator.planning.refusals import patience
from mmrlhf_operator.state.views import Finding, ProgressReport, after
from tests.unit.operator.world import CONFIG, START, World, job_body, running, world


def _created(there: World) -> list[str]:
    return [action.name for action in there.plan().actions if isinstance(action, Create)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_job_gets_its_objects_in_one_go(kind: str) -> None:
    there = World(job_body(kind, resources__nodes=2))
    short = KINDS[kind].short_name
    assert _created(there) == [*[f"{short}-demo"] * 3, "demo-0-0", "demo-0-1"]
    made = there.settle()
    assert there.status["phase"] == "Pending"
    assert there.status["reason"] == "WaitingForPods"
    assert there.status["pods"] == {"ready": 0, "total": 2, "summary": "0/2"}
    assert there.conditions["Accepted"]["status"] == "True"
    assert made.requeue_after is None


def test_life_of_a_job() -> None:
    there = world()
    there.reconcile()
    there.unschedulable("demo-0-1", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    there.settle()
    assert there.status["reason"] == "Unschedulable"
    assert "3 Insufficient nvidia.com/gpu" in there.conditions["Scheduled"]["message"]
    there.run("demo-0-0")
    there.settle()
    assert there.status["phase"] == "Starting"
    assert there.conditions["Running"]["status"] == "False"  # Running means that all run
    there.tick(5)
    there.run("demo-0-1")
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.status["pods"]["summary"] == "2/2"
    there.tick(60)
    there.finish("demo-0-1")
    there.settle()
    assert there.status["phase"] == "Running"
    there.finish("demo-0-0")
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert there.conditions["Running"]["status"] == "False"
    assert there.conditions["Succeeded"]["reason"] == "Completed"
    uri = "/shared/runs/default/demo/uid-1"
    assert there.status["artifacts"] == {"uri": uri, "manifest": f"{uri}/manifest.json"}
    assert there.status["startTime"] < there.status["completionTime"]
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}  # finished pods keep their logs


_INVALID = json.dumps({"exitCode": 2, "reason": "InvalidInput", "message": "train.jsonl, row 3"})
_FULL = json.dumps({"exitCode": 1, "reason": "StorageFull", "message": "disk full: /tmp"})
_AWAY = json.dumps({"exitCode": 157, "reason": "StorageUnavailable", "message": "s3 is away"})
_FAILURES: list[tuple[dict[str, Any], str, str]] = [
    ({"exit_code": 1, "message": _INVALID}, "Failed", "InvalidInput"),
    ({"exit_code": 1}, "Failed", "ApplicationError"),
    ({"exit_code": 127}, "Failed", "ApplicationError"),
    ({"exit_code": 1, "message": _FULL}, "Failed", "StorageFull"),
    ({"exit_code": 157, "message": _AWAY}, "Restarting", "StorageUnavailable"),
    ({"exit_code": 128}, "Restarting", "Killed"),
    ({"exit_code": 137}, "Restarting", "Killed"),
    ({"exit_code": 143}, "Restarting", "Killed"),
    ({"exit_code": 1, "message": "Root Cause:\n exitcode  : -9 (pid: 7)"}, "Restarting", "Killed"),
    ({"exit_code": 137, "reason": "OOMKilled"}, "Failed", "OutOfMemory"),
]


@pytest.mark.parametrize(("end", "phase", "reason"), _FAILURES)
def test_exit_codes(end: dict[str, Any], phase: str, reason: str) -> None:
    there = running()
    there.finish("demo-0-1", **end)
    there.tick(1)
    there.finish("demo-0-0", exit_code=1)  # the peer's end is not the cause
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == (phase, reason)
    condition = there.conditions["Failed" if phase == "Failed" else "Restarting"]
    assert "demo-0-1" in condition["message"]
    assert there.status.get("restarts", 0) == (1 if phase == "Restarting" else 0)


def test_what_explains_itself_is_judged_at_once_and_the_rest_when_all_have_ended() -> None:
    there = running()
    there.finish("demo-0-0", exit_code=1)
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.conditions["Running"]["status"] == "False"
    there.tick(CONFIG.deadlines.settle)
    there.settle()
    assert there.status["phase"] == "Failed"

    there = running()
    there.finish("demo-0-0", exit_code=1, message=_INVALID)
    there.settle()
    assert there.status["reason"] == "InvalidInput"
    assert "row 3" in there.conditions["Failed"]["message"]


def test_a_lost_node_is_free_of_charge_although_the_peer_failed_first() -> None:
    there = running(runPolicy={"maxRestarts": 0})
    there.finish("demo-0-0", exit_code=1, message="connection reset by peer")
    there.settle()
    there.tick(45)
    there.lost_nodes.add("node-demo-0-1")
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Restarting", "NodeLost")
    assert (there.status["attempt"], there.status["restarts"]) == (1, 0)
    assert "free of charge" in there.conditions["Restarting"]["message"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("PreemptionByScheduler", "Preempted"),
        ("DeletionByTaintManager", "NodeLost"),
        ("EvictionByEvictionAPI", "Evicted"),
    ],
)
def test_disruptions_are_free_of_charge(reason: str, expected: str) -> None:
    there = running()
    there.disrupt("demo-0-1", reason)
    there.finish("demo-0-1", exit_code=143)
    there.settle()
    assert (there.status["reason"], there.status["restarts"]) == (expected, 0)


def refused(there: World) -> bool:
    found = there.conditions["Scheduled"]
    return (found["status"], found["reason"]) == ("False", "CreationRefused")


def test_half_a_gang_is_given_back_and_tried_again_as_a_whole() -> None:
    there = world()
    there.quota = 1
    there.reconcile()
    assert sorted(there.pods) == ["demo-0-0"]
    there.bind("demo-0-0")  # so that its deletion takes its time
    there.run("demo-0-0")
    there.reconcile()
    assert refused(there)
    assert "exceeded quota" in there.conditions["Scheduled"]["message"]
    assert ("Warning", "CreationRefused") in there.news
    assert "deletionTimestamp" in there.pods["demo-0-0"]["metadata"]
    there.quota = None
    there.tick(120)
    made = there.settle()
    assert not [action for action in made.actions if isinstance(action, Create)]
    assert sorted(there.pods) == ["demo-0-0"]  # the names are taken as long as it is there
    there.vanish()
    there.settle()
    assert sorted(there.pods) == ["demo-0-0", "demo-0-1"]
    assert not refused(there)
    assert there.status.get("restarts", 0) == 0
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"


def test_what_was_refused_is_not_tried_before_its_time() -> None:
    there = world()
    there.quota = 1
    made = there.settle()
    assert not there.pods
    assert made.requeue_after is not None
    assert 2.5 <= made.requeue_after <= 7.5
    there.quota = None
    there.tick(made.requeue_after - 0.5)
    assert not there.plan().actions
    there.tick(1)
    there.settle()
    assert sorted(there.pods) == ["demo-0-0", "demo-0-1"]


def test_an_operator_that_takes_over_goes_on_giving_back() -> None:
    there = world()
    there.quota = 1
    there.reconcile()
    there.bind("demo-0-0")
    there.reconcile()
    there.conflicts, there.retry_at, there.refusals = (), None, 0  # it dies, and all is forgotten
    there.settle()
    assert refused(there)
    there.quota = None
    there.vanish()
    there.settle()
    assert sorted(there.pods) == ["demo-0-0", "demo-0-1"]
    assert (there.status["attempt"], there.status.get("restarts", 0)) == (0, 0)


def test_patience_grows_up_to_a_limit_and_differs_by_job() -> None:
    waits = [patience("uid-1", count) for count in range(1, 12)]
    assert all(2.5 <= wait <= 90 for wait in waits)
    assert waits[0] <= 7.5 < 30 <= min(waits[4:])
    assert waits == [patience("uid-1", count) for count in range(1, 12)]
    assert waits != [patience("uid-2", count) for count in range(1, 12)]


def test_a_whole_gang_is_not_given_back_when_its_service_is_refused() -> None:
    there = running()
    there.service = None
    there.conflicts = (Finding(reason="CreationRefused", message="no services"),)
    there.settle()
    assert sorted(there.pods) == ["demo-0-0", "demo-0-1"]
    assert there.status["phase"] == "Running"


def test_a_pod_that_someone_deletes_restarts_the_gang() -> None:
    there = running()
    there.delete("demo-0-1")
    there.reconcile()
    assert (there.status["phase"], there.status["reason"]) == ("Restarting", "PodDeleted")
    there = running()
    there.vanish("demo-0-1")
    there.reconcile()
    assert (there.status["attempt"], there.status["reason"]) == (1, "PodDeleted")


def test_a_pod_that_was_never_there_is_created() -> None:
    there = world()
    there.reconcile(steps=5)  # status, ConfigMap, NetworkPolicy, Service, one pod; then a crash
    assert set(there.pods) == {"demo-0-0"}
    there.run()
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    assert there.status["attempt"] == 0


def test_restart_waits_for_back_off_and_for_the_old_pods_to_go() -> None:
    there = running(runPolicy={"backoffSeconds": 10})
    there.finish("demo-0-0", exit_code=137)
    there.tick(1)
    there.tick(CONFIG.deadlines.settle)
    made = there.reconcile()
    assert [action for action in made.actions if isinstance(action, DeletePod)] == [
        DeletePod(name="demo-0-1", uid=there.pods["demo-0-1"]["metadata"]["uid"])
    ]
    assert made.requeue_after is not None
    assert 8 < made.requeue_after < 11.1
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    assert not _created(there)
    there.tick(12)
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}  # the kubelet of the second is not done
    assert there.status["phase"] == "Restarting"
    there.vanish()
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-1-0", "demo-1-1"}  # the first keeps its log
    assert there.conditions["Restarting"]["status"] == "False"
    assert there.conditions["Scheduled"]["status"] == "False"
    env = {e["name"]: e.get("value") for e in _container(there, "demo-1-1")["env"]}
    assert env["PET_RDZV_ID"] == "demo-1"
    assert env["PET_MASTER_ADDR"] == "demo-1-0.mmdpo-demo.default.svc"


def _container(there: World, pod: str) -> dict[str, Any]:
    container: dict[str, Any] = there.pods[pod]["spec"]["containers"][0]
    return container


def test_a_job_that_failed_between_two_looks_has_begun() -> None:
    there = world()
    there.reconcile()
    there.tick(5)
    there.run()
    began = there.now
    there.tick(5)
    there.finish("demo-0-0", exit_code=1, message=_INVALID)
    there.settle()
    assert there.status["phase"] == "Failed"
    assert began > START
    assert there.status["startTime"] == format_time(began)
    assert there.status["artifacts"]["uri"].endswith("/demo/uid-1")


def test_the_budget_is_explicit() -> None:
    there = running(runPolicy={"maxRestarts": 2, "backoffSeconds": 0})
    for attempt in range(3):
        assert there.status["attempt"] == attempt
        there.tick(5)
        for index in (0, 1):
            there.finish(f"demo-{attempt}-{index}", exit_code=137)
        there.settle()
        there.run()
        there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "RestartBudgetExhausted")
    assert there.status["restarts"] == 2


def test_rules_are_tried_in_order() -> None:
    rules = [
        {"exitCodes": [3], "action": "RestartJobFree"},
        {"exitCodes": [3, 4], "reasons": ["ApplicationError"], "action": "RestartJob"},
        {"reasons": ["Killed"], "action": "FailJob"},
    ]
    for exit_code, phase, restarts in (
        (3, "Restarting", 0),
        (4, "Restarting", 1),
        (5, "Failed", 0),
    ):
        there = running(runPolicy={"failureRules": rules}, resources__nodes=1)
        there.finish("demo-0-0", exit_code=exit_code)
        there.settle()
        assert (there.status["phase"], there.status["restarts"]) == (phase, restarts)
    there = running(runPolicy={"failureRules": rules}, resources__nodes=1)
    there.finish("demo-0-0", exit_code=137)
    there.settle()
    assert there.status["reason"] == "Killed"
    assert there.status["phase"] == "Failed"


def test_suspend_keeps_the_job_and_resume_is_a_new_attempt() -> None:
    there = running(runPolicy={"activeDeadlineSeconds": 100})
    there.tick(60)
    there.edit(runPolicy__suspend=True)
    there.reconcile()
    assert there.status["phase"] == "Suspended"
    there.vanish()
    there.settle()
    assert not there.pods
    there.tick(1000)
    there.settle()
    assert there.conditions["Suspended"]["status"] == "True"
    there.edit(runPolicy__suspend=False)
    there.settle()
    assert set(there.pods) == {"demo-1-0", "demo-1-1"}
    assert there.conditions["Suspended"]["reason"] == "Resumed"
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.status["restarts"] == 0
    there.tick(39)
    there.settle()
    assert there.status["phase"] == "Running"  # suspension does not count
    there.tick(2)
    there.settle()
    assert there.status["reason"] == "ActiveDeadlineExceeded"


def test_a_job_may_start_suspended_and_change_until_it_starts() -> None:
    there = world(runPolicy={"suspend": True})
    there.settle()
    assert there.status["phase"] == "Suspended"
    assert there.config_map is None
    there.edit(training__epochs=5, resources__nodes=1)
    there.edit(runPolicy__suspend=False)
    there.settle()
    assert set(there.pods) == {"demo-0-0"}
    assert there.status["attempt"] == 0


def test_changes_that_cannot_be_applied_are_refused() -> None:
    there = running()
    there.edit(optimizer__learningRate=0.375, resources__nodes=4)
    there.settle()
    accepted = there.conditions["Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", "SpecChanged")
    assert "spec.optimizer, spec.resources changed" in accepted["message"]
    assert there.status["phase"] == "Running"
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    assert there.config_map is not None
    assert "0.375" not in there.config_map["data"]["job.json"]
    there.finish("demo-0-0", exit_code=137)
    there.tick(100)
    there.settle()
    there.vanish()
    there.tick(100)
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-1-0", "demo-1-1"}  # as it was accepted
    there.body["spec"]["resources"]["nodes"] = 2
    del there.body["spec"]["optimizer"]
    there.settle()
    assert there.conditions["Accepted"]["status"] == "True"


def test_run_policy_may_change() -> None:
    there = running(runPolicy={"maxRestarts": 0})
    there.edit(runPolicy__maxRestarts=5)
    there.settle()
    assert there.conditions["Accepted"]["status"] == "True"
    assert there.conditions["Accepted"]["observedGeneration"] == 2
    there.finish("demo-0-0", exit_code=137)
    there.finish("demo-0-1", exit_code=137)
    there.settle()
    assert there.status["phase"] == "Restarting"


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"nodePool": "b200"}, "NodePoolUnknown", "no node pool b200; the operator knows h800"),
        ({"scheduling": {"queue": "team"}}, "GangUnavailable", "neither Kueue nor Volcano"),
        ({"scheduling": {"gang": "volcano"}}, "GangUnavailable", "volcano"),
        ({"metadata__name": "a" * 53}, "InvalidSpec", "at most 52 characters"),
        ({"resources": {"nodes": 2, "memory": "8 GB"}}, "InvalidSpec", "spec.resources.memory"),
        ({"reward": {}}, "InvalidSpec", "exactly one of scoresUri, modelUri and jobName"),
    ],
)
def test_bad_specs_are_refused_and_no_pod_created(
    changes: dict[str, Any], reason: str, words: str
) -> None:
    body = job_body()
    for path, value in changes.items():
        holder = body["metadata"] if path.startswith("metadata") else body["spec"]
        holder[path.removeprefix("metadata__")] = value
    there = World(body)
    there.settle()
    accepted = there.conditions["Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert words in accepted["message"]
    assert (there.status["phase"], there.status["reason"]) == ("Pending", reason)
    assert not there.pods
    assert there.config_map is None


def test_a_refused_spec_can_be_mended() -> None:
    there = world(nodePool="b200")
    there.settle()
    there.edit(nodePool="h800")
    there.settle()
    assert there.conditions["Accepted"]["status"] == "True"
    assert len(there.pods) == 2


def test_no_image_is_an_error() -> None:
    there = world()
    there.config = CONFIG.model_copy(update={"images": {}})
    there.settle()
    assert there.conditions["Accepted"]["reason"] == "ImageUnset"


@pytest.mark.parametrize(
    ("waiting", "reason", "seconds"),
    [
        ("ImagePullBackOff", "ImagePullFailed", CONFIG.deadlines.image_pull),
        ("CreateContainerConfigError", "ConfigError", CONFIG.deadlines.config_error),
    ],
)
def test_what_waits_in_vain_fails_past_a_deadline(waiting: str, reason: str, seconds: int) -> None:
    there = world()
    there.reconcile()
    there.run("demo-0-0")
    there.wait("demo-0-1", waiting, "the registry's own words")
    made = there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Starting", reason)
    assert "the registry's own words" in there.conditions["Running"]["message"]
    assert made.requeue_after == seconds
    there.tick(seconds)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", reason)
    there.vanish()
    assert set(there.pods) <= {"demo-0-0"}


def test_pending_deadline() -> None:
    there = world(runPolicy={"pendingDeadlineSeconds": 30})
    there.reconcile()
    there.run("demo-0-0")
    made = there.settle()
    assert made.requeue_after == 30
    there.tick(31)
    there.settle()
    assert there.status["reason"] == "PendingDeadlineExceeded"


def test_stall_restarts_and_silence_before_the_operator_listened_does_not_count() -> None:
    there = running(runPolicy={"stallTimeoutSeconds": 60})
    there.tick(1000)
    there.settle()
    assert there.status["phase"] == "Running"  # nobody listens: nothing is known
    there.listening_since = there.now
    there.tick(59)
    there.settle()
    at = there.now
    there.progress = ProgressReport(
        attempt=0, at=at, advanced_at=at, step=7, stage="train", figures={"loss": 0.5}
    )
    there.settle()
    assert there.status["progress"]["step"] == 7
    assert there.status["progress"]["stage"] == "train"
    assert there.conditions["Progressing"]["status"] == "True"
    there.tick(59)
    there.settle()
    assert there.status["phase"] == "Running"
    there.tick(2)
    there.reconcile()
    assert (there.status["phase"], there.status["reason"]) == ("Restarting", "Stalled")
    assert there.status["restarts"] == 1


def test_silence_of_an_attempt_that_was_never_heard_is_told_and_is_no_stall() -> None:
    there = running(runPolicy={"stallTimeoutSeconds": 60})
    assert there.conditions["Progressing"]["reason"] == "NoProgressArrives"  # nobody listens
    assert "progressUrl" in there.conditions["Progressing"]["message"]
    there = running(runPolicy={"stallTimeoutSeconds": 60})
    there.body["status"]["conditions"] = [
        entry for entry in there.status["conditions"] if entry["type"] != "Progressing"
    ]
    there.listening_since = there.now
    there.tick(299)
    there.settle()
    assert "Progressing" not in there.conditions
    made = there.plan()
    assert made.requeue_after == 1
    there.tick(3000)
    there.reconcile()
    assert ("Warning", "NoProgressArrives") in there.news
    there.settle()
    told = there.conditions["Progressing"]
    assert (told["status"], told["reason"]) == ("Unknown", "NoProgressArrives")
    assert "stallTimeoutSeconds is not watched" in told["message"]
    assert there.status["phase"] == "Running"


def test_an_attempt_that_was_heard_before_the_operator_began_anew_may_stall() -> None:
    there = running(runPolicy={"stallTimeoutSeconds": 60})
    there.listening_since = there.now
    there.progress = ProgressReport(attempt=0, at=there.now, advanced_at=there.now, stage="load")
    there.settle()
    assert there.conditions["Progressing"]["reason"] == "FirstStepAhead"
    there.progress = None
    there.tick(40)
    there.listening_since = there.now
    there.tick(59)
    there.settle()
    assert there.status["phase"] == "Running"
    there.tick(2)
    there.reconcile()
    assert there.status["reason"] == "Stalled"


def test_what_was_heard_of_one_attempt_says_nothing_of_the_next() -> None:
    there = running(runPolicy={"stallTimeoutSeconds": 60, "backoffSeconds": 0})
    there.listening_since = there.now
    there.progress = ProgressReport(attempt=0, at=there.now, advanced_at=there.now, step=1)
    there.settle()
    there.disrupt("demo-0-0")
    there.settle()
    there.vanish()
    there.settle()
    there.run()
    there.settle()
    assert (there.status["phase"], there.status["attempt"]) == ("Running", 1)
    there.tick(1000)
    there.settle()
    assert (there.status["phase"], there.status["attempt"]) == ("Running", 1)


def test_ranks_that_run_on_after_others_ended_well_are_told_at_once_and_have_a_deadline() -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.finish("demo-0-1")
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Running", "SomeRanksRemain")
    assert "demo-0-0" in there.status["message"]
    there.tick(CONFIG.deadlines.last_ranks - 1)
    at = there.now
    there.progress = ProgressReport(attempt=0, at=at, advanced_at=at, stage="publish")
    there.settle()
    there.tick(2)
    there.settle()
    assert there.status["phase"] == "Running"  # it advances
    there.tick(CONFIG.deadlines.last_ranks)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Restarting", "Stalled")
    assert "demo-0-0 run on" in there.status["message"]


@pytest.mark.parametrize("taken_over", [False, True], ids=["same-operator", "another-operator"])
def test_a_pod_that_ended_well_may_go_while_others_run(taken_over: bool) -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.finish("demo-0-1")
    there.settle()
    there.delete("demo-0-1")
    assert "demo-0-1" not in there.pods
    if taken_over:
        there.forget()
        there.views.clear()
    there.tick(5)
    there.settle()
    assert (there.status["phase"], there.status["attempt"]) == ("Running", 0)
    assert there.status.get("restarts", 0) == 0
    assert set(there.pods) == {"demo-0-0"}  # nor is it made again
    there.finish("demo-0-0")
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert "endedWell" not in there.status


def test_who_ended_well_and_went_is_no_excuse_for_those_that_hang_or_fail() -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.finish("demo-0-1")
    there.settle()
    there.delete("demo-0-1")
    there.settle()
    there.tick(CONFIG.deadlines.last_ranks + 1)
    there.settle()
    assert (there.status["reason"], there.status["attempt"]) == ("Stalled", 1)
    there.vanish()
    there.settle()
    there.run()
    there.settle()
    # What held for one attempt holds for no other.
    there.vanish("demo-1-1")
    there.settle()
    assert (there.status["reason"], there.status["attempt"]) == ("PodDeleted", 2)


def test_a_pod_that_goes_before_it_ended_well_restarts_the_job() -> None:
    there = running(resources__nodes=3, runPolicy={"backoffSeconds": 0})
    there.finish("demo-0-1")
    there.settle()
    there.vanish("demo-0-2")
    there.settle()
    assert (there.status["reason"], there.status["attempt"]) == ("PodDeleted", 1)


def test_progress_is_written_now_and_then() -> None:
    there = running()
    for second in range(40):
        there.tick(1)
        there.progress = ProgressReport(
            attempt=0, at=there.now, advanced_at=there.now, step=second, figures={"loss": 1 / 3}
        )
        there.reconcile()
    writes = sum(
        left.status != right.status
        for left, right in zip(there.history[-41:], there.history[-40:], strict=False)
    )
    assert 4 <= writes <= 6
    made = there.plan()
    assert made.requeue_after is not None


def test_progress_of_another_attempt_is_ignored() -> None:
    there = running()
    there.progress = ProgressReport(attempt=3, at=there.now, advanced_at=there.now, step=1)
    there.settle()
    assert "progress" not in there.status


def test_pods_of_a_lost_node_are_forgotten_after_a_deadline() -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.lost_nodes.add("node-demo-0-1")
    there.delete("demo-0-1")
    there.reconcile()
    there.vanish("demo-0-0")
    grace = there.pods["demo-0-1"]["metadata"]["deletionGracePeriodSeconds"]
    there.tick(grace + CONFIG.deadlines.lost_node - 1)
    there.settle()
    assert set(there.pods) == {"demo-0-1"}
    there.tick(2)
    there.settle()
    assert set(there.pods) == {"demo-1-0", "demo-1-1"}


def test_pods_of_a_node_that_answers_are_left_to_it() -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.delete("demo-0-1")
    there.tick(100_000)
    there.settle()
    assert "demo-0-1" in there.pods
    assert there.status["phase"] == "Restarting"


@pytest.mark.parametrize(("policy", "left"), [("All", 0), ("Running", 1), ("None", 2)])
def test_clean_pod_policy(policy: str, left: int) -> None:
    there = running(runPolicy={"cleanPodPolicy": policy})
    there.finish("demo-0-0", exit_code=1, message=_INVALID)
    there.reconcile()
    assert there.status["phase"] == "Failed"
    there.reconcile()
    there.vanish()
    there.settle()
    assert len(there.pods) == left


def test_the_service_goes_once_no_pod_of_a_job_that_has_ended_runs() -> None:
    there = running()
    there.finish("demo-0-0")
    there.settle()
    kept = [there.service is not None]
    there.finish("demo-0-1")
    there.reconcile()
    assert [*kept, there.service is not None] == [True, False]
    assert there.config_map is not None


def test_pods_that_stop_may_still_speak_to_each_other() -> None:
    there = running()
    there.edit(runPolicy__cancel=True)
    there.settle()
    left = [there.service is not None]
    there.vanish()
    there.settle()
    assert [*left, there.service is not None] == [True, False]


def test_cancel_ends_a_job_for_good() -> None:
    there = running(runPolicy={"ttlSecondsAfterFinished": 60})
    there.tick(60)
    there.edit(runPolicy__cancel=True)
    made = there.reconcile()
    assert not made.actions  # the decision is written before anything is done about it
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "Cancelled")
    assert "save a checkpoint" in there.conditions["Failed"]["message"]
    assert there.conditions["Running"]["status"] == "False"
    assert there.status["completionTime"] > there.status["startTime"]
    assert there.status["artifacts"]["uri"].endswith("/default/demo/uid-1")
    assert there.news == [("Normal", "Cancelled")]
    stops = there.reconcile().actions
    assert {
        (type(stop), stop.name, stop.force) for stop in stops if isinstance(stop, DeletePod)
    } == {
        (DeletePod, "demo-0-0", False),
        (DeletePod, "demo-0-1", False),
    }
    there.finish("demo-0-0", exit_code=143)
    there.vanish("demo-0-1")
    before = dict(there.status)
    there.edit(runPolicy__cancel=False)  # API servers before 1.25 let it pass
    there.settle()
    assert there.status == before
    assert not _created(there)
    there.tick(60)
    there.settle()
    assert there.deleted


@pytest.mark.parametrize(("policy", "left"), [("All", 0), ("Running", 1), ("None", 1)])
def test_pods_of_a_cancelled_job_never_go_on(policy: str, left: int) -> None:
    there = running(runPolicy={"cleanPodPolicy": policy})
    there.finish("demo-0-0")
    there.edit(runPolicy__cancel=True)
    there.settle()
    there.vanish()
    there.settle()
    assert there.status["reason"] == "Cancelled"
    assert len(there.pods) == left


def test_a_job_that_has_succeeded_is_not_cancelled_any_more() -> None:
    there = running()
    for name in list(there.pods):
        there.finish(name)
    there.edit(runPolicy__cancel=True)
    there.settle()
    assert there.status["phase"] == "Succeeded"


@pytest.mark.parametrize("before", ["new", "refused", "suspended", "restarting"])
def test_any_job_that_has_not_ended_can_be_cancelled(before: str) -> None:
    if before == "restarting":
        there = running(runPolicy={"backoffSeconds": 10})
        there.delete("demo-0-1")
        there.reconcile()
    else:
        there = world(runPolicy={"suspend": before == "suspended"})
        if before == "refused":
            there.edit(training__epochs=0)
        if before != "new":
            there.settle()
    there.edit(runPolicy__cancel=True)
    there.reconcile()
    assert there.news == [("Normal", "Cancelled")]
    there.settle()
    there.vanish()
    there.tick(1000)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "Cancelled")
    assert {kind for kind, entry in there.conditions.items() if entry["status"] == "True"} <= {
        "Accepted",
        "Scheduled",
        "Failed",
    }
    assert not there.pods
    assert ("artifacts" in there.status) is (before == "restarting")  # the others never ran


def test_a_job_whose_spec_broke_is_stopped_as_well() -> None:
    there = running()
    there.edit(training__epochs=0)
    there.settle()
    assert there.status["phase"] == "Running"
    there.edit(runPolicy__cancel=True)
    there.settle()
    there.vanish()
    assert there.status["reason"] == "Cancelled"
    assert not there.pods


def test_time_to_live() -> None:
    there = running(runPolicy={"ttlSecondsAfterFinished": 60}, resources__nodes=1)
    there.finish("demo-0-0")
    made = there.settle()
    assert made.requeue_after == 60
    there.tick(60)
    assert there.plan().actions == (DeleteJob(uid="uid-1"),)


def test_nothing_is_done_about_a_job_that_is_being_deleted() -> None:
    there = running()
    there.body["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    there.vanish("demo-0-0")
    made = there.plan()
    assert not made.actions
    assert made.status == there.job.status


def test_a_finished_job_never_gets_pods_again() -> None:
    there = running(runPolicy={"cleanPodPolicy": "All"})
    for name in list(there.pods):
        there.finish(name)
    there.settle()
    there.service = there.config_map = None
    before = dict(there.status)
    there.edit(runPolicy__suspend=True, optimizer__learningRate=0.5)
    there.settle()
    there.edit(runPolicy__suspend=False)
    there.settle()
    assert not there.pods
    assert there.status == before


def test_every_transition_is_told_once() -> None:
    there = running()
    there.finish("demo-0-0", exit_code=137)
    there.finish("demo-0-1", exit_code=137)
    there.settle()
    there.tick(100)
    there.settle()
    there.run()
    there.settle()
    for name in list(there.pods):
        there.finish(name)
    there.settle()
    told = {note.key: note for made in there.history for note in notes(made.status)}
    assert [(note.type, note.reason) for note in told.values()] == [
        ("Normal", "Valid"),
        ("Normal", "AllPodsScheduled"),
        ("Normal", "AllPodsRunning"),
        ("Warning", "Killed"),
        ("Normal", "AllPodsScheduled"),
        ("Normal", "AllPodsRunning"),
        ("Normal", "Completed"),
    ]


def test_times_move_only_with_what_they_are_about() -> None:
    there = world()
    there.settle()
    first = there.conditions["Scheduled"]["lastTransitionTime"]
    there.tick(10)
    there.unschedulable("demo-0-0", "no node")
    there.settle()
    assert there.conditions["Scheduled"]["reason"] == "Unschedulable"
    assert there.conditions["Scheduled"]["lastTransitionTime"] == first
    there.tick(10)
    there.run()
    there.settle()
    assert there.conditions["Scheduled"]["lastTransitionTime"] > first
    assert after(START, 20) == there.now


def test_a_pod_that_blames_its_peer_is_not_the_cause() -> None:
    lost = json.dumps({"exitCode": 141, "reason": "PeerLost", "message": "connection closed"})
    there = running()
    there.finish("demo-0-1", 141, message=lost)
    there.tick(1)
    there.finish("demo-0-0", 1, message="ValueError: loss is not finite")
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "ApplicationError")
    assert "loss is not finite" in there.conditions["Failed"]["message"]
    there = running()
    for name in ("demo-0-0", "demo-0-1"):
        there.finish(name, 141, message=lost)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Restarting", "Killed")


def test_the_status_says_in_a_sentence_why_it_is_where_it_is() -> None:
    there = world()
    there.settle()
    there.unschedulable("demo-0-1", "0/3 nodes are available")
    there.settle()
    assert there.status["message"] == there.conditions["Scheduled"]["message"]
    assert "0/3 nodes are available" in there.status["message"]
    there = running()
    assert (there.status["reason"], there.status["message"]) == ("AllPodsRunning", "all pods run")
    there.edit(optimizer__learningRate=0.375)
    there.settle()
    assert there.status["reason"] == "SpecChanged"
    assert there.status["message"].startswith("spec.optimizer changed after the job had started")
    del there.body["spec"]["optimizer"]
    there.finish("demo-0-0", exit_code=137)
    there.finish("demo-0-1", exit_code=137)
    there.settle()
    assert there.status["message"].startswith("attempt 0 failed, restart 1 of")
    there.edit(runPolicy__suspend=True)
    there.settle()
    assert there.status["message"] == "runPolicy.suspend is true"
    there.edit(runPolicy__suspend=False, runPolicy__cancel=True)
    there.settle()
    assert there.status["message"] == there.conditions["Failed"]["message"]


def test_a_status_of_old_is_given_its_sentence_unless_the_job_has_ended() -> None:
    there = running()
    del there.status["message"]
    there.settle()
    assert there.status["message"] == "all pods run"
    for name in ("demo-0-0", "demo-0-1"):
        there.finish(name)
    there.settle()
    assert there.status["message"].startswith("artifacts are at /shared/runs/")
    del there.status["message"]
    there.settle()
    assert "message" not in there.status
