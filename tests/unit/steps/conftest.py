"""Inputs of steps, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.steps.world import make_inputs, model_server


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of inputs, and a model server that its endpoints name."""
    folder = tmp_path_factory.mktemp("inputs")
    with model_server() as url:
        make_inputs(folder, url)
        yield folder
