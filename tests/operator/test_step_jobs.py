"""StepJobs on a real API server: what it admits, their whole life, and what they take and leave."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mmrlhf_api.kinds.step_catalog import STEPS
from mmrlhf_operator.config import OpenLineage
from mmrlhf_operator.state.store import Key
from tests.cluster.access import Access
from tests.cluster.errors import ApiError
from tests.operator.conftest import StartOperator
from tests.operator.driver import CONFIG, Driver, until
from tests.unit.api.specimens import ENDPOINT, PARTS, step

pytestmark = pytest.mark.cluster

KIND = "StepJob"
SMALL = {"cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"}
KEYED = {**ENDPOINT, "apiKeyEnv": "MODEL_KEY"}
KEY = {"name": "MODEL_KEY", "secretKeyRef": {"name": "models", "key": "key"}}
CATALOGUED = CONFIG.model_copy(
    update={
        "open_lineage": OpenLineage.model_validate(
            {
                "url": "http://marquez:5000",
                "namespace": "vision",
                "apiKeySecret": {"name": "catalogue", "key": "api-key"},
            }
        )
    }
)
MISSING = json.dumps({"exitCode": 2, "reason": "InvalidInput", "message": "queries.jsonl, row 3"})


def submit(driver: Driver, name: str, /, **changes: Any) -> dict[str, Any]:
    return driver.submit(KIND, **{"resources": SMALL, **step(name), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "dance", "score": None},
        step("responses", endpoints=[{**ENDPOINT, "baseUrl": "http://user:password@host/v1"}]),
        step("responses", endpoints=[]),
        step("critiques", records=None),
    ],
)
async def test_what_fits_no_step_is_refused_at_admission(
    changes: dict[str, Any], driver: Driver
) -> None:
    with pytest.raises(ApiError, match="is invalid"):
        driver.submit(KIND, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bench": PARTS["bench"]}, "spec.bench: is what step bench is told"),
        ({**step("bench"), "resources": {"nodes": 2}}, "spec.resources: step bench runs as one"),
        (step("responses", endpoints=[KEYED]), "spec.responses.endpoints: give each apiKeyEnv"),
        (step("responses", records="queries.jsonl"), "spec.responses.records: must be s3://"),
    ],
)
async def test_what_a_server_without_rules_admits_is_refused_by_the_operator(
    changes: dict[str, Any], message: str, driver: Driver, start_operator: StartOperator
) -> None:
    submit(driver, changes.get("step", "score"), **changes)
    async with start_operator():
        await driver.phase("Pending", KIND, reason="InvalidSpec")
    assert message in driver.condition("Accepted", KIND)["message"]


@pytest.mark.parametrize("name", [name for name in PARTS if name != "score"])
async def test_each_step_is_one_pod_without_gpu_and_leaves_its_outputs(
    name: str, driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    if name == "responses":
        driver.api.create(
            f"/api/v1/namespaces/{driver.namespace}/secrets",
            {"metadata": {"name": "models"}, "stringData": {"key": "very-secret-word"}},
        )
        part = {**PARTS[name], "endpoints": [KEYED]}
        submit(driver, name, responses=part, podTemplate__env=[KEY])
    else:
        submit(driver, name)
    async with start_operator(config=CATALOGUED) as running:
        await driver.pods_are("demo-0-0")
        path = f"/api/v1/namespaces/{driver.namespace}"
        (container,) = driver.api.get(f"{path}/pods/demo-0-0")["spec"]["containers"]
        assert container["command"][-2:] == ["mmrlhf_jobs.launch", "stepjob"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        told = [one for one in container["env"] if one["name"].startswith("OPENLINEAGE_")]
        assert told == [
            {"name": "OPENLINEAGE_URL", "value": "http://marquez:5000"},
            {"name": "OPENLINEAGE_NAMESPACE", "value": "vision"},
            {
                "name": "OPENLINEAGE_API_KEY",
                "valueFrom": {
                    "secretKeyRef": {"name": "catalogue", "key": "api-key", "optional": True}
                },
            },
        ]
        if name == "responses":
            (env,) = [one for one in container["env"] if one["name"] == "MODEL_KEY"]
            assert env["valueFrom"]["secretKeyRef"] == {"name": "models", "key": "key"}
            accepted = driver.api.get(f"{path}/configmaps/sj-demo")["data"]["job.json"]
            assert "very-secret-word" not in accepted
        driver.run()
        await driver.phase("Running", KIND)
        key = Key(KIND, driver.namespace, "demo")
        uid = driver.job(KIND)["metadata"]["uid"]
        events: list[dict[str, Any]] = [
            {"event": "phase", "phase": "ask", "message": "asking"},
            {"event": "step", "step": 3, "itemsDone": 3, "itemsTotal": 8},
        ]
        running.operator.board.post(key, uid, attempt=0, events=events, at=datetime.now(UTC))
        running.operator.queue.add(key)
        await until(lambda: driver.status(KIND).get("progress"), what="progress")
        rows = await asyncio.to_thread(
            control_plane.kubectl, "get", "sj", f"--namespace={driver.namespace}"
        )
        head, row = rows.stdout.splitlines()
        assert head.split()[4:] == ["TASK", "STAGE", "DONE", "OF", "AGE"]
        assert row.split()[4:8] == [name, "ask", "3", "8"]
        driver.finish("demo-0-0")
        await driver.phase("Succeeded", KIND)
    run = f"/shared/runs/{driver.namespace}/demo/{uid}"
    left = {one["name"]: one["uri"] for one in driver.status(KIND)["outputs"]}
    assert (
        left
        == {
            "bench": {"figures": f"{run}/bench.json", "page": f"{run}/bench.html"},
            "responses": {"records": f"{run}/responses.jsonl"},
            "critiques": {"records": f"{run}/critiques.jsonl"},
            "answers": {"records": f"{run}/answers.jsonl"},
            "preferences": {
                "results": f"{run}/results.json",
                "figures": f"{run}/preferences.json",
            },
            "safety": {"results": f"{run}/results.json", "figures": f"{run}/safety.json"},
            "lmms-eval": {"figures": f"{run}/lmms_eval.json"},
            "gate": {"report": f"{run}/gate.json"},
            "import": {"records": f"{run}/records.jsonl"},
            "export": {"rows": f"{run}/export.jsonl"},
            "annotate-export": {"tasks": f"{run}/tasks", "key": f"{run}/key.jsonl"},
            "annotate-import": {
                "records": f"{run}/records.jsonl",
                "unresolved": f"{run}/unresolved.jsonl",
            },
            "improve": {
                "records": f"{run}/records.jsonl",
                "scores": f"{run}/scores.parquet",
            },
            "compare": {
                "verdicts": f"{run}/verdicts.json",
                "candidate": f"{run}/candidate.json",
                "champion": f"{run}/champion.json",
                "figures": f"{run}/comparison.json",
            },
            "report": {"figures": f"{run}/evaluation.json", "page": f"{run}/evaluation.html"},
            "prune": {"report": f"{run}/prune.json"},
        }[name]
    )


async def test_a_failure_has_its_reason_and_a_kill_a_next_attempt(
    driver: Driver, start_operator: StartOperator
) -> None:
    submit(driver, "critiques", runPolicy={"backoffSeconds": 0})
    async with start_operator():
        await driver.pods_are("demo-0-0")
        driver.run()
        driver.finish("demo-0-0", exit_code=137)
        await driver.pods_are("demo-1-0")
        driver.run("demo-1-0")
        driver.finish("demo-1-0", exit_code=2, message=MISSING)
        await driver.phase("Failed", KIND, reason="InvalidInput")
    assert "row 3" in driver.status(KIND)["message"]
    assert "outputs" not in driver.status(KIND)


async def test_what_a_gate_says_is_a_condition_and_a_failure_where_the_job_asks_for_it(
    driver: Driver, start_operator: StartOperator, control_plane: Access
) -> None:
    """What it has said is in its pod: an operator that was away learns of it all the same."""

    def said(exit_code: int, word: str) -> str:
        content = {"exitCode": exit_code, "reason": word, "message": "bench: it wins 31 of 80"}
        return json.dumps(content)

    submit(driver, "gate")
    async with start_operator():
        await driver.pods_are("demo-0-0")
        driver.run()
        await driver.phase("Running", KIND)
    driver.finish("demo-0-0", message=said(0, "Rejected"))
    async with start_operator():
        await driver.phase("Succeeded", KIND)
        waited = await asyncio.to_thread(
            control_plane.kubectl,
            *("wait", "sj/demo", "--for=condition=Promoted=False", "--timeout=300s"),
            f"--namespace={driver.namespace}",
        )
        assert "condition met" in waited.stdout
        told = driver.condition("Promoted", KIND)
        assert (told["reason"], told["message"]) == ("Rejected", "bench: it wins 31 of 80")
        assert driver.status(KIND)["message"].startswith("Rejected: bench: it wins 31 of 80; ")
        assert [one["name"] for one in driver.status(KIND)["outputs"]] == ["report"]
        driver.api.delete(driver.path(KIND))
        await driver.pods_are()
        submit(driver, "gate", gate={**PARTS["gate"], "onNotPromoted": "Fail"})
        await driver.pods_are("demo-0-0")
        driver.run()
        driver.finish("demo-0-0", exit_code=1, message=said(1, "CannotJudge"))
        await driver.phase("Failed", KIND, reason="NotPromoted")
        told = driver.condition("Promoted", KIND)
        assert (told["status"], told["reason"]) == ("False", "CannotJudge")


async def test_it_is_suspended_resumed_cancelled_and_deleted(
    driver: Driver, start_operator: StartOperator
) -> None:
    submit(driver, "critiques")
    async with start_operator():
        await driver.pods_are("demo-0-0")
        driver.run()
        await driver.phase("Running", KIND)
        driver.edit(KIND, runPolicy={"suspend": True})
        await until(lambda: not driver.left(), what="no pods")
        await driver.phase("Suspended", KIND)
        driver.edit(KIND, runPolicy={"suspend": False})
        await driver.pods_are("demo-1-0")
        driver.run("demo-1-0")
        driver.edit(KIND, runPolicy={"cancel": True})
        await driver.phase("Failed", KIND, reason="Cancelled")
        await until(lambda: not driver.left(), what="no pods")
        driver.api.delete(driver.path(KIND))
        await until(lambda: not driver.api.exists(driver.path(KIND)), what="the job is gone")


async def test_it_takes_by_name_what_another_job_left_and_says_what_that_has_not(
    driver: Driver, start_operator: StartOperator
) -> None:
    submit(driver, "bench", bench={"records": "/data/bench.jsonl", "scoresJob": "other"})
    async with start_operator():
        await driver.phase("Pending", KIND, reason="WaitingForJob")
        for name, output in (("critiques", "records"), ("score", "scores")):
            body = driver.job(KIND)
            del body["status"]
            body["metadata"] = {"name": "other"}
            del body["spec"]["bench"]
            body["spec"] |= {"step": name, STEPS[name].part: PARTS[name]}
            path = driver.path(KIND, "").rstrip("/")
            uid = driver.api.create(path, body)["metadata"]["uid"]
            await driver.pods_are("other-0-0")
            driver.run("other-0-0")
            driver.finish("other-0-0")
            if output == "scores":
                break
            await driver.phase("Pending", KIND, reason="DependencyFailed")
            told = driver.condition("DependenciesReady", KIND)["message"]
            assert "it has left no scores (it has: records)" in told
            driver.api.delete(driver.path(KIND, "other"))
            await driver.phase("Pending", KIND, reason="WaitingForJob")
            await until(lambda: not driver.all_pods(), what="the garbage collector")
        await until(lambda: "demo-0-0" in driver.pods(), what=lambda: f"{driver.status(KIND)}")
        path = f"/api/v1/namespaces/{driver.namespace}/configmaps/sj-demo"
        accepted = json.loads(driver.api.get(path)["data"]["job.json"])
    assert accepted["spec"]["bench"]["scores"] == (
        f"/shared/runs/{driver.namespace}/other/{uid}/scores.parquet"
    )
    assert accepted["metadata"]["annotations"] == {"mmrlhf.io/step-job": f"other/{uid}"}
