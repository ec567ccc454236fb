"""Runs the tiers of the tests side by side, two more than cores, and prints what each took.

::

    python -m tools.tiers                 all
    python -m tools.tiers unit jobs       these

Tiers on a cluster wait a third of their time, for pods, servers and clocks: with two more tiers
than there are cores, no core is idle meanwhile. They take the longest, so they go first.
Tiers that use the same thing (the cluster's network, the node's images) never run at once; all
others may. The longest start first, so that none is left over at the end. What a tier prints comes
in one piece when it has ended; all tiers run to their end, whichever fails.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Final

__all__ = ["TIERS", "Tier", "Times", "at_once", "choose", "run_tiers", "table"]


@dataclass(frozen=True)
class Tier:
    """A part of the tests.

    Attributes:
        name: Its target in the Makefile.
        about: Minutes that it took on two cores, to start the longest first.
        uses: Things of which there is one; no two tiers that use the same run at once.
        waits: It often waits, and has the cores before those that never do.
    """

    name: str
    about: int
    uses: frozenset[str] = frozenset()
    waits: bool = False


@dataclass(frozen=True)
class Times:
    """How a tier went: seconds on the clock, seconds of all its processes, its exit code."""

    tier: Tier
    wall: float
    cpu: float
    code: int


_NICE: Final = 5
"""How much those that never wait stand back: a third of the time of the others, where both work."""

TIERS: Final = (
    Tier("e2e", 25, frozenset({"images"}), waits=True),
    Tier("cluster", 20, waits=True),
    Tier("jobs", 18),
    Tier("training", 10),
    Tier("unit", 8),
    Tier("s3", 6),
    Tier("cli", 3),
    Tier("with-torchvision", 1),
    Tier("check", 1),
)


def at_once(cores: int | None) -> int:
    """Return how many tiers to run side by side on so many cores; None if that is not known."""
    return (cores or 1) + 2


def choose(waiting: Iterable[Tier], running: Collection[Tier]) -> Tier | None:
    """Return the tier to start next: the longest that shares nothing with those that run."""
    taken = frozenset[str]().union(*(tier.uses for tier in running))
    free = [tier for tier in waiting if not tier.uses & taken]
    return max(free, key=lambda tier: tier.about, default=None)


def table(times: Sequence[Times], *, wall: float) -> str:
    """Return what each tier took, the longest first, and all of them together."""
    lines = [f"{'tier':<10}{'clock':>9}{'cpu':>9}  result"]
    for one in sorted(times, key=lambda one: -one.wall):
        result = "passed" if one.code == 0 else f"FAILED ({one.code})"
        lines.append(f"{one.tier.name:<10}{_minutes(one.wall):>9}{_minutes(one.cpu):>9}  {result}")
    cpu = sum(one.cpu for one in times)
    lines.append(f"{'all':<10}{_minutes(wall):>9}{_minutes(cpu):>9}")
    return "\n".join(lines)


def run_tiers(
    tiers: Sequence[Tier],
    *,
    most: int,
    command: Callable[[Tier], Sequence[str]],
    clock: Callable[[], float] = time.monotonic,
) -> list[Times]:
    """Run tiers, and print what each printed as soon as it has ended.

    Args:
        tiers: Which.
        most: How many at most run at once.
        command: What runs a tier.
        clock: Seconds.
    """
    waiting, running, done = list(tiers), dict[int, _Run](), list[Times]()
    try:
        while waiting or running:
            while len(running) < most:
                tier = choose(waiting, [run.tier for run in running.values()])
                if tier is None:
                    break
                waiting.remove(tier)
                run = _Run.start(tier, command(tier), clock())
                running[run.process.pid] = run
                print(f"--- {tier.name}: started", flush=True)
            # wait4 alone tells what a process and all that it waited for have used.
            pid, status, usage = os.wait4(-1, 0)
            if (ended := running.pop(pid, None)) is not None:
                done.append(ended.end(status, usage, clock()))
    finally:
        for run in running.values():
            os.killpg(run.process.pid, signal.SIGTERM)
    return done


@dataclass(frozen=True)
class _Run:
    """A tier that runs."""

    tier: Tier
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    since: float

    @classmethod
    def start(cls, tier: Tier, argv: Sequence[str], now: float) -> _Run:
        if not tier.waits:
            argv = ["nice", "-n", str(_NICE), *argv]
        output = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the tier has ended
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        return cls(tier, process, output, now)

    def end(self, status: int, usage: resource.struct_rusage, now: float) -> Times:
        code = self.process.returncode = os.waitstatus_to_exitcode(status)
        wall = now - self.since
        with self.output as output:
            output.seek(0)
            print(f"--- {self.tier.name}: {'passed' if code == 0 else 'FAILED'} after {wall:.0f} s")
            sys.stdout.flush()
            for piece in iter(lambda: output.read(1 << 16), b""):
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
        return Times(self.tier, wall, usage.ru_utime + usage.ru_stime, code)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def main(names: Sequence[str]) -> int:
    """Run the tiers of these names, or all; the exit code is 1 if one failed."""
    known = {tier.name: tier for tier in TIERS}
    if unknown := [name for name in names if name not in known]:
        print(f"no such tier: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    # In the background of a shell SIGINT is ignored; what the tests start must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.monotonic()
    times = run_tiers(
        [known[name] for name in names] or TIERS,
        most=at_once(os.cpu_count()),
        command=lambda tier: ["make", "--no-print-directory", tier.name],
    )
    print(f"\n{table(times, wall=time.monotonic() - started)}")
    return int(any(one.code for one in times))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
