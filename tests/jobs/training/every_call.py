"""Kills trainings at every call to the store of a checkpoint, in every process, and goes on.

``python -m tests.jobs.training.every_call [--seed N] [--minutes N]``: the life of `test_worlds`,
from 4 processes to 2 to 8 and to 1, again and again, until each call of each process of each world
was the last of one. The suite has one life, drawn by a seed. A line of JSON tells of each; the last
one how many calls there are and how many were come to.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.jobs.models.zoo import save
from tests.jobs.training.test_worlds import WORLDS, in_gang, live, losses_of

__all__ = ["main"]


def count(model: Path, folder: Path) -> list[list[str]]:
    """Per world ``RANK:STEP:CALL`` of all calls that its processes make in their checkpoint."""
    found = []
    for processes, stage, step in WORLDS:
        code, rows = in_gang(processes, "killed_worlds", model, folder, stage, step, f"0:{step}:0")
        assert code == 0
        calls: list[int] = rows[-1]["calls"]
        found.append(
            [f"{rank}:{step}:{call + 1}" for rank, most in enumerate(calls) for call in range(most)]
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns 1 if a life did not go on as it had to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=24 * 60)
    given = parser.parse_args(arguments)
    end = time.monotonic() + 60 * given.minutes
    failed = lives = 0
    with tempfile.TemporaryDirectory() as folder:
        model = save("qwen3", Path(folder) / "model", scale=3.0)
        calls = count(model, Path(folder) / "count")
        draw = random.Random(given.seed)
        for one in calls:
            draw.shuffle(one)
        losses = losses_of(model)
        for number in range(max(map(len, calls))):
            if time.monotonic() > end:
                break
            kills = [one[number % len(one)] for one in calls]
            try:
                live(model, Path(folder) / f"life-{number}", losses, kills)
                fault = None
            except AssertionError as error:
                fault = str(error).partition("\n")[0] or "it did not go on"
                failed += 1
            lives += 1
            sys.stdout.write(json.dumps({"kills": kills, "fault": fault}) + "\n")
            sys.stdout.flush()
    total = sum(map(len, calls))
    come_to = sum(min(lives, len(one)) for one in calls)
    sys.stdout.write(json.dumps({"calls": total, "killedAt": come_to, "failed": failed}) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
