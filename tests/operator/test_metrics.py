"""What a replica of the operator serves to Prometheus and logs, as it takes a job to its end."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from mmrlhf_api.tracing import ENV_TRACEPARENT
from mmrlhf_operator.installation.alerts import ALERTS
from mmrlhf_operator.installation.dashboard import PANELS
from tests.cluster.access import Access
from tests.cluster.wait import wait_until
from tests.collector import Collector, collector
from tests.operator.driver import CONFIG, Driver
from tests.operator.life import attempt
from tests.operator.metrics_page import Page
from tests.operator.test_process import answers, log, start
from tests.ports import free_port

pytestmark = pytest.mark.cluster


async def test_who_works_tells_what_became_of_jobs_and_who_stands_by_that_it_does(
    control_plane: Access, driver: Driver, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        traces = stack.enter_context(collector())
        one = replica(stack, control_plane, driver, tmp_path / "one", tracingUrl=traces.url)
        wait_until(lambda: one.value("mmrlhf_leader") == 1, timeout=60, what="its work")
        two = replica(stack, control_plane, driver, tmp_path / "two")

        driver.submit(runPolicy={"backoffSeconds": 0})
        await attempt(driver, 0)
        assert one.value("mmrlhf_jobs", kind="MMDPOJob") == 1
        for index in (0, 1):
            driver.finish(f"demo-0-{index}", exit_code=137)
        await attempt(driver, 1)
        for index in (0, 1):
            driver.finish(f"demo-1-{index}")
        await driver.phase("Succeeded", seconds=60)

        job = {"kind": "MMDPOJob"}
        wait_until(lambda: traces.named("MMDPOJob"), timeout=60, what="the trace")
        is_as_it_was(traces, driver)
        wait_until(
            lambda: one.value("mmrlhf_trace_spans_total", result="sent") == len(traces.spans),
            timeout=30,
            what="their count",
        )

        # The status is there a moment before it is counted.
        wait_until(
            lambda: one.value("mmrlhf_jobs", **job, phase="Succeeded") == 1,
            timeout=30,
            what="the end",
        )
        assert one.value("mmrlhf_jobs") == 1
        assert one.value("mmrlhf_jobs_blocked") == 0
        ended = "mmrlhf_jobs_ended_total"
        assert one.value(ended) == 1
        assert one.value(ended, **job, phase="Succeeded", reason="Completed") == 1
        restarts = "mmrlhf_job_restarts_total"
        assert one.value(restarts) == 1
        assert one.value(restarts, **job, reason="Killed", counted="true") == 1
        reconciles = one.value("mmrlhf_reconcile_duration_seconds_count", **job)
        assert 0 < reconciles <= one.value("mmrlhf_reconciles_total", **job)
        assert one.value("mmrlhf_queue_wait_seconds_count") >= reconciles
        assert one.value("mmrlhf_api_requests_total", verb="create", code="201") >= 4  # pods
        assert one.value("mmrlhf_lease_tries_total", result="held") >= 1
        assert one.value("mmrlhf_watches_deaf") == 0
        assert one.value("process_resident_memory_bytes") > 0
        assert driver.namespace not in one.text()
        assert "demo" not in one.text()
        asked = [query for panel in PANELS for query in panel.queries.values()]
        asked += [alert.expression for alert in ALERTS]
        served = {family.name for family in one.families()}
        for name in set(re.findall(r"\b(?:mmrlhf|process)_\w+", " ".join(asked))):
            assert name.removesuffix("_total").removesuffix("_bucket") in served

        assert two.value("mmrlhf_leader") == 0
        assert two.value("mmrlhf_jobs") == 0
        assert two.value("mmrlhf_lease_tries_total", result="standby") >= 1

    lines = [json.loads(line) for line in log(tmp_path / "one").splitlines()]
    (end,) = (line for line in lines if "Succeeded (Completed)" in line["message"])
    assert end["job"] == {"kind": "MMDPOJob", "namespace": driver.namespace, "name": "demo"}
    assert (end["level"], end["logger"]) == ("INFO", "mmrlhf_operator.acting.reconciler")


def test_the_optional_files_are_ones_that_a_server_takes(
    control_plane: Access, kube_namespace: str
) -> None:
    folder = Path(__file__).parents[2] / "deploy/monitoring"
    made = control_plane.kubectl("kustomize", str(folder)).stdout
    core = [text for text in made.split("\n---\n") if "apiVersion: v1\n" in text]
    assert len(core) == 2  # a Service and a ConfigMap; of the others it knows no kind
    moved = "\n---\n".join(core).replace("mmrlhf-system", kube_namespace)
    control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=moved)
    where = ("get", "--namespace", kube_namespace, "--output=json")
    dashboard = json.loads(
        control_plane.kubectl(*where, "configmap/mmrlhf-operator-dashboard").stdout
    )
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["dashboard.json"])["uid"] == "mmrlhf-operator"
    control_plane.kubectl(*where, "service/mmrlhf-operator-metrics")


def is_as_it_was(traces: Collector, driver: Driver) -> None:
    """The trace is that of a job whose second attempt ended well."""
    uid = driver.job()["metadata"]["uid"]
    assert {span.trace for span in traces.spans} == {UUID(uid).hex}
    known = {span.id: span for span in traces.spans}
    (root,) = traces.named("MMDPOJob")
    assert root.parent == ""
    attempts = traces.named("attempt")
    assert [(span.parent, span.failed) for span in attempts] == [
        (root.id, "Killed"),
        (root.id, None),
    ]
    assert {span.attributes["k8s.pod.name"] for span in traces.named("pod")} == {
        f"demo-{attempt}-{index}" for attempt in (0, 1) for index in (0, 1)
    }
    for span in traces.spans:
        assert span.start <= span.end
        assert span is root or span.parent in known
    pod = driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods/demo-1-1")
    (main,) = pod["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in main["env"]}
    assert told[ENV_TRACEPARENT] == f"00-{root.trace}-{attempts[1].id}-01"


def replica(stack: ExitStack, access: Access, driver: Driver, folder: Path, **more: str) -> Page:
    """Start one with measures and a log for machines."""
    address = f"127.0.0.1:{free_port()}"
    quick = CONFIG.model_dump(mode="json", by_alias=True, exclude_unset=True)
    _, port = start(
        stack,
        access,
        driver.namespace,
        folder,
        settings={**quick, "metricsAddress": address, "logFormat": "json", **more},
    )
    wait_until(lambda: answers(port), timeout=60, what="its health")
    return Page(address)
