"""Alerts and dashboard ask for what is measured, and each alert leads to advice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_operator.installation.alerts import ALERTS, Alert, rules
from mmrlhf_operator.installation.dashboard import PANELS, ROWS, dashboard
from mmrlhf_operator.installation.files import files
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.serving.metrics import METRICS_PATH
from tests.manifests import load_all
from tests.unit.operator.test_metrics import tell_everything

ROOT = Path(__file__).resolve().parents[3]
FILES = files("1.2.3")
SERIES = re.compile(r"\b(?:mmrlhf|process)_\w+")


def exported() -> dict[str, set[str]]:
    """Labels of each series that can be asked for."""
    metrics = Metrics()
    tell_everything(metrics)
    return {
        sample.name: set(sample.labels)
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def queries() -> list[str]:
    asked = [query for panel in PANELS for query in panel.queries.values()]
    return [*asked, *(alert.expression for alert in ALERTS)]


@pytest.mark.parametrize("query", queries())
def test_what_is_asked_for_is_exported_with_these_labels(query: str) -> None:
    there = exported()
    names = set(SERIES.findall(query))
    assert names
    assert names <= set(there)
    by = re.findall(r"by \(([^)]*)\)", query)
    labels = {label for some in by for label in re.split(r",\s*", some)}
    labels |= set(re.findall(r"(\w+)=~?\"", query))
    assert labels <= set().union(*(there[name] for name in names))


def test_every_measure_of_ours_is_on_the_dashboard() -> None:
    shown = {name for panel in PANELS for query in panel.queries.values()
             for name in SERIES.findall(query)}  # fmt: skip
    ours = {name for name in exported() if name.startswith("mmrlhf_")}
    assert {name for name in ours if not name.endswith(("_sum", "_count"))} == {
        name for name in shown if name.startswith("mmrlhf_")
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_leads_to_a_section_that_says_what_to_do(alert: Alert) -> None:
    page, _, anchor = alert.runbook.partition("#")
    text = (ROOT / page).read_text()
    sections = {
        title.lower().replace(" ", "-"): body
        for title, body in re.findall(
            r"^### (.+?)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE
        )
    }
    assert "**Cause.**" in sections[anchor]
    assert "**What to do.**" in sections[anchor]
    assert alert.severity in {"critical", "warning"}
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary))
    assert named <= set(re.findall(r"by \((\w+)\)", alert.expression))


def test_no_section_is_about_an_alert_that_there_is_not() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text()
    assert re.findall(r"^### Alert (\w+)$", text, re.MULTILINE) == [alert.name for alert in ALERTS]


def test_the_page_lists_what_is_measured_and_nothing_else() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    told = re.findall(r"^\| `(mmrlhf_\w+)` \|(.*?)\|", page, re.MULTILINE)
    there = exported()
    wanted = {}
    for name, labels in there.items():
        if name.startswith("mmrlhf_") and not name.endswith(("_sum", "_count")):
            wanted[name.removesuffix("_bucket")] = labels - {"le"}
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in told} == wanted


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    made = json.loads(dashboard())
    assert json.loads(FILES["monitoring/dashboard.json"]) == made
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)
    graphs = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in graphs] == [panel.title for panel in PANELS]
    assert [one["title"] for one in made["panels"] if one["type"] == "row"] == list(ROWS)
    taken = [
        (across, down)
        for x, y, width, height in (
            [panel["gridPos"][side] for side in "xywh"] for panel in made["panels"]
        )
        for across in range(x, x + width)
        for down in range(y, y + height)
    ]
    assert len(set(taken)) == len(taken)  # none lies upon another
    assert max(across for across, _ in taken) < 24
    (source,) = made["templating"]["list"]
    for panel in graphs:
        for part in (panel, *panel["targets"]):
            assert part["datasource"]["uid"] == f"${{{source['name']}}}"


def documents(name: str) -> list[dict[str, Any]]:
    return list(load_all(FILES[name]))


def test_prometheus_is_led_to_the_port_that_it_may_reach() -> None:
    service, monitor = documents("monitoring/monitor.yaml")
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert endpoint.get("path", "/metrics") == METRICS_PATH
    for folder in ("cluster", "namespace"):
        made = {body["kind"]: body for body in documents(f"{folder}/operator.yaml")}
        pod = made["Deployment"]["spec"]["template"]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        (container,) = pod["spec"]["containers"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        assert ports[port["targetPort"]] == port["port"]
        environ = {one["name"]: one.get("value") for one in container["env"]}
        assert environ["MMRLHF_METRICS_ADDRESS"] == f":{port['port']}"
        ingress = made["NetworkPolicy"]["spec"]["ingress"]
        (rule,) = [rule for rule in ingress if rule["ports"][0]["port"] == port["port"]]
        (who,) = rule["from"]
        (label,) = who["namespaceSelector"]["matchLabels"].items()
        assert "=".join(label) in (ROOT / "docs/operations.md").read_text()


def test_other_services_of_the_operator_are_not_measured_twice() -> None:
    _, monitor = documents("monitoring/monitor.yaml")
    (service,) = (b for b in documents("cluster/operator.yaml") if b["kind"] == "Service")
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= service["metadata"]["labels"].items()


def test_the_rules_are_those_of_the_file() -> None:
    (rule,) = documents("monitoring/alerts.yaml")
    assert rule["spec"] == rules()
