"""Waiting for something to come true, with a deadline and a message that says for what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.cluster.errors import WaitTimeoutError
from tests.patience import PATIENCE, pauses

T = TypeVar("T")


def wait_until(probe: Callable[[], T], *, timeout: float, what: str, interval: float = 0.05) -> T:
    """Call `probe` until it returns something true, and return that.

    Args:
        probe: is called at once and then again and again.
        timeout: seconds until `WaitTimeoutError` on an idle machine; see `tests.patience`.
        what: names the thing waited for, in the error.
        interval: seconds between two calls at first; see `tests.patience.pauses`.
    """
    deadline = time.monotonic() + timeout * PATIENCE
    for pause in pauses(interval, most=max(interval, 0.5)):
        value = probe()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise WaitTimeoutError(
                f"{what} did not come within {timeout * PATIENCE:g} s; last seen: {value!r}"
            )
        time.sleep(pause)
    raise AssertionError("there is always a next pause")
