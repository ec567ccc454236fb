"""Faults in files and in what they hold, and the ends that a reader of them may come to."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mmrlhf_jobs.errors import DataError

__all__ = ["LINE", "MUTANTS", "ODD", "check_length", "damaged", "survives", "twisted"]

MUTANTS: Final = 25
LINE: Final = 500
"""Most characters of a line of a message, but for the folder of the test."""

ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 1e300, "", " ", "x" * 5000, [], [[]], {}, {"": None}, "\ud83d", "<image>",
    "<|im_end|>", 2**70, float("nan"), ["a"] * 40, {"bytes": None, "path": None}, "../../x", "\0",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes with one to four faults: other ones, too few, some twice, an end that is missing."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) or 1)
        to = min(len(found), at + rng.choice([1, 1, 2, 8, 64, 512]))
        match rng.randrange(5):
            case 0:
                found[at:to] = rng.randbytes(to - at)
            case 1:
                del found[at:to]
            case 2:
                found[at:at] = found[at:to]
            case 3:
                del found[at:]
            case _:
                found[at:to] = rng.choice([b"\0", b"\xff", b'"', b"[", b"}", b"\n"]) * (to - at)
    return bytes(found)


def twisted(value: Any, rng: random.Random) -> Any:
    """JSON with an odd value in one place, or without one."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(sorted(value))
        changed = {**value, name: twisted(value[name], rng)}
        if rng.random() < 0.15:
            del changed[name]
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], twisted(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)


def check_length(message: str, path: Path) -> None:
    for line in message.replace(str(path.parent), "").splitlines():
        assert len(line) <= LINE, line


def survives(read: Callable[[Path], None], path: Path) -> bool:
    """Whether a file was read; if not, by the one error that users are told."""
    try:
        read(path)
    except DataError as error:
        check_length(str(error), path)
        return False
    return True
