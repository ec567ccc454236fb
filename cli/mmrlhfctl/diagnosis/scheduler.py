"""What the scheduler says of a pod that it finds no node for, read."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Verdict", "read_verdict"]

_VERDICT = re.compile(r"(?P<fit>\d+)/(?P<total>\d+) nodes are available: (?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``0/5 nodes are available: 3 Insufficient nvidia.com/gpu, ...``.

    A node may be counted for several reasons.

    Attributes:
        total: How many nodes there are.
        reasons: How many nodes do not fit, and why.
        preemption: What the scheduler says of making room by force; empty where it does not.
    """

    total: int
    reasons: tuple[tuple[int, str], ...]
    preemption: str = ""


def read_verdict(text: str) -> Verdict | None:
    """Read the words of a FailedScheduling; None where they are others.

    Formats of 1.20 (``{key: value}, that the pod didn't tolerate``) to 1.36 (pkg/scheduler
    framework/types.go, FitError.Error).
    """
    match = _VERDICT.search(text)
    if match is None:
        return None
    rest, _, preemption = match["rest"].partition("preemption: ")
    first = re.split(r"\. |\.$", rest.strip(), maxsplit=1)[0]
    total = int(match["total"])
    reasons = []
    for part in re.split(r", (?=\d+ )", first):
        count, _, why = part.strip().partition(" ")
        if count.isdecimal() and why:
            reasons.append((int(count), why.rstrip(",")))
        elif part.strip():  # said of the pod, whatever the node
            reasons.append((total, part.strip()))
    return Verdict(total=total, reasons=tuple(reasons), preemption=preemption.strip().rstrip("."))
