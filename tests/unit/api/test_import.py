"""Who reads tables alone builds no types: what the packages of the API load, and when."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mmrlhf_api.kinds import KINDS, registry
from mmrlhf_api.kinds.kind import Kind
from mmrlhf_api.pipelines import RESOURCES

LAZY = ("mmrlhf_api", "mmrlhf_api.kinds", "mmrlhf_api.pipelines")
TABLES = """
import sys
import mmrlhf_api.kinds, mmrlhf_api.pipelines.phases, mmrlhf_api.pipelines.resources
import mmrlhf_api.kinds.step_catalog, mmrlhf_api.progress, mmrlhf_api.sweeps.phases
from mmrlhf_api.kinds import KINDS, listed
assert listed(KINDS.values()) and all(kind.aliases for kind in KINDS.values())
print(*(name for name in sys.modules if name.startswith({heavy!r})))
"""
HEAVY = ("annotated_types", "mmrlhf_api.kinds.types", "pydantic", "yaml")


def test_tables_are_read_without_types() -> None:
    code = TABLES.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", LAZY)
def test_names_come_from_where_type_checkers_are_told(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    (told,) = (
        node
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    found = {
        name.name: node.module
        for node in told.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert found
    assert set(found) <= set(module.__all__)
    for name, home in found.items():
        assert home is not None
        assert module.__getattr__(name) is getattr(importlib.import_module(home), name)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Jobb'"):
        module.Jobb  # noqa: B018 - it is what is tested


@pytest.mark.parametrize("entry", [*KINDS.values(), *RESOURCES.values()], ids=lambda one: one.name)
def test_each_entry_has_the_type_of_its_kind(entry: Kind) -> None:
    assert entry.model.model_fields["kind"].default == entry.name == entry.model.__name__


def test_a_type_of_another_kind_is_refused() -> None:
    own = vars(KINDS["StepJob"]) | {"home": KINDS["MMDPOJob"].home}
    with pytest.raises(ValueError, match=r"MMDPOJob\.kind must be StepJob"):
        _ = Kind(**own).model
    assert registry.KINDS["StepJob"].model.__name__ == "StepJob"
