"""A new kind is one file: `toy` is all that there is of one."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mmrlhf.client.views import JobView
from mmrlhf_api import KINDS, Job, JobFileError, find_kind, kind_of, parse_job, register
from mmrlhf_api.constants import ENV_PROGRESS_FILE, ENV_TERMINATION_FILE
from mmrlhf_api.crd import crd
from mmrlhf_api.kinds import registry
from mmrlhf_api.reference import pages
from mmrlhf_api.schema import kind_schema
from mmrlhf_jobs.components import component
from mmrlhf_operator.acting.preflight import locations
from mmrlhf_operator.state.dependencies import dependency
from mmrlhf_operator.state.store import Key
from mmrlhfctl.explanation import explain_path
from mmrlhfctl.text.job import description
from mmrlhfctl.text.jobs import JobColumns
from tests.crd_checker import check
from tests.unit.operator.world import World, job_body

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOY = "tests.unit.kinds.toy"


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[ModuleType]:
    """The kind, for as long as these tests take."""
    yield importlib.import_module(TOY)
    registry._registered.pop("CountJob")
    del sys.modules[TOY]


def _body(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "CountJob",
        "metadata": {"name": "demo"},
        "spec": {
            "artifacts": {"uri": "/shared/runs"},
            "image": "example.org/count:1",
            "data": {"uri": "s3://bucket/lines.txt"},
            **spec,
        },
    }


def _parsed(**spec: Any) -> Job:
    return parse_job(_body(**spec), source="<test>")


def _world(**spec: Any) -> World:
    body = job_body()  # of another kind, for its metadata
    return World({**body, **_body(**spec), "metadata": body["metadata"]})


def test_it_is_validated(toy: ModuleType) -> None:
    job = _parsed()
    assert isinstance(job, toy.CountJob)
    assert (job.spec.least, job.spec.most) == (1, 1000)
    assert kind_of(job) is find_kind("cj") is KINDS["CountJob"]
    with pytest.raises(JobFileError, match=r"spec\.least: must be at most most"):
        _parsed(least=5, most=4)
    with pytest.raises(JobFileError, match=r"unknown field; did you mean least"):
        _parsed(leest=5)


def test_it_is_made_into_a_crd_and_a_page() -> None:
    assert not check(crd(KINDS["CountJob"]))
    rules = kind_schema(KINDS["CountJob"])["properties"]["spec"]["x-kubernetes-validations"]
    assert {"rule": "self.least <= self.most", "message": "least must be at most most"} in rules
    made = crd(KINDS["CountJob"])
    assert made["metadata"]["name"] == "countjobs.mmrlhf.io"
    (version,) = made["spec"]["versions"]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert "Read" in columns
    assert "Margin" not in columns
    assert "Smallest number to be content with." in pages()["countjob.md"]


def test_it_is_planned_and_rendered() -> None:
    there = _world(resources={"nodes": 2})
    there.settle()
    assert set(there.pods) == {"demo-0-0", "demo-0-1"}
    (container,) = there.pods["demo-0-0"]["spec"]["containers"]
    assert container["image"] == "example.org/count:1"
    command = [*container["command"], *container.get("args", ())]
    assert command[-3:] == ["-m", "mmrlhf_jobs.launch", "count"]
    there.run()
    there.settle()
    for name in sorted(there.pods):
        there.finish(name)
    there.settle()
    assert there.status["phase"] == "Succeeded"


def test_it_waits_for_the_job_that_it_names_and_takes_what_that_left() -> None:
    there = _world(base={"jobName": "judge"})
    assert dependency(there.body) == Key("CountJob", "default", "judge")
    there.settle()
    message = there.conditions["DependenciesReady"]["message"]
    assert message.startswith("spec.base.jobName: waits for CountJob judge: there is none")
    there.train_reward("Succeeded")  # a job of that name; what kind it is, the watch has seen to
    there.settle()
    assert there.config_map is not None
    started = json.loads(there.config_map["data"]["job.json"])
    assert started["spec"]["base"] == {"uri": "/shared/runs/default/judge/uid-r/count.json"}
    assert started["metadata"]["annotations"] == {"mmrlhf.io/base-job": "judge/uid-r"}


def test_what_it_reads_is_looked_up_beforehand() -> None:
    job = _parsed(base={"uri": "s3://bucket/count.json"})
    found = [(place.field, place.uri, place.reason) for place in locations(job)]
    assert found == [
        ("spec.data.uri", "s3://bucket/lines.txt", "DataMissing"),
        ("spec.base.uri", "s3://bucket/count.json", "DataMissing"),
    ]


def test_it_runs(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one\ntwo\n")
    job = tmp_path / "job.json"
    spec = {"artifacts": {"uri": str(tmp_path)}, "data": {"uri": str(lines)}}
    job.write_text(json.dumps(_body(**spec)))
    (role,) = component(_parsed(**spec)).roles
    assert role.args == ["-m", "mmrlhf_jobs.launch", "count"]
    code = f"import sys, {TOY}; from mmrlhf_jobs.__main__ import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run(
        [sys.executable, "-c", code, role.args[-1], "--job", str(job)],
        cwd=ROOT,
        env={
            **os.environ,
            ENV_PROGRESS_FILE: str(tmp_path / "progress.jsonl"),
            ENV_TERMINATION_FILE: str(tmp_path / "termination.json"),
        },
        check=True,
    )
    (left,) = tmp_path.glob("default/demo/*/count.json")
    assert left.read_text() == "2\n"
    told = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [event["event"] for event in told] == ["step", "done"]


def test_it_is_listed_described_and_explained() -> None:
    body = _world().body | {
        "status": {"phase": "Running", "progress": {"step": 41, "rowsRead": 41}}
    }
    job = JobView.read(body)
    kinds = [job.kind]
    columns = JobColumns(kinds, namespaces=False, wide=True)
    row = dict(zip(columns.headers, columns.row(job, NOW), strict=True))
    assert (row["KIND"], row["NAME"], row["READ"]) == ("cj", "demo", "41")
    assert "MARGIN" not in columns.headers
    told = "\n".join(description(job, (), (), NOW))
    assert "CountJob" in told
    assert "41 rows read" in told
    assert "FIELD:    spec.least <integer>" in explain_path("count.spec.least")


def test_a_name_that_is_taken_is_refused(toy: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"CountJob: CountJob has CountJob, .* as a name"):
        register(toy.KIND)
