"""The generated schemas against the rules of the API server and against the types."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_api import KINDS, parse_job
from mmrlhf_api.base import wire_dict
from mmrlhf_api.crd import crd, crd_file_name, render
from mmrlhf_api.generate import main
from mmrlhf_api.schema import kind_schema, write_floats
from tests.unit.api.specimens import MINIMAL, changed

Node = dict[str, Any]
CRDS = Path(__file__).resolve().parents[3] / "crds"

# The fields of JSONSchemaProps that a structural schema may use (apiextensions.k8s.io/v1).
ALLOWED = {
    "additionalProperties", "anyOf", "default", "description", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum",
    "minItems", "minLength", "minProperties", "minimum", "pattern", "properties", "required",
    "type", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    "x-kubernetes-validations",
}  # fmt: skip


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}.*")


@pytest.fixture(
    scope="module", params=[(kind, cel) for kind in KINDS for cel in (True, False)], ids=str
)
def schema(request: pytest.FixtureRequest) -> Node:
    kind, cel = request.param
    return kind_schema(KINDS[kind], cel=cel)


def test_the_schema_is_structural(schema: Node) -> None:
    for path, node in nodes(schema):
        assert set(node) <= ALLOWED, path
        if node.get("x-kubernetes-int-or-string"):
            assert "type" not in node
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        else:
            assert node["type"] in {"object", "array", "string", "integer", "number", "boolean"}
            assert "anyOf" not in node, path
        assert not {"properties", "additionalProperties"} <= set(node), path
        assert ("items" in node) == (node.get("type") == "array"), path
        assert node.get("default", "") is not None, path
        for exclusive in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(node.get(exclusive, True), bool), path
        if node.get("x-kubernetes-list-type") == "map":
            (key,) = node["x-kubernetes-list-map-keys"]
            assert key in node["items"]["required"], path


def test_everything_is_described(schema: Node) -> None:
    for path, node in nodes(schema):
        if path.startswith(".metadata") or path.endswith(("[]", ".*")):
            continue
        assert node.get("description"), path
        assert "\n" not in node["description"], path


def test_everything_is_bounded(schema: Node) -> None:
    """The API server prices CEL rules by the largest object that the schema admits."""
    for path, node in nodes(schema["properties"]["spec"]):
        if node.get("type") == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
            assert "x-kubernetes-list-type" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_patterns_are_of_the_subset_that_go_understands(schema: Node) -> None:
    for path, node in nodes(schema):
        if "pattern" in node:
            assert node["pattern"].startswith("^"), path
            assert node["pattern"].endswith("$"), path
            assert not re.search(r"\(\?|\\[1-9]", node["pattern"]), path


def apply_defaults(value: Any, node: Node) -> None:
    """Fill in defaults top down, as the API server does."""
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = copy.deepcopy(child["default"])
            if name in value:
                apply_defaults(value[name], child)
    elif isinstance(value, list):
        for entry in value:
            apply_defaults(entry, node["items"])


def test_a_default_is_whole_as_it_is_written(schema: Node) -> None:
    """API servers judge rules on it before they fill in what is below, and refuse a part of one."""
    for path, node in nodes(schema):
        if "default" in node:
            filled = copy.deepcopy(node["default"])
            apply_defaults(filled, node)
            assert filled == node["default"], path


def prune_empty(value: Any) -> Any:
    """Drop empty maps and lists: to be absent and to be empty is the same to the types."""
    if isinstance(value, dict):
        pruned = {name: prune_empty(child) for name, child in value.items()}
        return {name: child for name, child in pruned.items() if child not in ({}, [])}
    if isinstance(value, list):
        return [prune_empty(entry) for entry in value]
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_fills_in_the_same_defaults_as_the_types(kind: str) -> None:
    data = changed(kind)
    if kind != "ClusterSampleJob":  # parts that are absent unless a user writes them
        data["spec"]["podTemplate"] = {
            "env": [{"name": "A", "value": "b"}],
            "tolerations": [{"key": "a"}],
        }
    if "data" in data["spec"]:
        data["spec"]["data"]["evaluation"] = {"uri": "e.jsonl"}
    expected = wire_dict(parse_job(data, source="x"))["spec"]
    spec = copy.deepcopy(data["spec"])
    apply_defaults(spec, kind_schema(KINDS[kind])["properties"]["spec"])
    assert prune_empty(spec) == prune_empty(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_required_fields_are_those_of_the_types(kind: str) -> None:
    schema = kind_schema(KINDS[kind])["properties"]["spec"]
    assert set(schema["required"]) == set(MINIMAL[kind]) - {"reward", "score"}


def test_status_has_no_defaults() -> None:
    for kind in KINDS.values():
        status = kind_schema(kind)["properties"]["status"]
        assert not [path for path, node in nodes(status) if "default" in node]


def test_metadata_restricts_the_name_only() -> None:
    """The API server refuses anything else there."""
    for kind in KINDS.values():
        metadata = kind_schema(kind)["properties"]["metadata"]
        assert set(metadata) == {"type", "properties"}
        assert set(metadata["properties"]) == {"name"}


@pytest.mark.parametrize("kind", KINDS)
def test_rules_can_be_left_out(kind: str) -> None:
    assert "x-kubernetes-validations" in json.dumps(crd(KINDS[kind]))
    assert "x-kubernetes-validations" not in json.dumps(crd(KINDS[kind], cel=False))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_spec_but_run_policy_is_immutable(kind: str) -> None:
    spec = kind_schema(KINDS[kind])["properties"]["spec"]
    rules = [rule["rule"] for rule in spec["x-kubernetes-validations"]]
    held = {name for name in spec["properties"] for rule in rules if f"oldSelf.{name}" in rule}
    assert held == set(spec["properties"]) - {"runPolicy"}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_point_at_fields_that_exist(kind: str) -> None:
    (version,) = crd(KINDS[kind])["spec"]["versions"]
    known = {path for path, _ in nodes(version["schema"]["openAPIV3Schema"])}
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"]
        assert path in known or path == ".metadata.creationTimestamp"


def test_each_kind_lists_its_own_figure() -> None:
    def shown(kind: str) -> list[str]:
        (version,) = crd(KINDS[kind])["spec"]["versions"]
        return [c["name"] for c in version["additionalPrinterColumns"] if not c.get("priority")]

    assert shown("MMDPOJob") == ["Phase", "Ready", "Attempt", "Step", "Margin", "Age"]
    assert shown("RewardTrainJob") == ["Phase", "Ready", "Attempt", "Step", "Accuracy", "Age"]
    assert shown("ClusterSampleJob") == [
        *("Phase", "Ready", "Attempt", "Stage", "Read", "Embedded", "Selected", "Age")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_committed_files_are_up_to_date(kind: str) -> None:
    path = CRDS / crd_file_name(KINDS[kind])
    assert path.read_text() == render(KINDS[kind]), "run: python -m mmrlhf_api.generate"


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_fits_kubectl_apply(kind: str) -> None:
    """Client-side apply copies the object into an annotation of at most 256 KiB."""
    assert len(json.dumps(yaml.safe_load(render(KINDS[kind])))) < 200_000


def test_check_reports_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--output-dir", str(tmp_path)]
    assert main(["--check", *folder]) == 1
    assert "Run: python -m mmrlhf_api.generate" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(folder) == 0
    assert main(["--check", *folder]) == 0
    (tmp_path / crd_file_name(KINDS["MMDPOJob"])).write_text("other")
    assert main(["--check", *folder]) == 1
    assert main([*folder, "--without-cel"]) == 0
    assert main(["--check", *folder]) == 1


def test_files_without_rules_never_replace_the_committed_ones() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--without-cel"])
    assert caught.value.code == 2


def test_a_schema_is_the_callers_own() -> None:
    kind_schema(KINDS["MMDPOJob"])["properties"].clear()
    assert "spec" in kind_schema(KINDS["MMDPOJob"])["properties"]


def test_libyaml_writes_what_python_does() -> None:
    kind = KINDS["StepJob"]
    text = yaml.safe_dump(crd(kind), sort_keys=False, width=100, default_flow_style=False)
    assert render(kind).partition("\n")[2] == text


def test_bounds_of_numbers_are_written_alike_whatever_was_imported_first() -> None:
    """0 and 0.0 are one key of typing's cache, so that types may have either."""
    node: Node = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
    write_floats(node)
    assert repr(node) == repr({"type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0})
    whole: Node = {"type": "integer", "minimum": 0}
    write_floats(whole)
    assert repr(whole["minimum"]) == "0"
    found = [
        repr(one[name])
        for kind in KINDS.values()
        for _, one in nodes(kind_schema(kind))
        if one.get("type") == "number"
        for name in ("minimum", "maximum")
        if name in one
    ]
    assert found
    assert all("." in text or "e" in text for text in found), found
