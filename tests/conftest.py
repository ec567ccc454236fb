"""Plugins and fixtures of all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.cluster.fixtures", "tests.images.fixtures"]


@pytest.fixture(scope="module")
def own_signals() -> Iterator[None]:
    """Run jobs in this process: they take over signal handlers, which are given back after."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)
