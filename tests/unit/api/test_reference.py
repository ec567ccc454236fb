"""The job reference has every field, as the types have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmrlhf_api import KINDS
from mmrlhf_api.constants import ConditionType, Phase
from mmrlhf_api.generate import main
from mmrlhf_api.notation import element
from mmrlhf_api.reference import pages
from mmrlhf_api.schema import kind_schema
from tests.unit.api.test_schema import Node, nodes

FOLDER = Path(__file__).resolve().parents[3] / "docs/reference"
PAGES = pages()


def rows(page: str) -> dict[str, list[str]]:
    """Cells after the first of each row, by path of the field."""
    found = {}
    for title, text in re.findall(
        r"^## ([\w.\[\]]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL
    ):
        for line in re.findall(r"^\| `.*\|$", text, re.MULTILINE):
            name, *cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found[f"{title}.{name.strip('`')}"] = cells
    return found


def fields(node: Node, path: str) -> dict[str, Node]:
    """All fields below a node by path, as the pages write it."""
    inner = {f"{path}{below}": child for below, child in nodes(node) if below}
    return {name: child for name, child in inner.items() if not name.endswith(("[]", ".*"))}


def test_committed_pages_are_up_to_date() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == PAGES, "run: make crds"


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_spec_is_there(kind: str) -> None:
    page = PAGES[f"{KINDS[kind].singular}.md"]
    spec = kind_schema(KINDS[kind])["properties"]["spec"]
    shown, expected = rows(page), fields(spec, "spec")
    assert shown.keys() == expected.keys()
    for path, node in expected.items():
        kind_text, default, meaning = shown[path]
        assert meaning.replace("\\", "") == node["description"], path
        if "properties" in element(node):
            assert kind_text.startswith("["), path
        match node.get("default"):
            case bool(value):
                assert default == f"`{str(value).lower()}`", path
            case int(value) | float(value):
                assert float(default.strip("`")) == value, path
            case str(value):
                assert default == f"`{value}`", path
    for name in spec["required"]:
        assert shown[f"spec.{name}"][1] == "**required**"


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_is_told_and_immutability_once(kind: str) -> None:
    page = PAGES[f"{KINDS[kind].singular}.md"].replace("\\", "")
    rules = {
        rule["message"]
        for _, node in nodes(kind_schema(KINDS[kind])["properties"]["spec"])
        for rule in node.get("x-kubernetes-validations", ())
    }
    assert len(rules) > 20
    for message in rules:
        fixed = message.endswith("cannot change after the job was created; create a new job")
        assert (f"{message}\n" in page) is not fixed, message
    assert "only `runPolicy` may change" in page


def test_the_status_page_has_fields_phases_and_conditions() -> None:
    page = PAGES["status.md"]
    status = kind_schema(KINDS["MMDPOJob"])["properties"]["status"]
    assert rows(page).keys() >= fields(status, "status").keys()
    for word in (*Phase, *ConditionType):
        assert f"| `{word}` | " in page


def test_units_limits_and_choices_are_told() -> None:
    shown = rows(PAGES["mmdpojob.md"])
    assert shown["spec.runPolicy.backoffSeconds"][:2] == ["integer, seconds, `>= 0`", "`10`"]
    assert shown["spec.resources.memory"][:2] == ["quantity", "`8Gi`"]
    assert shown["spec.objective.pairs"][0] == "string, `all` \\| `hardest` \\| `extremes`"
    assert shown["spec.podTemplate.env"][0] == "[list of object](#specpodtemplateenv)"
    assert shown["spec.podTemplate.labels"][0] == "map[string]string"


def test_a_folder_of_the_users_own_gets_the_crds_only(tmp_path: Path) -> None:
    assert main(["--output-dir", str(tmp_path)]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".yaml"}
