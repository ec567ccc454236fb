"""docs/security.md says what the operator may do, as `deploy/` grants it."""

from __future__ import annotations

import re
from pathlib import Path

from mmrlhf_operator.installation.access import GRANTS, Grant, Scope
from mmrlhf_operator.policies import Policy
from tests.manifests import load_all

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/security.md").read_text()


def row(grant: Grant) -> str:
    names = "".join(f" named `{name}`" for name in grant.names)
    resources = ", ".join(f"`{resource}`" for resource in grant.resources)
    return f"| {resources}{names} | {', '.join(grant.verbs)} | {grant.scope} | {grant.why} |"


def test_the_table_of_rights_is_that_of_the_code() -> None:
    table = PAGE.partition("## The rights of each role")[2].partition("The others'")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [row(grant) for grant in GRANTS]


def test_the_table_of_rights_is_what_is_applied() -> None:
    """Read from the files, which people apply, and not from what makes them."""
    table = PAGE.partition("## The rights of each role")[2].partition("The others'")[0]
    told = {
        (resource, verb)
        for resources, verbs in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", table, re.MULTILINE)
        for resource in re.findall(r"`([^`]+)`", resources.partition(" named ")[0])
        for verb in verbs.split(", ")
    }
    bodies = list(load_all((ROOT / "deploy/install.yaml").read_text()))
    bound = {body["roleRef"]["name"] for body in bodies if "roleRef" in body}
    granted = {
        (resource, verb)
        for body in bodies
        if body["metadata"]["name"] in bound  # other roles are what users may do
        for rule in body.get("rules") or ()
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert told == granted
    scopes = re.findall(r"^\| `[^|]+ \| [^|]+ \| (\w+) \|", table, re.MULTILINE)
    assert set(scopes) == {scope.value for scope in Scope}


def test_every_list_of_a_policy_is_described() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    fields = [field.alias for field in Policy.model_fields.values() if field.alias != "namespaces"]
    table = page.partition("## What jobs may name")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == fields
