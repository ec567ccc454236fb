"""Fixtures that several kinds of job tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.trainers.world import World


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that nobody changes."""
    return World.make(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A world of the test's own."""
    return World.copy(template, tmp_path / "world")


@pytest.fixture(scope="module")
def own_signals() -> Iterator[None]:
    """Run jobs in this process: they take over signal handlers, which are given back after."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)
