"""DeepSpeed's optimizer Muon: it costs nothing where it is not used, and is whole where it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrlhf_jobs.training.engines.deepspeed_muon import compile_when_called
from tests.jobs.warm import AT_IMPORT, Program


def test_what_is_compiled_when_called_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def record(function: Any) -> Any:
        compiled.append(function)
        return lambda *args, **named: ("compiled", function(*args, **named))

    monkeypatch.setattr(torch, "compile", record)

    def add(one: int, *, other: int = 1) -> int:
        """Adds."""
        return one + other

    later: Any = compile_when_called(add)
    assert (later.__name__, later.__doc__, compiled) == ("add", "Adds.", [])
    assert [later(1), later(1, other=2)] == [("compiled", 2), ("compiled", 3)]
    assert compiled == [add]


def test_muon_loads_the_compiler_only_where_it_is_used(tmp_path: Path) -> None:
    env = {**os.environ, **AT_IMPORT, "LOCAL_RANK": "0"}
    program = Program("tests.jobs.training.muon", [str(tmp_path)], env)
    output, errors = program.communicate()
    assert program.returncode == 0, errors
    found = json.loads(output.splitlines()[-1])
    # Every stage asks whether its optimizer is Muon.
    assert found["norms"] == [[pytest.approx(4.0)] * 2] * 3
    assert found["at_rest"] == {"muon": True, "compiled": []}
    # It makes gradients orthogonal, times the root of 6 / 4; its five iterations come that near.
    assert found["compiled"][0] == "muon_update"
    assert all(0.6 < value / 1.5**0.5 < 1.4 for value in found["values"])
