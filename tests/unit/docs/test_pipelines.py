"""docs/pipelines.md: what other tools are told of runs is what the status really says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api.constants import Phase
from mmrlhf_api.kinds import KINDS
from mmrlhf_api.members import meanings
from mmrlhf_api.pipelines import RUN, parse_pipeline
from mmrlhf_api.pipelines.phases import StepPhase
from mmrlhf_api.pipelines.types import RunCondition
from mmrlhf_api.schema import kind_schema
from mmrlhf_api.yamltree import Document
from mmrlhf_operator.planning.reasons import RunReason

PAGE = (Path(__file__).resolve().parents[3] / "docs/pipelines.md").read_text()
OBJECTS = [
    document
    for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for document in yaml.safe_load_all(text)
]
STATUS = kind_schema(RUN)["properties"]["status"]


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (one for one in OBJECTS if one["kind"] == kind)
    return dict(found)


def rows(title: str) -> dict[str, str]:
    """First and second cell of a table, by its header's first cell."""
    text = PAGE[PAGE.index(f"| {title} |") :].split("\n\n")[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()[2:]]
    return {row[0].strip("`"): row[1] for row in cells}


def test_reasons_are_all_there_in_the_words_of_the_code() -> None:
    told = rows("reason")
    assert set(told) == set(RunReason)
    for name, meaning in meanings(RunReason).items():
        start = meaning.rstrip(".")
        assert told[name].lower().startswith(start[:30].lower()), name


def test_phases_of_steps_and_kinds_are_all_there() -> None:
    assert set(rows("step")) == set(StepPhase)
    assert set(rows("kind")) == set(KINDS)


@pytest.mark.parametrize(
    ("name", "phase"), [("successCondition", "Succeeded"), ("failureCondition", "Failed")]
)
def test_argo_waits_for_what_the_status_has(name: str, phase: str) -> None:
    (template,) = of_kind("Workflow")["spec"]["templates"]
    condition = template["resource"][name]
    # Argo reads it as a label selector over paths of the object (workflow/executor/resource.go).
    path, operator, value = re.fullmatch(r"([\w.]+) (==|!=) (\w+)", condition).groups()  # type: ignore[union-attr]
    assert operator == "=="
    assert value == phase
    assert value in set(Phase)
    top, field = path.split(".")
    assert top == "status"
    assert value in STATUS["properties"][field]["enum"]


def test_argo_makes_a_run_that_is_valid() -> None:
    (template,) = of_kind("Workflow")["spec"]["templates"]
    assert template["resource"]["action"] == "create"
    body = yaml.safe_load(template["resource"]["manifest"])
    parse_pipeline(Document(body, {}), source="argo", in_cluster=True)


def test_flux_is_told_of_a_run_of_the_page() -> None:
    (check,) = of_kind("Kustomization")["spec"]["healthChecks"]
    run = of_kind("AlignmentRun")
    assert (check["apiVersion"], check["kind"]) == (run["apiVersion"], run["kind"])
    assert check["name"] == run["metadata"]["name"]


def test_conditions_that_are_waited_for_are_those_of_a_run() -> None:
    waited = re.findall(r"--for=condition=(\w+)", PAGE)
    assert waited == ["Succeeded", "Reconciling"]
    assert set(waited) <= set(RunCondition)
    listed = PAGE[PAGE.index("Conditions of a run are") :].split("\n\n")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", listed)) == set(RunCondition)
