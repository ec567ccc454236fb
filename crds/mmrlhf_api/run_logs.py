"""How the logs of a run lie in its artifact store.

::

    <run>/logs/attempt-<attempt>/node-<node>/<start>/<number>.log

A log is a row of pieces, as object stores cannot append: each has whole lines and at most
`PIECE_BYTES`, and the last one is replaced until it is full. A line begins with when it was
written, as lines of the kubelet do. A start is one of the node's launcher: an attempt has one, on a
laptop as many as the job was run. Of a log without end the first and the last pieces stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FIRST_PIECES", "LAST_PIECES", "PIECE_BYTES", "LogPiece", "expired_piece"]

PIECE_BYTES = 2**20
"""Bytes of one piece at most."""
FIRST_PIECES = 64
"""Pieces from the beginning of a log that always stay."""
LAST_PIECES = 192
"""Pieces from its end that stay."""

_KEY = re.compile(r"attempt-(\d+)/node-(\d+)/([^/]+)/(\d+)\.log")


@dataclass(frozen=True, order=True)
class LogPiece:
    """One file of a log; pieces in order are the logs in order.

    Attributes:
        attempt: Attempt, from 0; 0 on a laptop.
        node: Node rank.
        start: When the node's launcher started and a few random characters; in order of time.
        number: Number of the piece, from 0.
    """

    attempt: int
    node: int
    start: str
    number: int

    @property
    def key(self) -> str:
        """Its key below the folder of logs."""
        return f"attempt-{self.attempt}/node-{self.node}/{self.start}/{self.number:06}.log"

    @classmethod
    def parse(cls, key: str) -> LogPiece | None:
        """Read a key below the folder of logs; None for what is no piece."""
        found = _KEY.fullmatch(key)
        return found and cls(int(found[1]), int(found[2]), found[3], int(found[4]))


def expired_piece(number: int) -> int | None:
    """Number of the piece that goes when a piece begins; None when all stay."""
    old = number - LAST_PIECES
    return old if old >= FIRST_PIECES else None
