"""Fixtures that several kinds of job tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.training.world import World


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that nobody changes."""
    return World.make(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A world of the test's own."""
    return World.copy(template, tmp_path / "world")
