"""Pairs per second and peak memory of group-form DPO against TRL's DPOTrainer.

Same model, same data, same optimizer, same number of steps. One optimizer step holds all pairs of
a few queries. Reference log-probabilities are computed before the timed part for both; on rows with
images TRL computes them in every step, since it cannot before. Each side gets the best of several
batch sizes, chosen on this machine; the two then run in turn, each in a process of its own, so that
drifting load and memory of one do not touch the other. Lengths are all the same, or those of the
digits' records, or drawn from a log-normal distribution; where they differ, TRL pads.

The number to look at is the speed-up over the ratio of tokens: how much of what is saved in tokens
arrives as time. On a machine with other work on it, run with ``--threads 1`` and read the figures
in CPU time: threads that wait for each other at barriers spoil both kinds of time. The last line
of the output is one line of JSON with all figures.

Usage::

    python -m benchmarks.dpo_vs_trl [--full | --brief] [--only NAME ...] [--rounds N] [--steps N]
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from importlib import metadata

from benchmarks.dpo.measure import compare
from benchmarks.dpo.rows import Case, brief_cases, full_cases, small_cases


def main() -> None:
    """Run the workers and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="more cases, more repeats")
    size.add_argument("--brief", action="store_true", help="short cases of a smaller model")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", help="cases whose name begins with one of these")
    parser.add_argument("--rounds", type=int, help="runs of each side")
    parser.add_argument("--steps", type=int, help="timed steps of a run")
    options = parser.parse_args()
    if options.worker:
        from benchmarks.dpo.worker import run

        cases = [Case(**one) for one in json.loads(options.worker)]
        print(json.dumps([asdict(run(case)) for case in cases]))
        return
    load = os.getloadavg()[0]
    print(f"{options.threads} threads, load before the start {load:.1f}")
    known = small_cases
    if options.full or options.brief:
        known = full_cases if options.full else brief_cases
    cases = [
        case for case in known() if not options.only or case.name.startswith(tuple(options.only))
    ]
    rounds = options.rounds or (3 if options.full else 1 if options.brief else 2)
    steps = options.steps or (3 if options.full or options.brief else 2)
    summaries = [
        compare(case, rounds=rounds, steps=steps, threads=options.threads) for case in cases
    ]
    report = {"threads": options.threads, "load": load, "versions": versions(), "cases": summaries}
    print(json.dumps(report))


def versions() -> dict[str, str]:
    """Of what is measured."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "trl", "mmrlhf")}


if __name__ == "__main__":
    main()
