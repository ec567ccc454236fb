"""Plugins and fixtures of all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# An example has no deadline: on a busy machine each may take any time.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control has its children ignore it, and theirs; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.cluster.fixtures", "tests.images.fixtures"]


@pytest.fixture(scope="module")
def own_signals() -> Iterator[None]:
    """Run jobs in this process: they take over signal handlers, which are given back after."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)
