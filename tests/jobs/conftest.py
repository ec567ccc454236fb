"""Fixtures that several kinds of job tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.jobs.training.world import World


@pytest.fixture(scope="module")
def one_thread(own_signals: None) -> Iterator[None]:
    """Run jobs in this process with as many threads as the others: the bits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that nobody changes."""
    return World.make(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A world of the test's own."""
    return World.copy(template, tmp_path / "world")
