"""``import mmrlhf``: quick, without torch, and every name is where it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mmrlhf

HEAVY = {"kubernetes", "mmrlhf_api", "mmrlhf_jobs", "numpy", "pydantic", "torch", "torchx", "yaml"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that are loaded after some code ran."""
    tell = "import sys; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_import_loads_nothing_heavy() -> None:
    assert not loaded_after("import mmrlhf; dir(mmrlhf)") & HEAVY


@pytest.mark.parametrize("name", ["Client", "run", "load_job", "Step", "JobView"])
def test_what_the_cli_stands_on_is_without_torch(name: str) -> None:
    assert not loaded_after(f"import mmrlhf; mmrlhf.{name}") & {"torch", "transformers", "torchx"}


def test_all_names_are_there() -> None:
    assert set(dir(mmrlhf)) == {*mmrlhf._HOMES, "losses"}
    for name in mmrlhf.__all__:
        assert getattr(mmrlhf, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Clint'"):
        mmrlhf.Clint  # noqa: B018 - it is what is tested
