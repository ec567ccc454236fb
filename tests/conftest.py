"""Plugins and fixtures of all tests."""

from __future__ import annotations

import gc
import itertools
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# An example has no deadline, nor has the drawing of it: on a busy machine each may take any time.
# The same code is tried with the same examples; `pytest --hypothesis-profile drawn` draws others.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("drawn", settings.get_profile("patient"), derandomize=False)
settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control has its children ignore it, and theirs; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        # By nohup, or by a trap. These tests go on, and what they start is as if nobody had.
        signal.signal(_number, lambda *_: None)

pytest_plugins = ["tests.cluster.fixtures", "tests.images.fixtures"]

# What is imported and collected stays to the end: to look for garbage in it, again and again while
# it grows, finds none.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on, but in what the tests make alone."""
    gc.freeze()
    gc.enable()


_FOLDERS = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, numbered by itself.

    pytest's own fixture looks through the folders of all tests before for a number that is free:
    of thousands, each costs milliseconds.
    """
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}-{next(_FOLDERS)}", numbered=False)


@pytest.fixture(scope="module")
def own_signals() -> Iterator[None]:
    """Run jobs in this process: they take over signal handlers, which are given back after."""
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)
